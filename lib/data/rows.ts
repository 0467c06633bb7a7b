/**
 * Checks of one training row: the three texts that the recipe needs, and what
 * to say about a row that lacks them. It reads no files.
 *
 * @module
 */

/** One training example, and the line of the file that it begins on. */
export interface Row {
  /** What the model is asked to do. */
  readonly instruction: string;
  /** What it is asked to do it with; may be empty. */
  readonly input: string;
  /** The answer to learn. */
  readonly output: string;
  /** Line in the file, from 1. */
  readonly line: number;
}

const KEYS = ["instruction", "input", "output"] as const;
const FARTHEST_TYPO = 2;

/** Returns the row in `value`, or everything that is wrong with it. */
export function checkRow(value: unknown, line: number): Row | string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [`the row is ${kindOf(value)}, it must be a JSON object`];
  }
  const row = value as Readonly<Record<string, unknown>>;
  const complaints = KEYS.flatMap((key) => complaintAbout(row, key) ?? []);
  if (complaints.length > 0) return complaints;
  const { instruction, input, output } = value as Row;
  return { instruction, input, output, line };
}

function complaintAbout(
  row: Readonly<Record<string, unknown>>,
  key: string,
): string | null {
  if (!Object.hasOwn(row, key)) return missing(row, key);
  const value = row[key];
  if (typeof value !== "string") {
    return `"${key}" is ${kindOf(value)}, it must be a text`;
  }
  return value.isWellFormed()
    ? null
    : `"${key}" holds half of a surrogate pair, it must be Unicode text`;
}

function missing(row: Readonly<Record<string, unknown>>, key: string): string {
  const typo = Object.keys(row).find((name) =>
    !(KEYS as readonly string[]).includes(name) &&
    editDistance(name.trim().toLowerCase(), key) <= FARTHEST_TYPO
  );
  return typo === undefined
    ? `key "${key}" is missing`
    : `key "${key}" is missing; there is ${
      JSON.stringify(typo)
    }, did you mean "${key}"?`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  return typeof value === "string" ? "a text" : `the ${typeof value} ${value}`;
}

/** Levenshtein distance: insertions, deletions and replacements. */
export function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 0; i < from.length; i++) {
    const current = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const replaced = previous[j]! + (from[i] === to[j] ? 0 : 1);
      current.push(Math.min(replaced, previous[j + 1]! + 1, current[j]! + 1));
    }
    previous = current;
  }
  return previous[to.length]!;
}
