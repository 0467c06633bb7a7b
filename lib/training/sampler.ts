/**
 * The order in which rows are trained: a pure function of seed and epoch, and the
 * reference's own (accelerate's `SeedableRandomSampler`).
 *
 * @module
 */

import { randomPermutation } from "../tensor/mod.ts";

/** How rows become micro-batches. */
export interface SamplerOptions {
  /** The run's seed; the epoch is added to it. */
  readonly seed: number;
  /** Rows of a full micro-batch. */
  readonly batchSize: number;
  /** Leave out the last micro-batch of an epoch when it is not full. Default no. */
  readonly dropLast?: boolean;
}

/**
 * The row numbers of each micro-batch of epoch `epoch`, of `count` rows:
 * `torch.randperm(count)` from a generator seeded with `seed + epoch`, cut.
 *
 * @example
 * ```ts
 * import { epochBatches } from "@lorikeet/lorikeet";
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
