/**
 * What computes one call of attention over segments, and its gradient. All kernels
 * offer the same two functions, and all give the log-sum-exps that merge several
 * calls, so which of them runs is a matter of speed only. `plainKernel` is the
 * formula itself; it runs on every device.
 *
 * @module
 */

import { aten, full, type Tensor, tensor } from "../tensor/mod.ts";

/** Where the sequences of a call begin in its queries and keys. */
export interface SequenceStarts {
  /** The first query of each sequence, and the number of all: `int32 [sequences + 1]`. */
  readonly queries: Tensor;
  /** The same for the keys. */
  readonly keys: Tensor;
  /** Length of the longest sequence of queries. */
  readonly longestQueries: number;
  /** Length of the longest sequence of keys. */
  readonly longestKeys: number;
}

/** The input of one call. */
export interface KernelInput {
  /** `[rows, heads, length, headSize]` */
  readonly query: Tensor;
  /** `[rows, heads, keyLength, headSize]` */
  readonly keys: Tensor;
  /** The same shape as the keys. */
  readonly values: Tensor;
  /** The factor of the scores. */
  readonly scale: number;
  /** Whether token `i` sees the keys up to `i` only. */
  readonly isCausal: boolean;
  /** What is added to the scores, `[length, keyLength]` or with heads before it, or `null`. */
  readonly bias: Tensor | null;
  /** For kernels that take sequences of different lengths: there is one row. */
  readonly starts: () => SequenceStarts;
}

/** What a call gives. */
export interface KernelOutput {
  /** `[rows, heads, length, headSize]` */
  readonly output: Tensor;
  /** Logarithm of the sum of the exponentials of each query's scores: `[rows, heads, length]`. */
  readonly logSums: Tensor;
  /** What the kernel's own backward function needs besides. */
  readonly state: readonly Tensor[];
}

/** A way to compute attention. */
export interface AttentionKernel {
  /** Its name. */
  readonly name: string;
  /** Whether one call takes sequences of different lengths. */
  readonly isRagged: boolean;
  /** Attention of a call. */
  forward(input: KernelInput): KernelOutput;
  /**
   * The gradients of query, keys and values, from the gradient of the output. Output
   * and log-sum-exps may be those of several merged calls.
   */
  backward(
    gradient: Tensor,
    input: KernelInput,
    result: KernelOutput,
  ): [Tensor, Tensor, Tensor];
}

/** PyTorch's fused kernel for CPUs. */
export const cpuKernel: AttentionKernel = {
  name: "fused CPU kernel",
  isRagged: false,
  forward({ query, keys, values, isCausal, bias, scale }): KernelOutput {
    const [output, logSums] = aten.flashAttention(
      query,
      keys,
      values,
      0,
      isCausal,
      bias,
      scale,
    );
    return { output, logSums, state: [] };
  },
  backward(
    gradient,
    { query, keys, values, isCausal, bias, scale },
    result,
  ): [Tensor, Tensor, Tensor] {
    return aten.flashAttentionBackward(
      gradient,
      query,
      keys,
      values,
      result.output,
      result.logSums,
      0,
      isCausal,
      bias,
      scale,
    );
  },
};

/** Scores in float32, with `bias`, and minus infinity where a key comes too late. */
function scoresOf({ query, keys, isCausal, bias, scale }: KernelInput): Tensor {
  const { device } = query;
  const product = aten.matmul(query, aten.transpose(keys, 2, 3));
  const scores = aten.mul(
    aten.toDtype(product, "float32"),
    tensor(scale, { device }),
  );
  const biased = bias === null
    ? scores
    : scores.add(aten.toDtype(bias, "float32"));
  if (!isCausal) return biased;
  const [, , length = 0, keyLength = 0] = biased.shape;
  const ones = full([length, keyLength], { value: 1, device });
  const hidden = full([], { value: -Infinity, device });
  return aten.where(aten.toDtype(aten.tril(ones), "bool"), biased, hidden);
}

/** `softmax(scale · q kᵀ + bias) v` by products, on any device. */
export const plainKernel: AttentionKernel = {
  name: "plain formula",
  isRagged: false,
  forward(input): KernelOutput {
    const { values } = input;
    const scores = scoresOf(input);
    const logSums = aten.logsumexp(scores, [3]);
    const weights = aten.exp(scores.add(aten.unsqueeze(logSums, 3), -1));
    const output = aten.matmul(aten.toDtype(weights, values.dtype), values);
    return { output, logSums, state: [] };
  },
  backward(gradient, input, { output, logSums }): [Tensor, Tensor, Tensor] {
    const { query, keys, values, scale } = input;
    const { dtype, device } = query;
    // P = exp(S − l), [rows, heads, length, keyLength]
    const weights = aten.exp(
      scoresOf(input).add(aten.unsqueeze(logSums, 3), -1),
    );
    const narrow = aten.toDtype(weights, dtype);
    const forValues = aten.matmul(aten.transpose(narrow, 2, 3), gradient);
    const forWeights = aten.toDtype(
      aten.matmul(gradient, aten.transpose(values, 2, 3)),
      "float32",
    );
    // Σ dO ∘ O, [rows, heads, length, 1]
    const mean = aten.sumDim(
      aten.mul(
        aten.toDtype(gradient, "float32"),
        aten.toDtype(output, "float32"),
      ),
      [3],
      true,
    );
    const forScores = aten.mul(weights, forWeights.add(mean, -1));
    const scaled = aten.toDtype(
      aten.mul(forScores, tensor(scale, { device })),
      dtype,
    );
    return [
      aten.matmul(scaled, keys),
      aten.matmul(aten.transpose(scaled, 2, 3), query),
      forValues,
    ];
  },
};

