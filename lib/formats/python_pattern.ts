/**
 * Regular expressions with the rules of Python's `re`, matched against whole
 * names. All ways of matching are followed at the same time, as sets of
 * positions, so that no expression can run for ever. Groups are not captured, and
 * syntax that needs captures is refused.
 *
 * @module
 */

import { parsePattern, type PatternNode } from "./python_pattern_syntax.ts";

/** The most steps of one match; reasonable expressions need some hundred. */
const STEPS_PER_MATCH = 1e6;
/** The most steps of all matches of one expression: `base`, and more for each match. */
const STEPS_IN_ALL = { base: 1e7, perMatch: 2000 } as const;

/** A text, and the steps spent on it. */
interface Matching {
  readonly text: readonly number[];
  steps: number;
}

/** Sorted positions in a text, each once. */
type Positions = readonly number[];

/** A regular expression of Python. */
export class PythonPattern {
  /** The expression as it was given. */
  readonly source: string;
  /**
   * The characters of an expression that consists of letters and dots, "" for
   * one that matches anything; else `null`.
   */
  readonly #plain: readonly string[] | null;
  readonly #root: PatternNode;
  /** The steps that are left for all matches. */
  #left: number = STEPS_IN_ALL.base;

  /**
   * Parses an expression.
   *
   * @throws {SyntaxError} saying what is wrong with it and where.
   */
  constructor(source: string) {
    this.source = source;
    this.#root = parsePattern(source);
    this.#plain = plainCharacters(source);
  }

  /** Whether it consists of letters, digits, `_` and dots only, so that it matches fast. */
  get isPlain(): boolean {
    return this.#plain !== null;
  }

  /**
   * Whether it matches all of `text`, as `re.fullmatch`.
   *
   * @throws {RangeError} when the expression takes too many steps.
   */
  fullMatch(text: string): boolean {
    return this.#ends(text, [0]).includes([...text].length);
  }

  /**
   * Whether it matches `path` to its end, from its start or from after one of its
   * dots, as `re.match(rf"(.*\.)?({pattern})$", path)`.
   *
   * @throws {RangeError} when the expression takes too many steps.
   */
  matchesTail(path: string): boolean {
    if (this.#plain !== null) return plainTail(this.#plain, path);
    return this.#ends(path, starts(path)).includes([...path].length);
  }

  /**
   * The number in `path` after the list whose name the expression matches, as
   * `re.match(rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\.", path)`.
   *
   * @throws {RangeError} when the expression takes too many steps.
   */
  listIndex(path: string): number | undefined {
    const characters = [...path];
    for (const start of starts(path)) {
      for (const end of this.#ends(path, [start]).toReversed()) {
        const rest = characters.slice(end).join("");
        const index = /^\.(\d+)\./.exec(rest)?.[1];
        if (index !== undefined) return Number(index);
      }
    }
    return undefined;
  }

  /** The positions where matches that begin at `from` end. */
  #ends(text: string, from: Positions): Positions {
    const points = Array.from(text, (each) => each.codePointAt(0)!);
    const matching: Matching = { text: points, steps: 0 };
    const ends = follow(this.#root, from, matching);
    this.#left += STEPS_IN_ALL.perMatch - matching.steps;
    if (this.#left < 0) throw tooMuchWork();

    return ends;
  }
}

function plainCharacters(source: string): string[] | null {
  if (!/^(?:\w|\.|\\\.)+$/.test(source)) return null;
  return Array.from(
    source.matchAll(/\\\.|[^]/g),
    ([each]) => each === "." ? "" : each.slice(-1),
  );
}

/** Whether `path` ends with `plain`, preceded by a dot or nothing. */
function plainTail(plain: readonly string[], path: string): boolean {
  const start = path.length - plain.length;
  if (start < 0 || (start > 0 && path[start - 1] !== ".")) return false;
  return plain.every((each, index) =>
    each === "" ? path[start + index] !== "\n" : each === path[start + index]
  );
}

/** The start of `path` and every position after a dot. */
function starts(path: string): Positions {
  const characters = [...path];
  return [0, ...characters.keys().map((at) => at + 1)].filter((at) =>
    at === 0 || characters[at - 1] === "."
  );
}

function tooMuchWork(): RangeError {
  return new RangeError("it takes too many steps, a simpler one is needed");
}

/** The positions where `node` can end when it begins at one of `from`. */
function follow(
  node: PatternNode,
  from: Positions,
  matching: Matching,
): Positions {
  matching.steps += from.length + 1;
  if (matching.steps > STEPS_PER_MATCH) throw tooMuchWork();
  if (from.length === 0) return from;
  const { text } = matching;
  switch (node.type) {
    case "character":
      return from.filter((at) => at < text.length && node.test(text[at]!))
        .map((at) => at + 1);
    case "sequence":
      return node.items.reduce(
        (positions, item) => follow(item, positions, matching),
        from,
      );
    case "either":
      return union(
        node.options.map((option) => follow(option, from, matching)),
      );
    case "repeat":
      return repeat(node, from, matching);
    case "place":
      return from.filter((at) => node.test(text, at));
    case "look":
      return from.filter((at) => looks(node, at, matching) !== node.negated);
  }
}

function repeat(
  node: PatternNode & { type: "repeat" },
  from: Positions,
  matching: Matching,
): Positions {
  let positions = from;
  for (let count = 0; count < node.min; count++) {
    const next = follow(node.item, positions, matching);
    // The same positions again: more rounds change nothing.
    if (next.join() === positions.join()) break;
    positions = next;
  }
  const seen = new Set(positions);
  let fresh = positions;
  for (let count = node.min; count < node.max && fresh.length > 0; count++) {
    fresh = follow(node.item, fresh, matching).filter((at) => !seen.has(at));
    for (const at of fresh) seen.add(at);
  }
  return sorted(seen);
}

function looks(
  node: PatternNode & { type: "look" },
  at: number,
  matching: Matching,
): boolean {
  if (!node.behind) return follow(node.item, [at], matching).length > 0;
  for (let start = at; start >= 0; start--) {
    if (follow(node.item, [start], matching).includes(at)) return true;
  }
  return false;
}

function union(sets: readonly Positions[]): Positions {
  const filled = sets.filter((set) => set.length > 0);
  return filled.length === 1 ? filled[0]! : sorted(new Set(filled.flat()));
}

function sorted(set: ReadonlySet<number>): Positions {
  return [...set].sort((a, b) => a - b);
}
