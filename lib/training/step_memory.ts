/**
 * The memory of a training step at its highest point, from sizes in the module tree.
 * `attentionBytes()`, `mlpBytes()` and `inputBytes()` follow how a step is computed:
 * which tensors of a layer wait for the backward pass.
 *
 * @module
 */

import type { CausalLm, DecoderLayer } from "../architectures/mod.ts";
import type { Batch } from "../data/batch.ts";
import { type DType, DTYPE_BYTES } from "../formats/dtype.ts";
import {
  type HeadSizes,
  MixtureMlp,
  type Module,
  Norm,
  Projection,
} from "../nn/mod.ts";

/** The sizes of a micro-batch. */
export interface BatchSizes {
  /** Tokens that are computed: padding counts, a shared prefix counts once. */
  readonly tokens: number;
  /** Predictions that are trained. */
  readonly trained: number;
  /** Tokens of each row where all have one length and share nothing, or `null`. */
  readonly length: number | null;
}

/** The sizes of `batch`. */
export function batchSizes(batch: Batch): BatchSizes {
  const { inputIds, segments, targets } = batch;
  return {
    tokens: inputIds.length,
    trained: targets.labels.length,
    length: isRectangle(batch) ? segments[0]!.length : null,
  };
}

/** How the steps of a run are computed. */
export interface StepForm {
  /** Paths of the adapted layers. */
  readonly targeted: readonly string[];
  /** Whether the adapters have dropout. */
  readonly dropout: boolean;
  /** The type in which the base weights are held. */
  readonly held: DType;
  /** Whether products are computed in bfloat16 by autocast. */
  readonly autocast: boolean;
}

/** Bytes of memory at the highest point of a step. */
export interface StepMemory {
  /** What one layer keeps for its backward pass, on average. */
  readonly layer: number;
  /** The input of one layer. */
  readonly hidden: number;
  /** What the layer being computed needs for itself and frees at its end. */
  readonly working: number;
  /** Logits, their softmax and gradients. */
  readonly logits: number;
  /** The highest point: all activations are kept. */
  readonly kept: number;
  /** The highest point with activation checkpointing. */
  readonly recomputed: number;
}

/** Whether all rows of a batch have one length and share nothing. */
function isRectangle({ segments }: Batch): boolean {
  return segments.every(({ length, parent }) =>
    parent === null && length === segments[0]!.length
  );
}

/**
 * Memory that the heap takes for a byte of a step's tensors: tensors that live long
 * and short ones come from one heap, and leave holes. Measured with glibc on steps
 * without and with dropout: 1.4 to 1.7.
 */
const HEAP = 1.5;
/** glibc maps tensors above this size on their own, without holes. */
const LARGE = 2 ** 25;

/** Up to this length, attention on a CPU in float32 keeps its weights. */
const SHORT = 128;

/** The memory of a step, for all activations kept and for checkpointing. */
export function stepMemory(
  tree: CausalLm,
  batch: BatchSizes,
  form: StepForm,
): StepMemory {
  const { decoderLayers: layers, config } = tree;
  const targeted = new Set(form.targeted);
  const paths = new Map<Module, string>();
  for (const [path, module] of tree.namedModules()) paths.set(module, path);
  const isAdapted = (module: Module): boolean =>
    targeted.has(paths.get(module) ?? "");
  const each = layers.map((layer) =>
    layerBytes(layer, { tree, batch, form, isAdapted })
  );
  const total = each.reduce((sum, { saved }) => sum + saved, 0);
  const layer = Math.max(...each.map(({ saved }) => saved));
  const working = Math.max(...each.map((one) => one.working));
  const { tokens } = batch;
  const states = tokens * config.hiddenSize * residualBytes(form);
  const hidden = heap(states, states);
  // log-softmax, its gradient and that of the logits are there at once, in float32
  const table = batch.trained * config.vocabSize * DTYPE_BYTES.float32;
  const logits = heap(3 * table, table);
  // large ones are mapped beside the heap; small ones take room that a layer has left
  const beside = table > LARGE ? logits : 0;
  return {
    layer: total / layers.length,
    hidden,
    working,
    logits,
    kept: total + beside + Math.max(logits - beside, working),
    // the heap keeps what the layers have used until it is needed again
    recomputed: layers.length * hidden + layer + working + logits,
  };
}

/** Bytes of a number on the residual stream, which autocast leaves in the type of the weights. */
function residualBytes({ held }: StepForm): number {
  return DTYPE_BYTES[held];
}

/** Bytes of what products give. */
function productBytes({ held, autocast }: StepForm): number {
  return autocast ? DTYPE_BYTES.bfloat16 : DTYPE_BYTES[held];
}

interface LayerPlace {
  readonly tree: CausalLm;
  readonly batch: BatchSizes;
  readonly form: StepForm;
  readonly isAdapted: (module: Module) => boolean;
}

/** What a layer or a part of it keeps, and what it needs while it is computed. */
interface LayerBytes {
  readonly saved: number;
  readonly working: number;
}

/** The same for each token, and the size of one of its tensors for each token. */
interface TokenBytes extends LayerBytes {
  readonly tensor: number;
}

