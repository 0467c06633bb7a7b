/**
 * Self-attention with several heads, in which groups of query heads share keys
 * and values (Ainslie et al., arXiv:2305.13245). Which keys a token sees is
 * decided by the batch context.
 *
 * @module
 */

import {
  asType,
  aten,
  type GradientTape,
  recordingTape,
  type Tensor,
  tensor,
  wantsGradient,
} from "../tensor/mod.ts";
import type { BatchContext, Visibility } from "./batch_context.ts";
import { attentionKernel } from "./choose_kernel.ts";
import { dropout } from "./dropout.ts";
import {
  segmentAttention,
  segmentAttentionBackward,
  type SegmentInput,
} from "./segment_attention.ts";

/** How scores are computed from products, and which keys are visible. */
export interface AttentionForm extends Visibility {
  /** Factor of the products of queries and keys. Default `1 / √headSize`. */
  readonly scale?: number | undefined;
  /**
   * Where given, a score `s` becomes `c · tanh(s / c)`. Default: scores are not
   * changed.
   */
  readonly softcap?: number | null | undefined;
  /** Share of the attention weights that dropout sets to zero. Default 0. */
  readonly dropout?: number | undefined;
}

/** The input of {@linkcode attention}. */
export interface AttentionInput extends AttentionForm {
  /** `[rows, heads, length, headSize]` */
  readonly query: Tensor;
  /**
   * `[rows, keyHeads, cached + length, headSize]`; each key head serves a group
   * of query heads.
   */
  readonly keys: Tensor;
  /** The same shape as the keys. */
  readonly values: Tensor;
}

/** The input with the factor of the products, all of one type. */
type Parts = AttentionInput & { readonly scale: number };

/**
 * `softmax(scale · q kᵀ) v` over the keys that each token of the batch sees:
 * `[rows, heads, length, headSize]`.
 */
export function attention(
  input: AttentionInput,
  context: BatchContext,
): Tensor {
  const { query } = input;
  if (sharesKeys(input, context)) return sharedAttention(input, context);
  // Autocast leaves norms and rotations in float32.
  const { dtype } = input.values;
  const { softcap } = input;
  const parts: Parts = {
    ...input,
    query: asType(query, dtype),
    keys: asType(input.keys, dtype),
    scale: input.scale ?? 1 / Math.sqrt(query.shape[3]!),
  };
  if (joinsSegments(parts, context)) {
    const inputs = [parts.query, parts.keys, parts.values];
    const tape = recordingTape(inputs);
    if (tape !== null) return recordedAttention(parts, { context, tape });
    if (!wantsGradient(inputs)) {
      return segmentAttention(segmentInput(parts, context)).output;
    }
  }
  const repeated = withRepeatedHeads(parts);
  return isShort(query, context) || softcap
    ? plainAttention(repeated, context)
    : fusedAttention(repeated, context);
}

/** Whether one new token follows cached ones, and groups of its heads share keys. */
function sharesKeys(
  { query, keys, slopes }: AttentionInput,
  context: BatchContext,
): boolean {
  return context.length === 1 && context.cached > 0 &&
    slopes === undefined && query.shape[1] !== keys.shape[1];
}

/**
 * Attention of single tokens: the query heads that share keys see the same ones,
 * so they are computed as queries of one head, and no key is repeated.
 */
function sharedAttention(
  input: AttentionInput,
  context: BatchContext,
): Tensor {
  const { query, keys, values, softcap } = input;
  const { dtype } = values;
  const [rows = 0, heads = 0, , size = 0] = query.shape;
  const own = keys.shape[1]!;
  const parts: Parts = {
    ...input,
    // [rows, keyHeads, group, headSize]
    query: aten.reshape(asType(query, dtype), [
      rows,
      own,
      heads / own,
      size,
    ]),
    keys: asType(keys, dtype),
    scale: input.scale ?? 1 / Math.sqrt(size),
  };
  const mixed = softcap
    ? plainAttention(parts, context)
    : fusedAttention(parts, context);
  return aten.reshape(mixed, [rows, heads, 1, size]);
}

/** Whether attention is computed segment by segment, without a mask over all tokens. */
function joinsSegments(parts: Parts, context: BatchContext): boolean {
  const { softcap, dropout = 0 } = parts;
  return !context.isRectangle && !softcap && dropout === 0;
}

function segmentInput(parts: Parts, context: BatchContext): SegmentInput {
  const { query, keys, values, slopes, window } = parts;
  const heads = query.shape[1]!;
  const hasBias = slopes !== undefined || context.hides(window);
  const kernel = attentionKernel(query, { hasBias });
  return {
    ...parts,
    keys: repeatedSideBySide(keys, heads),
    values: repeatedSideBySide(values, heads),
    kernel,
    calls: context.attentionCalls(kernel.isRagged),
    startsOf: (call) => context.callStarts(call),
    biasOf: (call) => context.callBias(call, { ...parts, dtype: query.dtype }),
  };
}

