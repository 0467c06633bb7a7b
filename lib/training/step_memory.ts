/**
 * The memory of a training step at its highest point, from sizes in the module tree.
 * `layerBytes()`, `attentionBytes()`, `mlpBytes()` and `inputBytes()` follow how a
 * step is computed: which tensors of a layer wait for the backward pass. A tape keeps
 * the inputs and the output of each operation that it records.
 *
 * @module
 */

import type { CausalLm, DecoderLayer } from "../architectures/mod.ts";
import type { Batch } from "../data/batch.ts";
import { type DType, DTYPE_BYTES } from "../formats/dtype.ts";
import { logitRows } from "./gradients.ts";
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
  /** The highest point where so many layers are recomputed, from the lowest on. */
  readonly peakWith: (recomputed: number) => number;
}

/** Whether all rows of a batch have one length and share nothing. */
function isRectangle({ segments }: Batch): boolean {
  return segments.every(({ length, parent }) =>
    parent === null && length === segments[0]!.length
  );
}

/**
 * Memory that the heap takes for a byte of a step's tensors: tensors that live long
 * and short ones come from one heap, and leave holes. Measured with glibc by
 * `bench/memory.ts`: 1.3 to 2.0. Without holes (`MALLOC_MMAP_THRESHOLD_=65536`) the
 * same runs take what is counted here with 1.
 */
const HEAP = 1.6;
/**
 * The most layers whose used memory stays as holes with checkpointing; measured with 6,
 * 8 and 30 layers.
 */
const HOLED_LAYERS = 8;
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
  const holes = each.reduce((sum, one) => sum + one.holes, 0);
  const { tokens } = batch;
  const states = tokens * config.hiddenSize * residualBytes(form);
  const hidden = heap(states, states);
  // logits, log-softmax and the gradients of both, in float32; a cap adds three steps
  const { finalLogitSoftcapping: cap } = config as {
    readonly finalLogitSoftcapping?: number | null;
  };
  const most = logitRows(config.vocabSize);
  const table = Math.min(batch.trained, most) * config.vocabSize *
    DTYPE_BYTES.float32;
  const logits = heap((cap ? 7 : 4) * table, table);
  // large ones are mapped beside the heap; small ones take room that a layer has left
  const beside = table > LARGE ? logits : 0;
  const all = layers.length;
  const peakWith = (recomputed: number): number => {
    const kept = total * (all - recomputed) / all + beside +
      Math.max(logits - beside, working);
    if (recomputed === 0) return kept;
    // the outputs of layers lie between holes of what each layer has used and freed
    const lower = recomputed * hidden +
      Math.min(recomputed, HOLED_LAYERS) * holes / all;
    return lower + Math.max(kept, layer + working + logits);
  };
  return {
    layer: total / all,
    hidden,
    working,
    logits,
    kept: peakWith(0),
    recomputed: peakWith(all),
    peakWith,
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

function layerBytes(
  layer: DecoderLayer,
  place: LayerPlace,
): LayerBytes & { readonly holes: number } {
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
  // what each norm gives; where branches end with one, their sums with the residual
  const kept = norms > 2 ? norms + 2 : norms;
  const hidden = tree.config.hiddenSize * residualBytes(form);
  parts.push({ saved: kept * hidden, working: 0, tensor: hidden });
  const saved = parts.reduce(
    (all, part) => all + heap(tokens * part.saved, tokens * part.tensor),
    0,
  );
  const working = Math.max(
    ...parts.map((part) => heap(tokens * part.working, tokens * part.tensor)),
  );
  const holes = parts.reduce(
    (all, part) =>
      all + (tokens * part.tensor > LARGE ? 0 : tokens * part.saved),
    0,
  );
  return { saved, working, holes };
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
  const adapted = block.filter(isAdapted);
  const widths = adapted.reduce((sum, { inFeatures }) => sum + inFeatures, 0);
  // with dropout each has a mask
  const masks = form.dropout ? widths : 0;
  if (!form.autocast) return masks;
  // autocast: each has a copy of its own, rounded
  return masks + widths * DTYPE_BYTES.bfloat16;
}

/** Numbers a token of what a block's projections give, and the backward pass reads. */
function outputsOf(block: readonly Projection[], form: StepForm): number {
  // with autocast, the residual is added to what the last one gives
  const kept = form.autocast ? block.slice(0, -1) : block;
  return kept.reduce((sum, { outFeatures }) => sum + outFeatures, 0);
}

/** Queries, keys, values and the result. */
function attentionBytes(
  block: readonly Projection[],
  place: LayerPlace,
): TokenBytes {
  const { tree, batch, form } = place;
  const { heads, keyValueHeads, headSize, attnLogitSoftcapping: softcap } = tree
    .config as CausalLm["config"] & HeadSizes;
  const wide = heads * headSize;
  const own = keyValueHeads * headSize;
  const bytes = productBytes(form);
  const length = batch.length ?? 0;
  const isPlain = length > 0 &&
    (softcap || (length <= SHORT && bytes === DTYPE_BYTES.float32));
  // weights of each head, and with a cap what tanh gave
  const scores = isPlain ? heads * length * (softcap ? 2 : 1) : 0;
  // contiguous queries, keys and values; the fused kernel needs repeated ones only
  const copies = isPlain ? 3 * wide : length > 0 && own < wide ? 2 * wide : 0;
  const products = outputsOf(block, form);
  const rotated = wide + own;
  return {
    saved: (products + rotated + copies + scores + wide) * bytes +
      inputBytes(block, place),
    working: (3 * wide + 2 * scores) * bytes,
    tensor: Math.max(wide, isPlain ? heads * length : 0) * bytes,
  };
}

/** What the projections of an MLP make; what the last one reads is computed again. */
function mlpBytes(
  block: readonly Projection[],
  place: LayerPlace,
): TokenBytes {
  const { form } = place;
  const bytes = productBytes(form);
  const wide = block.at(-1)!.inFeatures;
  const made = block.slice(0, -1)
    .reduce((sum, { outFeatures }) => sum + outFeatures, 0);
  // gate and up are as wide as the input of the last, twice; without a gate, once
  const isGated = made > wide;
  // autograd keeps the activated gate; the tape what an activation alone gives
  const activated = isGated === form.autocast ? wide : 0;
  return {
    saved: (outputsOf(block, form) + activated) * bytes +
      inputBytes(block, place),
    working: 4 * wide * bytes,
    tensor: wide * bytes,
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
