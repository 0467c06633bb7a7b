/**
 * Which modules are trained whole, by the names in `modules_to_save`, with the rules of
 * peft; and which of them share one weight.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { InputError, quoted } from "../input_error.ts";
import { joinPath, type Module, moduleAt } from "../nn/mod.ts";
import type { LoraConfig } from "./lora_config.ts";
import { lastNames } from "./target_names.ts";

/** The names in `modules_to_save`. */
function savedNames(config: LoraConfig): readonly string[] {
  return [config.modules_to_save ?? []].flat();
}

/** Whether the module at `path` is named; as in peft, any end of a path is a name. */
export function isSavedModule(config: LoraConfig, path: string): boolean {
  return path !== "" && savedNames(config).some((name) => path.endsWith(name));
}

/** Whether no adapter is put on `path`, because it is trained whole or lies in what is. */
export function isInSavedModule(config: LoraConfig, path: string): boolean {
  return savedNames(config).some((name) => `.${path}.`.includes(`.${name}.`));
}

/** Path of the embedding of `base`. */
export function embeddingPath(base: CausalLm): string {
  const module = base.inputEmbeddings();
  for (const [path, each] of base.namedModules()) {
    if (each === module) return path;
  }
  return "";
}

/**
 * `config` as peft changes it where `ensure_weight_tying` keeps head and embedding one
 * matrix: the embedding is named, and the head is not.
 *
 * @throws {InputError} when a name in `modules_to_save` is none of the model's.
 */
export function withSavedModules(
  base: CausalLm,
  config: LoraConfig,
): LoraConfig {
  const names = savedNames(config);
  const paths = Array.from(base.namedModules(), ([path]) => path);
  const unknown = names.filter((name) =>
    !paths.some((path) => path.endsWith(name))
  );
  if (unknown.length > 0) {
    throw new InputError(
      `Cannot train modules_to_save ${
        unknown.map((name) => quoted(name)).join(", ")
      }: the model has no module of that name, it has ${
        lastNames(paths.filter((path) => /[a-z_]$/i.test(path))).join(", ")
      }`,
    );
  }
  const [embedding, head] = [embeddingPath(base), base.outputEmbeddingsPath];
  const isNamed = (path: string): boolean =>
    names.some((name) => `.${path}.`.includes(`.${name}.`));
  const isTied = config.ensure_weight_tying && base.config.tieWordEmbeddings;
  if (!isTied || !(isNamed(embedding) || isNamed(head))) return config;
  const listed = names.includes(embedding) ? names : [...names, embedding];
  const first = listed.findIndex((name) => `.${head}.`.includes(`.${name}.`));
  return {
    ...config,
    modules_to_save: listed.filter((_, index) => index !== first),
  };
}

/** The head's weight, where the module at `path` is the embedding it stays tied to. */
export function tiedToEmbedding(
  base: CausalLm,
  config: LoraConfig,
  path: string,
): { path: string; owner: Module; field: string } | null {
  const isTied = config.ensure_weight_tying && base.config.tieWordEmbeddings &&
    path === embeddingPath(base);
  if (!isTied) return null;
  const head = base.outputEmbeddingsPath;
  const owner = moduleAt(base, head);
  return { path: joinPath(head, "weight"), owner, field: "weight" };
}