/** Attention over segments, with its own backward formula. */
function recordedAttention(
  parts: Parts,
  place: { readonly context: BatchContext; readonly tape: GradientTape },
): Tensor {
  const { query, keys, values } = parts;
  const { context, tape } = place;
  return tape.record([query, keys, values], (save) => {
    const kept = {
      ...parts,
      query: save(query),
      keys: save(keys),
      values: save(values),
    };
    const made = segmentAttention(segmentInput(parts, context));
    const { output } = made;
    const result = {
      output: save(output),
      logSums: save(made.logSums),
      states: made.states.map((state) => state.map(save)),
    };
    const keyHeads = keys.shape[1]!;
    return {
      output,
      pull: (gradient) => {
        const input = segmentInput(kept, context);
        const [forQuery, forKeys, forValues] = segmentAttentionBackward(
          gradient,
          input,
          result,
        );
        return [
          forQuery,
          sharedHeads(forKeys, keyHeads),
          sharedHeads(forValues, keyHeads),
        ];
      },
    };
  });
}

/**
 * Up to this sequence length the plain formula is faster on a CPU than the
 * fused kernel.
 */
const SHORT = 128;

function isShort(query: Tensor, context: BatchContext): boolean {
  return context.cached === 0 && context.length <= SHORT &&
    query.device.type === "cpu" &&
    query.dtype === "float32";
}

/**
 * The formula itself, with float32 weights. It is used for short sequences, which
 * the fused CPU kernel splits into blocks that are too small, and for capped
 * scores, which no kernel has.
 */
function plainAttention(parts: Parts, context: BatchContext): Tensor {
  const { query, keys, values, scale, softcap } = parts;
  const { device } = query;
  const scaled = aten.mul(query, tensor(scale, { device }));
  let scores = aten.matmul(scaled, aten.transpose(keys, 2, 3));
  if (softcap) {
    const shrunk = aten.mul(scores, tensor(1 / softcap, { device }));
    scores = aten.mul(aten.tanh(shrunk), tensor(softcap, { device }));
  }
  const masked = scores.add(context.bias("float32", parts));
  const weights = aten.toDtype(aten.softmax(masked, -1), values.dtype);
  return aten.matmul(dropped(weights, parts.dropout), values);
}

function dropped(weights: Tensor, p = 0): Tensor {
  if (p === 0) return weights;
  const { kept, scale } = dropout(weights, p);
  return aten.mul(kept, tensor(scale, { device: weights.device }));
}

/** PyTorch's kernel, with its own causal mask where the batch needs no other. */
function fusedAttention(parts: Parts, context: BatchContext): Tensor {
  const { query, keys, values, scale, slopes } = parts;
  const ordinary = context.isRectangle && slopes === undefined &&
    !context.skipsPlaces && !context.hides(parts.window);
  // The kernel's causal mask counts tokens from the first key.
  const isCausal = ordinary && context.cached === 0;
  // A single token after the cached ones sees every key.
  const seesAll = ordinary && context.length === 1;
  const mask = (): Tensor =>
    slopes === undefined
      ? context.mask(parts.window)
      : context.bias(query.dtype, parts);
  return aten.scaledDotProductAttention(
    query,
    keys,
    values,
    isCausal || seesAll ? null : mask(),
    parts.dropout ?? 0,
    isCausal && !seesAll,
    scale,
  );
}

/** Each key head repeated for the query heads that share it. */
function withRepeatedHeads(parts: Parts): Parts {
  const heads = parts.query.shape[1]!;
  return {
    ...parts,
    keys: repeatHeads(parts.keys, heads),
    values: repeatHeads(parts.values, heads),
  };
}

/** The gradient of what {@linkcode repeatHeads} repeated: sums of those that share a head. */
function sharedHeads(gradient: Tensor, heads: number): Tensor {
  const [, all = 0, length = 0, size = 0] = gradient.shape;
  if (all === heads) return gradient;
  // [1, length, heads, group, size]
  const groups = aten.view(aten.transpose(gradient, 1, 2), [
    1,
    length,
    heads,
    all / heads,
    size,
  ]);
  return aten.transpose(aten.sumDim(groups, [3]), 1, 2);
}

function repeatHeads(tensor: Tensor, heads: number): Tensor {
  const [batch = 0, own = 0, length = 0, size = 0] = tensor.shape;
  if (own === heads) return tensor;
  const wide = aten.expand(
    aten.unsqueeze(tensor, 2),
    [batch, own, heads / own, length, size],
  );
  return aten.reshape(wide, [batch, heads, length, size]);
}

/**
 * {@linkcode repeatHeads} of one row, with the heads of a token side by side in
 * memory, as segments are read.
 */
function repeatedSideBySide(tensor: Tensor, heads: number): Tensor {
  const [, own = 0, length = 0, size = 0] = tensor.shape;
  if (own === heads) return tensor;
  // [1, length, own, group, size]
  const wide = aten.expand(
    aten.unsqueeze(aten.transpose(tensor, 1, 2), 3),
    [1, length, own, heads / own, size],
  );
  return aten.transpose(aten.reshape(wide, [1, length, heads, size]), 1, 2);
}
