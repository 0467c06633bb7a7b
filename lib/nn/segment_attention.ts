/**
 * Attention over segments, exactly, from PyTorch's fused CPU kernel: each segment
 * attends to itself, and all tokens below a segment attend to it in one call. The
 * parts are merged by their log-sum-exps, because a softmax over several sets of
 * keys is a weighted mean of the softmaxes over each.
 *
 * For the gradient each part's own backward kernel is called with the merged
 * output and the merged log-sum-exp. From these two it computes
 * `P = exp(scores − l)` and `Σ dO ∘ O`, so each part gives its exact share.
 *
 * @module
 */

import type { Segment } from "../data/batch.ts";
import { aten, empty, type Tensor, unsafeStridedView } from "../tensor/mod.ts";

/** Consecutive tokens of a batch. */
export interface Span {
  /** Index of the first token in the flat batch. */
  readonly start: number;
  /** One past the last. */
  readonly end: number;
}

/** One call of the kernel. */
export interface AttentionCall {
  /** The tokens whose queries are used. */
  readonly queries: Span;
  /** The tokens whose keys and values are used. */
  readonly keys: Span;
  /** Number of sequences of one length into which both are divided. */
  readonly rows: number;
  /** Whether queries and keys are the same tokens, which see those before them. */
  readonly isOwn: boolean;
}

/**
 * The calls for `segments`: first one for each segment with itself, in which
 * neighbours of one length go together, then one for each segment that others
 * continue, with all tokens below it.
 */
export function attentionCalls(
  segments: readonly Segment[],
): readonly AttentionCall[] {
  return [...ownCalls(segments), ...sharedCalls(segments)];
}

function ownCalls(segments: readonly Segment[]): AttentionCall[] {
  const calls: AttentionCall[] = [];
  for (const { start, length } of segments) {
    const end = start + length;
    const last = calls.at(-1);
    const size = last && (last.queries.end - last.queries.start) / last.rows;
    if (last?.queries.end === start && size === length) {
      const all = { start: last.queries.start, end };
      const rows = last.rows + 1;
      calls[calls.length - 1] = { queries: all, keys: all, rows, isOwn: true };
    } else {
      const own = { start, end };
      calls.push({ queries: own, keys: own, rows: 1, isOwn: true });
    }
  }
  return calls;
}

function sharedCalls(segments: readonly Segment[]): AttentionCall[] {
  const below = segments.map((): Span[] => []);
  for (const { start, length, parent } of segments) {
    const end = start + length;
    for (let at = parent; at !== null; at = segments[at]!.parent) {
      const spans = below[at]!;
      const last = spans.at(-1);
      if (last?.end === start) spans[spans.length - 1] = { ...last, end };
      else spans.push({ start, end });
    }
  }
  return segments.flatMap(({ start, length }, index) => {
    const keys = { start, end: start + length };
    return below[index]!.map((queries) => (
      { queries, keys, rows: 1, isOwn: false }
    ));
  });
}

/** The input of {@linkcode segmentAttention}; all of one shape. */
export interface SegmentInput {
  /** `[1, heads, tokens, headSize]` */
  readonly query: Tensor;
  /** The same shape. */
  readonly keys: Tensor;
  /** The same shape. */
  readonly values: Tensor;
  /** The factor of the scores. */
  readonly scale: number;
  /** The calls that make up the attention. */
  readonly calls: readonly AttentionCall[];
  /**
   * What is added to the scores of a call, `[queries, keys]` of one row, with a
   * dimension for heads before it or not; `null` where nothing is.
   */
  readonly biasOf: (call: AttentionCall) => Tensor | null;
}

/** Attention's result, and what its gradient needs besides the input. */
export interface SegmentOutput {
  /** `[1, heads, tokens, headSize]` */
  readonly output: Tensor;
  /** Logarithm of the sum of the exponentials of each query's scores, `[1, tokens, heads]`. */
  readonly logSums: Tensor;
}

/**
 * `[1, heads, tokens, size]` with the heads of a token side by side, and its shape: a
 * part of it is one view.
 */
interface Flat {
  /** Contiguous `[1, tokens, heads, size]`. */
  readonly memory: Tensor;
  readonly heads: number;
  readonly size: number;
}

