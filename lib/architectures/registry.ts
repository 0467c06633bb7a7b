/**
 * Finds the family of a model by the `model_type` and the `architectures` in its
 * `config.json`. A script may register families of its own.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { CausalLm, ModelConfig } from "./causal_lm.ts";
import {
  classNames,
  type ConfigJson,
  type ConfigReader,
} from "./config_reader.ts";
import { FAMILIES } from "./families.ts";

/** What a page declares about its family. */
export interface ModelFamily<Config extends ModelConfig = ModelConfig> {
  /** The family's name in messages. */
  readonly name: string;
  /** The values of `model_type` that it supports. */
  readonly modelTypes: readonly string[];
  /**
   * Names in `architectures` or `auto_map` that it supports when `model_type`
   * is missing or unknown.
   */
  readonly architectures: readonly string[];
  /**
   * Values of `model_type` that belong to another family, and to this one where
   * one of its `architectures` is named. Default none.
   */
  readonly sharedTypes?: readonly string[];
  /**
   * peft's `target_modules` when the user names none. Default none: the user
   * must name them.
   */
  readonly defaultTargets?: readonly string[];
  /**
   * Layers that are parameters in transformers 5, such as those of experts: the
   * parameter that peft takes for each name in `target_modules`. Default none.
   */
  readonly parameterTargets?: Readonly<Record<string, string>>;
  /** Reads the family's own fields; problems are collected in `reader`. */
  readConfig(reader: ConfigReader): Config;
  /** Builds the tree without weights. */
  create(config: Config): CausalLm;
}

const families: ModelFamily[] = [...FAMILIES];

/**
 * Adds a family of models, which can then be loaded, initialised, trained and
 * saved.
 *
 * @throws {RangeError} when one of its names belongs to another family.
 *
 * @example
 * ```ts
 * import { registerFamily } from "@lorikeet/lorikeet";
 * import {
 *   llamaConfig,
 *   LlamaForCausalLm,
 *   readConfig,
 * } from "@lorikeet/lorikeet/architectures";
 *
 * registerFamily({
 *   name: "Kea",
 *   modelTypes: ["kea"],
 *   architectures: ["KeaForCausalLM"],
 *   readConfig: ({ path, json }) => llamaConfig(path, json),
 *   create: (config) => new LlamaForCausalLm(config),
 * });
 * const folder = Deno.makeTempDirSync();
 * Deno.writeTextFileSync(`${folder}/config.json`, '{"model_type": "kea"}');
 * if (readConfig(folder).layers !== 32) throw new Error("unexpected depth");
 * Deno.removeSync(folder, { recursive: true });
 * ```
 */
export function registerFamily<Config extends ModelConfig>(
  family: ModelFamily<Config>,
): void {
  if (families.includes(family as ModelFamily)) return;
  for (const each of families) {
    const taken = [
      ...each.modelTypes.filter((name) => family.modelTypes.includes(name)),
      ...each.architectures.filter((name) =>
        family.architectures.includes(name)
      ),
    ];
    if (taken.length > 0) {
      throw new RangeError(
        `Cannot register family ${quoted(family.name)}: ${
          taken.map((name) => quoted(name)).join(", ")
        } belongs to family ${quoted(each.name)}`,
      );
    }
  }
  families.push(family as ModelFamily);
}

/**
 * The names of all supported families, registered ones included.
 *
 * @example
 * ```ts
 * import { familyNames } from "@lorikeet/lorikeet/architectures";
 *
 * if (!familyNames().includes("Llama")) throw new Error("unexpected names");
 * ```
 */
export function familyNames(): string[] {
  return families.map(({ name }) => name);
}

/**
 * The family of the model whose `config.json`, in the folder `path`, is `json`:
 * found by `model_type`, or when that is missing or unknown by `architectures`,
 * or by the classes that `auto_map` names; code that it names is never executed.
 *
 * @throws {InputError} when no family supports it.
 */
export function familyOf(path: string, json: ConfigJson): ModelFamily {
  const type = json.model_type ?? undefined;
  const names = classNames(json);
  const isNamed = ({ architectures }: ModelFamily): boolean =>
    architectures.some((name) => names.includes(name));
  const hasType = (types: readonly string[] = []): boolean =>
    types.some((name) => name === type);
  const family =
    families.find((each) => hasType(each.sharedTypes) && isNamed(each)) ??
      families.find(({ modelTypes }) => hasType(modelTypes)) ??
      families.find(isNamed);
  if (family !== undefined) return family;
  const named = names.length > 0
    ? ` (${names.slice(0, 3).map((name) => quoted(name, 60)).join(", ")})`
    : "";
  const known = families.flatMap((each) => each.modelTypes);
  throw new InputError(
    `Cannot compute model ${quoted(path)}: its model_type is ${
      type === undefined ? "missing" : quoted(type, 60)
    }${named}${kindOf(json, names)}, known are ${
      known.map((name) => `"${name}"`).join(", ")
    }`,
  );
}

/** What a model is that is no decoder of text, as far as its config shows it. */
function kindOf(json: ConfigJson, names: readonly unknown[]): string {
  const has = (field: string): boolean =>
    Object.hasOwn(json, field) && json[field] !== null;
  if (has("vision_config") || has("audio_config")) {
    return ", which takes more than text";
  }
  const isEncoder = json.is_encoder_decoder === true ||
    names.some((name) =>
      /For(MaskedLM|PreTraining|SequenceClassification|TokenClassification)$/
        .test(String(name))
    );
  return isEncoder ? ", which does not continue text" : "";
}

/**
 * peft's `target_modules` for this model when the user names none, or `undefined`
 * when the user must name them.
 *
 * @example
 * ```ts
 * import {
 *   defaultTargets,
 *   readConfig,
 * } from "@lorikeet/lorikeet/architectures";
 *
 * const targets = defaultTargets(readConfig("models/tiny-atom"));
 * if (targets?.join() !== "q_proj,v_proj") throw new Error("unexpected targets");
 * ```
 */
export function defaultTargets(
  config: ModelConfig,
): readonly string[] | undefined {
  return familyNamed(config)?.defaultTargets;
}

/**
 * The parameters that peft takes for names in `target_modules`, by name; empty for
 * families whose layers are all linear.
 */
export function parameterTargets(
  config: ModelConfig,
): Readonly<Record<string, string>> {
  return familyNamed(config)?.parameterTargets ?? {};
}

function familyNamed({ modelType }: ModelConfig): ModelFamily | undefined {
  return families.find(({ modelTypes }) => modelTypes.includes(modelType));
}
