/**
 * From a folder in Hugging Face format to a model: which page computes it, and
 * its weights, mapped from disk where that needs no copy.
 *
 * @module
 */

import type { DType } from "../formats/dtype.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { findWeights, type StoredTensor } from "../formats/weights.ts";
import { InputError } from "../input_error.ts";
import { Embedding, Linear, type Module, RmsNorm } from "../nn/mod.ts";
import {
  aten,
  CPU,
  DetachedScope,
  type Device,
  full,
  manualSeed,
  MappedFile,
  type Tensor,
  type TensorOptions,
  to,
} from "../tensor/mod.ts";
import { LlamaForCausalLm } from "./llama.ts";
import { type LlamaConfig, llamaConfig } from "./llama_config.ts";

/** Options of {@linkcode AutoModelForCausalLM.fromPretrained}. */
export interface FromPretrainedOptions {
  /** How weights are stored; `auto` is what `config.json` says. Default `auto`. */
  readonly torchDtype?: DType | "auto";
  /** Where weights lie. Default the CPU. */
  readonly device?: Device;
}

/** Reads models, named as in transformers; there are no instances of it. */
export abstract class AutoModelForCausalLM {
  /**
   * Reads the model in the folder `path`; nothing is downloaded, no code is run.
   *
   * @throws {InputError} when the folder, its files or the architecture will not do.
   *
   * @example
   * ```ts
   * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
   *
   * using model = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
   * if (model.config.modelType !== "llama") throw new Error("unexpected model");
   * ```
   */
  static fromPretrained(
    path: string,
    options: FromPretrainedOptions = {},
  ): LlamaForCausalLm {
    const model = new LlamaForCausalLm(readConfig(path));
    loadWeights(model, options);
    return model;
  }

  /**
   * The tree of the model in `path` without weights: names and shapes only.
   *
   * @throws {InputError} when `config.json` will not do.
   *
   * @example
   * ```ts
   * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
   *
   * const model = AutoModelForCausalLM.fromConfig("models/tiny-atom");
   * if (model.config.layers < 1) throw new Error("unexpected model");
   * ```
   */
  static fromConfig(path: string): LlamaForCausalLm {
    return new LlamaForCausalLm(readConfig(path));
  }
}

/**
 * Reads `config.json` in the folder `path`.
 *
 * @throws {InputError} when it is missing, broken or of a model lorikeet does not compute.
 *
 * @example
 * ```ts
 * import { readConfig } from "@lorikeet/lorikeet";
 *
 * const config = readConfig("models/tiny-atom");
 * if (config.hiddenSize !== config.heads * config.headSize) {
 *   throw new Error("unexpected sizes");
 * }
 * ```
 */
export function readConfig(path: string): LlamaConfig {
  const json = readJsonFile(`${path}/config.json`);
  const type = json.model_type;
  const names = Array.isArray(json.architectures) ? json.architectures : [];
  const isLlama = type === "llama" || type === "atom" ||
    (type === undefined && names.includes("LlamaForCausalLM"));
  if (!isLlama) {
    const named = names.length > 0 ? ` (${names.join(", ")})` : "";
    throw new InputError(
      `Cannot compute model "${path}": its model_type is ${
        JSON.stringify(type)
      }${named}, lorikeet computes "llama" (LlamaForCausalLM) only`,
    );
  }
  return llamaConfig(path, json);
}

/** What a parameter of the tree must look like. */
interface Expected {
  readonly path: string;
  readonly owner: Module;
  readonly field: string;
  readonly shape: readonly number[];
}

function* expectedParameters(model: LlamaForCausalLm): Generator<Expected> {
  for (const [path, owner] of model.namedModules()) {
    for (const [field, shape] of parameterShapes(owner)) {
      yield { path: `${path}.${field}`, owner, field, shape };
    }
  }
}

function parameterShapes(owner: Module): [string, readonly number[]][] {
  if (owner instanceof Linear) {
    const weight = [owner.outFeatures, owner.inFeatures];
    return owner.hasBias
      ? [["weight", weight], ["bias", [owner.outFeatures]]]
      : [["weight", weight]];
  }
  if (owner instanceof Embedding) {
    return [["weight", [owner.count, owner.size]]];
  }
  return owner instanceof RmsNorm ? [["weight", [owner.size]]] : [];
}

/** Stored names that older checkpoints have and no model needs. */
const DERIVED = /rotary_emb\.(inv_freq|cos_cached|sin_cached)$/;

