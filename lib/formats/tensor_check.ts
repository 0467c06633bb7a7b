/**
 * One check of what a file of tensors holds against what is needed: which tensors
 * are missing, which have another shape, and which are left over.
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

/** How {@linkcode tensorProblems} says what is wrong. */
export interface TensorCheckWords {
  /** What asks for the shapes, such as `config.json asks for`. */
  readonly asks: string;
  /** What is wrong with a tensor nobody needs, such as `belongs to no layer of this model`. */
  readonly leftOver: string;
  /** Stored names that nobody needs and that do no harm. Default: none. */
  readonly ignores?: (name: string) => boolean;
}

/** The most problems that one message shows. */
const SHOWN = 10;

/**
 * Everything that does not fit between `stored` and `needed`: missing and misshapen
 * tensors in the order of `needed`, then those left over in the order of the file.
 */
export function tensorProblems(
  stored: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  needed: Iterable<NeededTensor>,
  words: TensorCheckWords,
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
        }], ${words.asks} [${shape.join(", ")}]`,
      );
    }
  }
  for (const name of stored.keys()) {
    if (!names.has(name) && !words.ignores?.(name)) {
      problems.push(`${quoted(name)} ${words.leftOver}`);
    }
  }
  return problems;
}

/** `problems` in one sentence: the first ten, and how many more there are. */
export function listProblems(problems: readonly string[]): string {
  const shown = problems.slice(0, SHOWN).join("; ");
  const more = problems.length - SHOWN;
  return more > 0 ? `${shown}; and ${more} more` : shown;
}

function sameShape(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length &&
    one.every((size, index) => size === other[index]);
}
