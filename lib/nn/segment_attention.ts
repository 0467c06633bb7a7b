/**
 * Attention over segments, exactly, from kernels that know nothing of segments: each
 * segment attends to itself, and all tokens below a segment attend to it in one call. The
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
import type {
  AttentionKernel,
  KernelInput,
  SequenceStarts,
} from "./attention_kernels.ts";

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
  /** The lengths of sequences of different lengths, of which there is one row; else `null`. */
  readonly lengths: readonly number[] | null;
  /** Whether queries and keys are the same tokens, which see those before them. */
  readonly isOwn: boolean;
}

/**
 * The calls for `segments`: first one for each segment with itself, in which
 * neighbours of one length go together, then one for each segment that others
 * continue, with all tokens below it. For a kernel that takes sequences of different
 * lengths, all segments with themselves are one call.
 */
export function attentionCalls(
  segments: readonly Segment[],
  isRagged = false,
): readonly AttentionCall[] {
  const own = isRagged ? [raggedCall(segments)] : ownCalls(segments);
  return [...own, ...sharedCalls(segments)];
}

function raggedCall(segments: readonly Segment[]): AttentionCall {
  const lengths = segments.map(({ length }) => length);
  const all = { start: 0, end: lengths.reduce((sum, each) => sum + each, 0) };
  return { queries: all, keys: all, rows: 1, lengths, isOwn: true };
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
      calls[calls.length - 1] = { ...last, queries: all, keys: all, rows };
    } else {
      const own = { start, end };
      const alone = { rows: 1, lengths: null, isOwn: true };
      calls.push({ queries: own, keys: own, ...alone });
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
      { queries, keys, rows: 1, lengths: null, isOwn: false }
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
  /** What computes a call. */
  readonly kernel: AttentionKernel;
  /** The calls that make up the attention. */
  readonly calls: readonly AttentionCall[];
  /** Where the sequences of a call begin. */
  readonly startsOf: (call: AttentionCall) => SequenceStarts;
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
  /** What the kernel keeps of each call. */
  readonly states: readonly (readonly Tensor[])[];
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

function emptyLike({ shape, dtype, device }: Tensor): Flat {
  const [, heads = 0, tokens = 0, size = 0] = shape;
  const memory = empty([1, tokens, heads, size], { dtype, device });
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

/** Queries, keys and values. */
type Inputs = readonly [Flat, Flat, Flat];

function inputsOf({ query, keys, values }: SegmentInput): Inputs {
  return [flat(query), flat(keys), flat(values)];
}

/** What the kernel is given for `call`. */
function kernelInput(
  [query, keys, values]: Inputs,
  call: AttentionCall,
  input: SegmentInput,
): KernelInput {
  const { rows, isOwn } = call;
  const bias = input.biasOf(call);
  return {
    query: part(query, call.queries, rows),
    keys: part(keys, call.keys, rows),
    values: part(values, call.keys, rows),
    scale: input.scale,
    // a bias hides late keys itself
    isCausal: isOwn && bias === null,
    bias,
    starts: () => input.startsOf(call),
  };
}

/** `softmax(scale · q kᵀ + bias) v` over the keys that each token sees. */
export function segmentAttention(input: SegmentInput): SegmentOutput {
  const { kernel, calls } = input;
  const inputs = inputsOf(input);
  const { shape, dtype, device } = input.query;
  const [, heads = 0, tokens = 0] = shape;
  const output = emptyLike(input.query);
  const logSums = empty([1, tokens, heads], { device });
  const states = calls.map((call) => {
    const { rows } = call;
    const made = kernel.forward(kernelInput(inputs, call, input));
    const sums = made.logSums;
    const own = part(output, call.queries, rows);
    const ownSums = sumsOf(logSums, call.queries, { heads, rows });
    if (call.isOwn) {
      aten.copy_(own, made.output);
      aten.copy_(ownSums, sums);
    } else {
      // the share of this part in the merged softmax, [rows, heads, length, 1]
      const share = aten.sigmoid(sums.add(ownSums, -1));
      const weight = aten.unsqueeze(share, 3);
      aten.lerp_(own, made.output, aten.toDtype(weight, dtype));
      aten.copy_(ownSums, aten.logaddexp(ownSums, sums));
    }
    return made.state;
  });
  return { output: whole(output), logSums, states };
}

/** The gradients of {@linkcode segmentAttention}'s query, keys and values, of their shape. */
export function segmentAttentionBackward(
  gradient: Tensor,
  input: SegmentInput,
  { output, logSums, states }: SegmentOutput,
): [Tensor, Tensor, Tensor] {
  const inputs = inputsOf(input);
  const [{ heads }] = inputs;
  const [given, mixed] = [flat(gradient), flat(output)];
  const all = [input.query, input.keys, input.values].map(emptyLike);
  for (const [at, call] of input.calls.entries()) {
    const { rows, queries } = call;
    const shares = input.kernel.backward(
      part(given, queries, rows),
      kernelInput(inputs, call, input),
      {
        output: part(mixed, queries, rows),
        logSums: sumsOf(logSums, queries, { heads, rows }),
        state: states[at]!,
      },
    );
    for (const [index, share] of shares.entries()) {
      const span = index === 0 ? queries : call.keys;
      const sum = part(all[index]!, span, rows);
      aten.copy_(sum, call.isOwn ? share : sum.add(share));
    }
  }
  return all.map(whole) as [Tensor, Tensor, Tensor];
}