function loadWeights(
  model: LlamaForCausalLm,
  options: FromPretrainedOptions,
): void {
  const { device = CPU } = options;
  const { path, tieWordEmbeddings } = model.config;
  const stored = findWeights(path);
  const tied = tieWordEmbeddings ? "lm_head.weight" : null;
  const expected = [...expectedParameters(model)].filter((each) =>
    each.path !== tied
  );
  checkAgainst(stored, { path, expected, tied });
  const dtype = chooseDtype(model, {
    stored,
    asked: options.torchDtype ?? "auto",
  });
  using scope = new DetachedScope();
  const files = new Map<string, MappedFile>();
  const tensors: Tensor[] = [];
  for (const each of expected) {
    const tensor = scope.keep(
      materialise(stored.get(each.path)!, { files, dtype, device }),
    );
    each.owner.setParameter(each.field, tensor);
    tensors.push(tensor);
  }
  if (tieWordEmbeddings) {
    model.lm_head.setParameter("weight", model.model.embed_tokens.weight);
  }
  model.attachStorage(device, [...tensors, ...files.values()]);
}

interface Materialise {
  readonly files: Map<string, MappedFile>;
  readonly dtype: DType;
  readonly device: Device;
}

/** A stored tensor in the wanted type and place; a view of the file when it is so already. */
function materialise(stored: StoredTensor, options: Materialise): Tensor {
  const { files, dtype, device } = options;
  let file = files.get(stored.file);
  if (file === undefined) {
    file = new MappedFile(stored.file);
    files.set(stored.file, file);
  }
  return to(file.tensor(stored.offset, stored), { dtype, device });
}

function checkAgainst(
  stored: ReadonlyMap<string, StoredTensor>,
  wanted: { path: string; expected: readonly Expected[]; tied: string | null },
): void {
  const complaints: string[] = [];
  const known = new Set(wanted.expected.map((each) => each.path));
  for (const { path, shape } of wanted.expected) {
    const found = stored.get(path);
    if (found === undefined) complaints.push(`"${path}" is missing`);
    else if (found.shape.join() !== shape.join()) {
      complaints.push(
        `"${path}" has shape [${
          found.shape.join(", ")
        }], config.json asks for [${shape.join(", ")}]`,
      );
    }
  }
  for (const name of stored.keys()) {
    if (!known.has(name) && name !== wanted.tied && !DERIVED.test(name)) {
      complaints.push(`"${name}" belongs to no layer of this model`);
    }
  }
  if (complaints.length === 0) return;
  const more = complaints.length > 10
    ? `; and ${complaints.length - 10} more`
    : "";
  throw new InputError(
    `Cannot load weights of "${wanted.path}": ${
      complaints.slice(0, 10).join("; ")
    }${more}`,
  );
}

const HALF_OR_SINGLE = ["float32", "bfloat16", "float16"] as const;

function chooseDtype(
  model: LlamaForCausalLm,
  options: {
    stored: ReadonlyMap<string, StoredTensor>;
    asked: DType | "auto";
  },
): DType {
  if (options.asked !== "auto") return options.asked;
  const { source } = model.config;
  const named = source.dtype ?? source.torch_dtype ??
    options.stored.get("model.embed_tokens.weight")?.dtype;
  return HALF_OR_SINGLE.find((dtype) => dtype === named) ?? "float32";
}

/**
 * Fills a tree with fresh weights as transformers does: matrices from
 * `N(0, initializer_range²)`, norms with ones, biases with zeros; drawn where and
 * as `device` and `dtype` say, by default in float32 on the CPU.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM, initializeWeights } from "@lorikeet/lorikeet";
 *
 * using model = AutoModelForCausalLM.fromConfig("models/tiny-atom");
 * initializeWeights(model, { seed: 42 });
 * if (model.model.norm.weight.toArray()[0] !== 1) throw new Error("unexpected");
 * ```
 */
export function initializeWeights(
  model: LlamaForCausalLm,
  options: TensorOptions & { readonly seed: number },
): void {
  const { seed, dtype = "float32", device = CPU } = options;
  manualSeed(seed, device);
  using scope = new DetachedScope();
  const made: Tensor[] = [];
  for (const { owner, field, shape } of expectedParameters(model)) {
    const fresh = scope.keep(
      full(shape, { value: shape.length === 1 ? 1 : 0, dtype, device }),
    );
    if (field === "bias") fresh.fill(0);
    if (shape.length > 1) {
      aten.normal_(fresh, 0, model.config.initializerRange);
    }
    owner.setParameter(field, fresh);
    made.push(fresh);
  }
  if (model.config.tieWordEmbeddings) {
    model.lm_head.setParameter("weight", model.model.embed_tokens.weight);
  }
  model.attachStorage(device, made);
}
