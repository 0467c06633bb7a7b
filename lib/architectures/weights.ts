/**
 * The weights of a tree: checked against the files of a folder, loaded from them,
 * or newly initialised. The layers declare their parameters, with shapes and
 * initialisation.
 *
 * @module
 */

import { byteLengthOf, type DType } from "../formats/dtype.ts";
import { FileBytes } from "../formats/file_bytes.ts";
import { ggufFileAt } from "../formats/gguf.ts";
import { listProblems, tensorProblems } from "../formats/tensor_check.ts";
import { readStored, type StoredTensor } from "../formats/stored_tensor.ts";
import { findWeights, type WeightMap } from "../formats/weights.ts";
import { InputError, quoted } from "../input_error.ts";
import { moduleAt, type NamedParameterSpec } from "../nn/mod.ts";
import {
  aten,
  CPU,
  DetachedScope,
  type Device,
  full,
  manualSeed,
  type MappedFile,
  type Tensor,
  type TensorOptions,
} from "../tensor/mod.ts";
import type { CausalLm, ModelConfig } from "./causal_lm.ts";
import { separateExperts } from "./expert_weights.ts";
import { ggufWeights } from "./gguf_model.ts";
import { storedTensor } from "./stored_weights.ts";

/** Names in older checkpoints that no model needs: angles of a rope, masks, a version mark. */
const DERIVED = new RegExp(
  [
    /rotary_(pos_)?emb\.(inv_freq|cos_cached|sin_cached)$/,
    /(attn|attention)\.((masked_)?bias|logn_tensor)$/,
    /(^|\.)(future_mask|alibi_mask|decoder\.version)$/,
  ].map(({ source }) => source).join("|"),
);

/** Names of what methods of quantisation (float8, GPTQ, AWQ, bitsandbytes) store beside or instead of a weight. */
const QUANTIZED =
  /[._](scales?|scale_inv|qweight|qzeros|SCB|absmax|quant_state)(\.|$)/;

/**
 * The parameters that the files must contain: all except a head that is tied to
 * the embedding.
 */
function neededParameters(model: CausalLm): NamedParameterSpec[] {
  const tied = tiedName(model);
  return [...model.namedParameterSpecs()].filter(({ path }) => path !== tied);
}

/**
 * The name of the head's matrix when it is tied to the embedding, or `null`. A model
 * whose config ties them has two matrices after an adapter of one was merged.
 */
export function tiedName(model: CausalLm): string | null {
  if (!model.config.tieWordEmbeddings) return null;
  const head = moduleAt(model, model.outputEmbeddingsPath).parameter("weight");
  const isTied = head === undefined ||
    head === model.inputEmbeddings().parameter("weight");
  return isTied ? `${model.outputEmbeddingsPath}.weight` : null;
}

/** The embedding's parameter. */
function embeddingOf(model: CausalLm): NamedParameterSpec {
  const owner = model.inputEmbeddings();
  return [...model.namedParameterSpecs()].find((each) =>
    each.owner === owner && each.field === "weight"
  )!;
}

function tieHead(model: CausalLm): void {
  if (!model.config.tieWordEmbeddings) return;
  const { owner, field } = embeddingOf(model);
  const weight = owner.parameter(field)!;
  moduleAt(model, model.outputEmbeddingsPath).setParameter("weight", weight);
}

/** The weights in a folder, or in a GGUF file. */
function weightsAt(path: string): WeightMap {
  const gguf = ggufFileAt(path);
  return gguf === null ? findWeights(path) : ggufWeights(gguf);
}

/**
 * The stored weights by the names of the tree. As in transformers, a model that was
 * saved without its head has names without the first part (`model.`), one that was
 * saved inside another has it twice, and a tied head may stand for the embedding.
 */
function weightsOf(model: CausalLm): WeightMap {
  const stored = weightsAt(model.config.path);
  const { path: embedding } = embeddingOf(model);
  const tied = tiedName(model);
  const prefix = embedding.slice(0, embedding.indexOf(".") + 1);
  const head = `${model.outputEmbeddingsPath.split(".")[0]}.`;
  const renamed = (rename: (name: string) => string): WeightMap =>
    new Map([...stored].map(([name, tensor]) => [rename(name), tensor]));
  if (stored.has(embedding)) return stored;
  if (stored.has(prefix + embedding)) {
    return renamed((name) =>
      name.startsWith(prefix) ? name.slice(prefix.length) : name
    );
  }
  if (stored.has(embedding.slice(prefix.length))) {
    return renamed((name) => name.startsWith(head) ? name : prefix + name);
  }
  const onlyHead = tied === null ? undefined : stored.get(tied);
  return onlyHead === undefined
    ? stored
    : new Map([...stored, [embedding, onlyHead]]);
}

function asking(path: string): string {
  const name = ggufFileAt(path) === null ? "config.json" : "its metadata";
  return `${name} asks for`;
}

/**
 * Refuses a configuration with more layers than there are stored tensors, before
 * a tree is built.
 *
 * @throws {InputError} when there are no weights, or too few.
 */
export function checkDepth({ path, layers }: ModelConfig): void {
  const { size } = weightsAt(path);
  if (layers <= size) return;
  throw new InputError(
    `Cannot load weights of ${quoted(path)}: ${
      asking(path)
    } ${layers} layers, the weights have ${size} tensors`,
  );
}

/**
 * Checks the names and shapes of the weights in the model's folder against its
 * tree, using only the headers of the files; does not need libtorch.
 *
 * @throws {InputError} naming tensors that are missing, unexpected or of the
 *   wrong shape, or a stored head that differs from the embedding it should be
 *   tied to.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
 * import { checkWeights } from "@lorikeet/lorikeet/architectures";
 *
 * checkWeights(AutoModelForCausalLM.fromConfig("models/tiny-atom"));
 * ```
 */
