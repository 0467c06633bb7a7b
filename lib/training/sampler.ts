/**
 * The random choices of a run, each a pure function of the place in the run: the
 * order of the rows, which is that of transformers, and the seeds of dropout.
 *
 * @module
 */

import { aten, manualSeed, randomPermutation, zeros } from "../tensor/mod.ts";

/** In which order rows come, by the names of transformers. */
export type SamplingStrategy = "random" | "sequential" | "group_by_length";

/** How rows are divided into micro-batches. */
export interface SamplerOptions {
  /** Default `random`. */
  readonly strategy?: SamplingStrategy;
  /**
   * For `group_by_length`: the length of each row, and micro-batches of a step.
   */
  readonly grouping?: {
    readonly lengths: readonly number[];
    readonly accumulation: number;
    /** The run's seed, which transformers takes here whatever `data_seed` is. */
    readonly seed: number;
  };
  /** The run's seed; the epoch is added to it. */
  readonly seed: number;
  /** Rows of a full micro-batch. */
  readonly batchSize: number;
  /** Leave out the last micro-batch of an epoch when it is not full. Default no. */
  readonly dropLast?: boolean;
}

/**
 * The row numbers of each micro-batch of epoch `epoch`, for `count` rows. With
 * `random`, the order is that of accelerate's `SeedableRandomSampler`:
 * `torch.randperm(count)` from a generator seeded with `seed + epoch`; with
 * `group_by_length`, that of transformers' `LengthGroupedSampler`.
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
  const { batchSize, dropLast = false } = options;
  const order = epochOrder(count, options);
  const batches: number[][] = [];
  for (let start = 0; start < count; start += batchSize) {
    const batch = order.slice(start, start + batchSize);
    if (batch.length === batchSize || !dropLast) batches.push(batch);
  }
  return batches;
}

function epochOrder(
  count: number,
  options: SamplerOptions & { readonly epoch: number },
): number[] {
  const { strategy = "random", seed, epoch, grouping, batchSize } = options;
  if (strategy === "sequential") return [...Array(count).keys()];
  if (strategy === "random" || grouping === undefined) {
    return randomPermutation(count, BigInt(seed) + BigInt(epoch));
  }
  return groupedByLength(nthPermutation(count, grouping.seed, epoch), {
    lengths: grouping.lengths,
    groupSize: batchSize * grouping.accumulation,
  });
}

/**
 * The permutation that the Trainer of transformers draws in epoch `epoch`: one
 * stream for all epochs, from which the loader of each takes a seed first. With
 * dropout its stream moves on with every mask, so that only the first epoch is
 * the same.
 */
function nthPermutation(count: number, seed: number, epoch: number): number[] {
  manualSeed(seed);
  using loaderSeed = zeros([1], { dtype: "int64" });
  for (let earlier = 0; earlier < epoch; earlier++) {
    aten.random_(loaderSeed, 0, null);
    using _order = aten.randperm(count, "int64");
  }
  aten.random_(loaderSeed, 0, null);
  using order = aten.randperm(count, "int64");
  return Array.from(order.toArray());
}

/**
 * `get_length_grouped_indices`: groups of up to 50 steps' rows, each sorted by
 * length, the longest first; the longest row of all comes first, so that a lack
 * of memory shows at once.
 */
function groupedByLength(
  order: readonly number[],
  { lengths, groupSize }: {
    readonly lengths: readonly number[];
    readonly groupSize: number;
  },
): number[] {
  const steps = Math.min(Math.floor(order.length / (groupSize * 4)), 50);
  const size = Math.max(steps, 1) * groupSize;
  const groups: number[][] = [];
  for (let start = 0; start < order.length; start += size) {
    groups.push(
      order.slice(start, start + size)
        .toSorted((one, other) => lengths[other]! - lengths[one]!),
    );
  }
  const longest =
    groups.toSorted(([one], [other]) => lengths[other!]! - lengths[one!]!)[0];
  if (longest !== undefined) {
    const first = groups[0]!;
    [first[0], longest[0]] = [longest[0]!, first[0]!];
  }
  return groups.flat();
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