function flat(tensor: Tensor): Flat {
  const [, heads = 0, , size = 0] = tensor.shape;
  const memory = aten.contiguous(aten.transpose(tensor, 1, 2));
  return { memory, heads, size };
}

function emptyLike({ shape, dtype }: Tensor): Flat {
  const [, heads = 0, tokens = 0, size = 0] = shape;
  const memory = empty([1, tokens, heads, size], { dtype });
  return { memory, heads, size };
}

/** `[1, heads, tokens, size]` */
function whole({ memory }: Flat): Tensor {
  return aten.transpose(memory, 1, 2);
}

/** The tokens of `span` as `rows` sequences: `[rows, heads, length, size]`. */
function part(
  { memory, heads, size }: Flat,
  { start, end }: Span,
  rows: number,
): Tensor {
  const width = heads * size;
  const length = (end - start) / rows;
  return unsafeStridedView(memory, {
    shape: [rows, heads, length, size],
    strides: [length * width, size, width, 1],
    offset: start * width,
  });
}

/** The log-sum-exps of `span`, as the kernel has them: `[rows, heads, length]`. */
function sumsOf(
  logSums: Tensor,
  { start, end }: Span,
  { heads, rows }: { readonly heads: number; readonly rows: number },
): Tensor {
  const length = (end - start) / rows;
  return unsafeStridedView(logSums, {
    shape: [rows, heads, length],
    strides: [length * heads, 1, heads],
    offset: start * heads,
  });
}

/** Whether the kernel's own causal mask is right for `call`. */
function isCausal({ isOwn }: AttentionCall, bias: Tensor | null): boolean {
  return isOwn && bias === null;
}

/** `softmax(scale · q kᵀ + bias) v` over the keys that each token sees. */
export function segmentAttention(input: SegmentInput): SegmentOutput {
  const { scale, calls } = input;
  const [query, keys, values] = [input.query, input.keys, input.values]
    .map(flat) as [Flat, Flat, Flat];
  const [, heads = 0, tokens = 0] = input.query.shape;
  const output = emptyLike(input.query);
  const logSums = empty([1, tokens, heads]);
  for (const call of calls) {
    const { rows } = call;
    const bias = input.biasOf(call);
    const [mixed, sums] = aten.flashAttention(
      part(query, call.queries, rows),
      part(keys, call.keys, rows),
      part(values, call.keys, rows),
      0,
      isCausal(call, bias),
      bias,
      scale,
    );
    const own = part(output, call.queries, rows);
    const ownSums = sumsOf(logSums, call.queries, { heads, rows });
    if (call.isOwn) {
      aten.copy_(own, mixed);
      aten.copy_(ownSums, sums);
    } else {
      // the share of this part in the merged softmax, [rows, heads, length, 1]
      const share = aten.sigmoid(sums.add(ownSums, -1));
      const weight = aten.unsqueeze(share, 3);
      aten.lerp_(own, mixed, aten.toDtype(weight, input.query.dtype));
      aten.copy_(ownSums, aten.logaddexp(ownSums, sums));
    }
  }
  return { output: whole(output), logSums };
}

/** The gradients of {@linkcode segmentAttention}'s query, keys and values, of their shape. */
export function segmentAttentionBackward(
  gradient: Tensor,
  input: SegmentInput,
  { output, logSums }: SegmentOutput,
): [Tensor, Tensor, Tensor] {
  const { scale } = input;
  const inputs = [input.query, input.keys, input.values];
  const [query, keys, values] = inputs.map(flat) as [Flat, Flat, Flat];
  const [given, mixed] = [flat(gradient), flat(output)];
  const all = inputs.map(emptyLike);
  for (const call of input.calls) {
    const { rows, queries } = call;
    const bias = input.biasOf(call);
    const shares = aten.flashAttentionBackward(
      part(given, queries, rows),
      part(query, queries, rows),
      part(keys, call.keys, rows),
      part(values, call.keys, rows),
      part(mixed, queries, rows),
      sumsOf(logSums, queries, { heads: query.heads, rows }),
      0,
      isCausal(call, bias),
      bias,
      scale,
    );
    for (const [index, share] of shares.entries()) {
      const span = index === 0 ? queries : call.keys;
      const sum = part(all[index]!, span, rows);
      aten.copy_(sum, call.isOwn ? share : sum.add(share));
    }
  }
  return all.map(whole) as [Tensor, Tensor, Tensor];
}