/** `[1, heads, tokens, size]` as `[tokens, heads, size]`, each token's numbers side by side. */
function flat(tensor: Tensor): Tensor {
  const [, heads = 0, tokens = 0, size = 0] = tensor.shape;
  const side = aten.contiguous(aten.transpose(tensor, 1, 2));
  return aten.view(side, [tokens, heads, size]);
}

/** The inverse of {@linkcode flat}. */
function unflat(tensor: Tensor): Tensor {
  return aten.transpose(aten.unsqueeze(tensor, 0), 1, 2);
}

/** Flash attention on CUDA devices: half types, and sequences of any lengths in one call. */
export const flashKernel: AttentionKernel = {
  name: "flash attention",
  isRagged: true,
  forward({ query, keys, values, isCausal, scale, starts }): KernelOutput {
    const { queries, keys: keyStarts, longestQueries, longestKeys } = starts();
    const [output, logSums, seed, offset] = aten.raggedAttention(
      flat(query),
      flat(keys),
      flat(values),
      queries,
      keyStarts,
      longestQueries,
      longestKeys,
      0,
      isCausal,
      false,
      scale,
    );
    return {
      output: unflat(output),
      // [1, heads, tokens]
      logSums: aten.unsqueeze(logSums, 0),
      state: [seed, offset],
    };
  },
  backward(
    gradient,
    input,
    { output, logSums, state },
  ): [Tensor, Tensor, Tensor] {
    const { queries, keys, longestQueries, longestKeys } = input.starts();
    const [, heads = 0, tokens = 0] = logSums.shape;
    const shares = aten.raggedAttentionBackward(
      flat(gradient),
      flat(input.query),
      flat(input.keys),
      flat(input.values),
      flat(output),
      aten.view(aten.contiguous(logSums), [heads, tokens]),
      queries,
      keys,
      longestQueries,
      longestKeys,
      0,
      input.isCausal,
      state[0]!,
      state[1]!,
      input.scale,
    );
    return shares.map(unflat) as [Tensor, Tensor, Tensor];
  },
};

/** `custom_mask_type` of the memory-efficient kernels. */
const MASK = { none: 0, causal: 1 } as const;
/** The memory-efficient backward kernel reads log-sum-exps in blocks of so many queries. */
const BLOCK = 32;

/** `[rows, heads, length, size]` as `[rows, length, heads, size]`, and back. */
function turned(tensor: Tensor): Tensor {
  return aten.transpose(tensor, 1, 2);
}

/** Memory-efficient attention on CUDA devices: any type, and devices that flash attention leaves out. */
export const efficientKernel: AttentionKernel = {
  name: "memory-efficient attention",
  isRagged: false,
  forward({ query, keys, values, isCausal, scale }): KernelOutput {
    const [output, logSums, seed, offset] = aten.efficientAttention(
      aten.contiguous(turned(query)),
      aten.contiguous(turned(keys)),
      aten.contiguous(turned(values)),
      null,
      null,
      null,
      null,
      null,
      0,
      isCausal ? MASK.causal : MASK.none,
      true,
      scale,
    );
    return {
      output: turned(output),
      logSums: aten.slice(logSums, 2, 0, query.shape[2]!),
      state: [seed, offset],
    };
  },
  backward(
    gradient,
    input,
    { output, logSums, state },
  ): [Tensor, Tensor, Tensor] {
    const { query, keys, values, isCausal, scale } = input;
    const [rows = 0, heads = 0, length = 0] = logSums.shape;
    const padded = full([rows, heads, Math.ceil(length / BLOCK) * BLOCK], {
      value: Infinity,
      device: query.device,
    });
    aten.copy_(aten.slice(padded, 2, 0, length), logSums);
    const [forQuery, forKeys, forValues] = aten.efficientAttentionBackward(
      aten.contiguous(turned(gradient)),
      aten.contiguous(turned(query)),
      aten.contiguous(turned(keys)),
      aten.contiguous(turned(values)),
      null,
      aten.contiguous(turned(output)),
      null,
      null,
      length,
      keys.shape[2]!,
      padded,
      0,
      state[0]!,
      state[1]!,
      isCausal ? MASK.causal : MASK.none,
      false,
      scale,
    );
    return [turned(forQuery), turned(forKeys), turned(forValues)];
  },
};