export function checkWeights(model: CausalLm): void {
  checkedWeights(model);
}

function checkedWeights(model: CausalLm): WeightMap {
  const { path } = model.config;
  const stored = separateExperts(model, weightsOf(model));
  const tied = tiedName(model);
  const needed = neededParameters(model).map(({ path: name, spec }) => ({
    name,
    shape: spec.shape,
  }));
  const problems = tensorProblems(stored, needed, {
    asks: asking(path),
    leftOver: "belongs to no layer of this model",
    ignores: (name) => name === tied || DERIVED.test(name),
  });
  if (problems.length > 0) {
    const scale = [...stored.keys()].find((name) => QUANTIZED.test(name));
    const reason = scale === undefined
      ? listProblems(problems)
      : `${quoted(scale)} belongs to quantised weights, ` +
        "the model's weights before quantisation are needed";
    throw new InputError(`Cannot load weights of ${quoted(path)}: ${reason}`);
  }
  if (tied !== null) checkTiedHead(model, { tied, stored });
  return stored;
}

/** transformers 4 computes with the embedding here, transformers 5 with the stored head. */
function checkTiedHead(
  model: CausalLm,
  weights: { tied: string; stored: WeightMap },
): void {
  const head = weights.stored.get(weights.tied);
  const embedding = embeddingOf(model).path;
  if (head === undefined || sameBytes(head, weights.stored.get(embedding)!)) {
    return;
  }
  throw new InputError(
    `Cannot load weights of ${quoted(model.config.path)}: ${
      quoted(weights.tied)
    } is not the same as ${
      quoted(embedding)
    }, but config.json says tie_word_embeddings; ` +
      "set that to false to use the stored head, or leave the head out of the weights",
  );
}

const CHUNK = 2 ** 22;

function sameBytes(one: StoredTensor, other: StoredTensor): boolean {
  if (one.dtype !== other.dtype || one.shape.join() !== other.shape.join()) {
    return false;
  }
  const isPlain = [one, other].every(({ strides, packing }) =>
    strides === undefined && packing === undefined
  );
  if (isPlain && one.file === other.file && one.offset === other.offset) {
    return true;
  }
  using file = new FileBytes(one.file);
  using beside = new FileBytes(other.file);
  if (!isPlain) {
    const right = readStored(beside, other).bytes;
    return readStored(file, one).bytes.every((byte, at) => byte === right[at]);
  }
  const length = byteLengthOf(one);
  for (let at = 0; at < length; at += CHUNK) {
    const count = Math.min(CHUNK, length - at);
    const left = file.read(one.offset + at, count);
    const right = beside.read(other.offset + at, count);
    for (let byte = 0; byte < count; byte++) {
      if (left[byte] !== right[byte]) return false;
    }
  }
  return true;
}

/**
 * Loads the weights of the model's folder into its tree.
 *
 * @throws {InputError} when they do not match the tree.
 */
export function loadWeights(
  model: CausalLm,
  options: { torchDtype?: DType | "auto"; device?: Device },
): void {
  const { device = CPU, torchDtype = "auto" } = options;
  const stored = checkedWeights(model);
  const needed = neededParameters(model);
  const dtype = torchDtype === "auto"
    ? ownType(model, stored.get(needed[0]!.path)!)
    : torchDtype;
  using scope = new DetachedScope();
  const files = new Map<string, MappedFile>();
  const tensors: Tensor[] = [];
  for (const { path, owner, field } of needed) {
    const tensor = scope.keep(
      storedTensor(stored.get(path)!, { files, dtype, device }),
    );
    owner.setParameter(field, tensor);
    tensors.push(tensor);
  }
  tieHead(model);
  model.attachStorage(device, [...tensors, ...files.values()]);
}

const HALF_OR_SINGLE = ["float32", "bfloat16", "float16"] as const;

/** The type in config.json, else that of the stored weights. */
function ownType(model: CausalLm, stored: StoredTensor): DType {
  const { source } = model.config;
  const named = source.dtype ?? source.torch_dtype ?? stored.dtype;
  return HALF_OR_SINGLE.find((dtype) => dtype === named) ?? "float32";
}

/**
 * Initialises a tree as transformers does: matrices from `N(0,
 * initializer_range²)`, norms with ones, biases with zeros. Device and type are
 * given by `options`, by default float32 on the CPU.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
 * import { initializeWeights } from "@lorikeet/lorikeet/architectures";
 *
 * using model = AutoModelForCausalLM.fromConfig("models/tiny-atom");
 * initializeWeights(model, { seed: 42 });
 * const norms = [...model.namedParameters()].filter(({ path }) =>
 *   path === "model.norm.weight"
 * );
 * if (norms[0]?.tensor.toArray()[0] !== 1) throw new Error("unexpected norm");
 * ```
 */
export function initializeWeights(
  model: CausalLm,
  options: TensorOptions & { readonly seed: number },
): void {
  const { seed, dtype = "float32", device = CPU } = options;
  manualSeed(seed, device);
  using scope = new DetachedScope();
  const made: Tensor[] = [];
  for (const { owner, field, spec } of model.namedParameterSpecs()) {
    const value = spec.init === "ones" ? 1 : 0;
    const fresh = scope.keep(full(spec.shape, { value, dtype, device }));
    if (spec.init === "normal") {
      aten.normal_(fresh, 0, model.config.initializerRange);
    }
    owner.setParameter(field, fresh);
    made.push(fresh);
  }
  tieHead(model);
  model.attachStorage(device, made);
}