/** Memory for tensors of `bytes` in all, each of `tensor` bytes. */
function heap(bytes: number, tensor: number): number {
  return tensor > LARGE ? bytes : HEAP * bytes;
}

function layerBytes(layer: DecoderLayer, place: LayerPlace): LayerBytes {
  const { tree, batch, form } = place;
  const modules = Array.from(layer.namedModules(), ([, module]) => module);
  const { tokens } = batch;
  const [attention, ...others] = blocksOf(layer);
  const parts: TokenBytes[] = [
    attentionBytes(attention ?? [], place),
    ...others.map((block) => mlpBytes(block, place)),
    ...modules.filter((each) => each instanceof MixtureMlp)
      .map((mixture) => mixtureBytes(mixture, form)),
  ];
  const norms =
    modules.filter((each) =>
      each instanceof Norm && isWide(each, tree.config.hiddenSize)
    ).length;
  // a norm keeps its input
  const hidden = tree.config.hiddenSize * residualBytes(form);
  parts.push({ saved: norms * hidden, working: 0, tensor: hidden });
  const sum = (pick: keyof LayerBytes): number =>
    parts.reduce(
      (all, part) => all + heap(tokens * part[pick], tokens * part.tensor),
      0,
    );
  return { saved: sum("saved"), working: sum("working") };
}

/** Whether a norm is that of hidden states, not that of a head. */
function isWide(norm: Norm, hiddenSize: number): boolean {
  return norm.parameterSpecs().every(({ shape }) =>
    shape.at(-1) === hiddenSize
  );
}

/** The projections of each block of a layer, attention first. */
function blocksOf(layer: DecoderLayer): Projection[][] {
  const blocks = new Map<string, Projection[]>();
  for (const [path, module] of layer.namedModules()) {
    if (!(module instanceof Projection)) continue;
    const parent = path.slice(0, Math.max(path.lastIndexOf("."), 0));
    blocks.set(parent, [...blocks.get(parent) ?? [], module]);
  }
  return [...blocks.values()];
}

/**
 * Bytes a token that the adapters of a block keep of their inputs. The last projection
 * of a block reads what the block has made, all others read the block's input.
 */
function inputBytes(
  block: readonly Projection[],
  { form, isAdapted }: LayerPlace,
): number {
  const bytes = productBytes(form);
  const last = block.at(-1);
  const adapted = block.filter(isAdapted);
  if (form.dropout) {
    // each has a copy with its own zeros, and the mask
    return adapted.reduce(
      (sum, { inFeatures }) => sum + inFeatures * (bytes + 1),
      0,
    );
  }
  const shared = adapted.filter((each) => each !== last);
  const copies = form.autocast ? shared.length : Math.min(shared.length, 1);
  return copies * (shared[0]?.inFeatures ?? 0) * bytes +
    (adapted.includes(last!) ? last!.inFeatures * bytes : 0);
}

/** Queries, keys, values and the result, all as wide as the heads of queries. */
function attentionBytes(
  block: readonly Projection[],
  place: LayerPlace,
): TokenBytes {
  const { tree, batch, form } = place;
  const { heads, headSize } = tree.config as CausalLm["config"] & HeadSizes;
  const wide = heads * headSize;
  const bytes = productBytes(form);
  const isPlain = (batch.length ?? Infinity) <= SHORT &&
    bytes === DTYPE_BYTES.float32;
  const scores = isPlain ? heads * batch.length! : 0;
  const last = block.at(-1);
  // the fused kernel keeps its result, which may be what the last projection keeps too
  const isShared = last !== undefined && place.isAdapted(last) && !form.dropout;
  const result = isPlain || isShared ? 0 : wide;
  const products = block.reduce((sum, each) => sum + each.outFeatures, 0);
  return {
    saved: (3 * wide + scores + result) * bytes + inputBytes(block, place),
    working: (products + 2 * wide + 2 * scores) * bytes,
    tensor: wide * bytes,
  };
}

/** What activation and product keep of an MLP. */
function mlpBytes(
  block: readonly Projection[],
  place: LayerPlace,
): TokenBytes {
  const bytes = productBytes(place.form);
  const last = block.at(-1)!;
  const made = block.slice(0, -1)
    .reduce((sum, { outFeatures }) => sum + outFeatures, 0);
  // gate and up are as wide as the input of the last, twice; without a gate, once
  const gated = made > last.inFeatures ? last.inFeatures : 0;
  return {
    saved: (made + gated) * bytes + inputBytes(block, place),
    working: (made + gated + 2 * last.inFeatures) * bytes,
    tensor: last.inFeatures * bytes,
  };
}

/** The experts that compute a token; adapters are never on them. */
function mixtureBytes({ options }: MixtureMlp, form: StepForm): TokenBytes {
  const { expertSize, expertsPerToken, hiddenSize } = options;
  const bytes = productBytes(form);
  return {
    saved: expertsPerToken * (3 * expertSize + 2 * hiddenSize) * bytes,
    working: expertsPerToken * (2 * expertSize + hiddenSize) * bytes,
    tensor: hiddenSize * bytes,
  };
}
