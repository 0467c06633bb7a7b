/**
 * The random choices of a run, each a pure function of the place in the run: the
 * order of the rows, which is that of transformers (accelerate's
 * `SeedableRandomSampler`), and the seeds of dropout.
 *
 * @module
 */

import { randomPermutation } from "../tensor/mod.ts";

/** How rows are divided into micro-batches. */
export interface SamplerOptions {
  /** The run's seed; the epoch is added to it. */
  readonly seed: number;
  /** Rows of a full micro-batch. */
  readonly batchSize: number;
  /** Leave out the last micro-batch of an epoch when it is not full. Default no. */
  readonly dropLast?: boolean;
}

/**
 * The row numbers of each micro-batch of epoch `epoch`, for `count` rows:
 * `torch.randperm(count)` from a generator seeded with `seed + epoch`, divided
 * into batches.
 *
 * @example
 * ```ts
 * import { epochBatches } from "@lorikeet/lorikeet/training";
 *
 * const batches = epochBatches(11, { epoch: 0, seed: 42, batchSize: 4 });
 * if (batches[0]!.join() !== "6,8,9,2") throw new Error("unexpected order");
 * ```
 */
export function epochBatches(
  count: number,
  options: SamplerOptions & { readonly epoch: number },
): number[][] {
  const { seed, epoch, batchSize, dropLast = false } = options;
  const order = randomPermutation(count, BigInt(seed) + BigInt(epoch));
  const batches: number[][] = [];
  for (let start = 0; start < count; start += batchSize) {
    const batch = order.slice(start, start + batchSize);
    if (batch.length === batchSize || !dropLast) batches.push(batch);
  }
  return batches;
}

const MASK = (1n << 64n) - 1n;

/** One 64-bit seed computed from all `parts`, with SplitMix64 (Steele et al., 2014). */
export function mixSeed(parts: readonly number[]): bigint {
  return parts.reduce((state, part) => {
    let mixed = (state + BigInt(part) + 0x9e3779b97f4a7c15n) & MASK;
    mixed = ((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & MASK;
    return mixed ^ (mixed >> 31n);
  }, 0n);
}
