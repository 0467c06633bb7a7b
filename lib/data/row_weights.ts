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
