/**
 * How often the rows of a file come in an epoch, by the file's weight.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { InputError, quoted } from "../input_error.ts";

/** How the rows of a file are weighted. */
export interface RowWeight {
  /** 2: every row twice; 0.5: a half of the rows; 2.5: every row twice, and a half of them once more. */
  readonly weight: number;
  /** Determines which rows are the part. */
  readonly seed: number;
  /** The file's path. */
  readonly path: string;
}

/**
 * `rows` as often as the weight's whole number says, then the part of them that is
 * left: `round(rows × fraction)` rows in the order of the file, those whose
 * SHA-256 of seed and place is smallest, which is the same on every machine.
 *
 * @throws {InputError} when the weight is not above 0, or no row is left.
 */
export function weightedRows<Row>(
  rows: readonly Row[],
  { weight, seed, path }: RowWeight,
): Row[] {
  const times = Math.floor(weight);
  const part = Math.round((weight - times) * rows.length);
  if (!(weight > 0 && weight < Infinity) || times * rows.length + part === 0) {
    throw new InputError(
      `Cannot take ${weight} of the rows of ${quoted(path)}: of its ${
        rows.length === 1 ? "1 row" : `${rows.length} rows`
      } none would be left, a weight of at least ${1 / rows.length} is needed`,
    );
  }
  const whole = Array.from({ length: times }, () => rows).flat();
  return [...whole, ...drawn(rows.length, part, seed).map((at) => rows[at]!)];
}

/** The rows of a dataset, divided. */
export interface EvaluationSplit<Row> {
  /** The rows to train on. */
  readonly train: Row[];
  /** The rows to evaluate. */
  readonly evaluation: Row[];
}

/**
 * Takes rows for evaluation out of `rows`: a `share` below 1 of them, rounded up
 * as scikit-learn's `train_test_split` does, or that number of them. Which ones,
 * depends on `seed` and their number alone; both parts keep the order of the rows.
 *
 * @throws {InputError} when a part would be empty.
 */
export function splitRows<Row>(
  rows: readonly Row[],
  { share, seed }: { readonly share: number; readonly seed: number },
): EvaluationSplit<Row> {
  const count = share < 1 ? Math.ceil(share * rows.length) : share;
  if (!(count >= 1 && count < rows.length)) {
    throw new InputError(
      `Cannot take ${share} of the rows for evaluation: there are ${rows.length}, at least one must be left for training`,
    );
  }
  const taken = new Set(drawn(rows.length, count, seed));
  return {
    train: rows.filter((_, at) => !taken.has(at)),
    evaluation: rows.filter((_, at) => taken.has(at)),
  };
}

/** `count` of the numbers below `length`, in ascending order. */
function drawn(length: number, count: number, seed: number): number[] {
  const keys = Array.from(
    { length: count === 0 ? 0 : length },
    (_, at) => createHash("sha256").update(`${seed}:${at}`).digest("hex"),
  );
  return [...keys.keys()]
    .sort((one, other) => keys[one]! < keys[other]! ? -1 : 1)
    .slice(0, count)
    .sort((one, other) => one - other);
}
