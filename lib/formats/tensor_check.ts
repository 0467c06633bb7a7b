/**
 * Compares the tensors in a file with those that are needed: which are missing,
 * which have another shape, and which are not needed.
 *
 * @module
 */

import { quoted } from "../input_error.ts";

/** A tensor that is needed. */
export interface NeededTensor {
  /** Its name in the file. */
  readonly name: string;
  /** Sizes of the dimensions. */
  readonly shape: readonly number[];
}

/** The wording of {@linkcode tensorProblems}. */
export interface TensorCheckWording {
  /** Where the shapes come from, such as `config.json asks for`. */
  readonly asks: string;
  /**
   * The problem of a tensor that is not needed, such as `belongs to no layer of
   * this model`.
   */
  readonly leftOver: string;
  /** Names of stored tensors that are not needed and do no harm. Default: none. */
  readonly ignores?: (name: string) => boolean;
}

/** At most this many problems are shown in one message. */
const SHOWN = 10;

/**
 * All differences between `stored` and `needed`: missing and misshapen tensors in
 * the order of `needed`, then those that are not needed, in the order of the
 * file.
 */
export function tensorProblems(
  stored: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  needed: Iterable<NeededTensor>,
  wording: TensorCheckWording,
): string[] {
  const problems: string[] = [];
  const names = new Set<string>();
  for (const { name, shape } of needed) {
    names.add(name);
    const found = stored.get(name);
    if (found === undefined) problems.push(`${quoted(name)} is missing`);
    else if (!sameShape(found.shape, shape)) {
      problems.push(
        `${quoted(name)} has shape [${
          found.shape.join(", ")
        }], ${wording.asks} [${shape.join(", ")}]`,
      );
    }
  }
  for (const name of stored.keys()) {
    if (!names.has(name) && !wording.ignores?.(name)) {
      problems.push(`${quoted(name)} ${wording.leftOver}`);
    }
  }
  return problems;
}

/** `problems` as one sentence: the first ten, and how many more there are. */
export function listProblems(problems: readonly string[]): string {
  const shown = problems.slice(0, SHOWN).join("; ");
  const more = problems.length - SHOWN;
  return more > 0 ? `${shown}; and ${more} more` : shown;
}

function sameShape(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length &&
    one.every((size, index) => size === other[index]);
}
