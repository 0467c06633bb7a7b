/**
 * The elements of a JSON array as texts, one after the other, from a text that comes
 * in pieces. It finds brackets and commas only; what stands between them is not
 * checked here.
 *
 * @module
 */

import { LONGEST_ROW, type Problems, tooLong } from "./row_text.ts";

/** A place in a text, both from 1. */
export interface Place {
  /** Line, ended by `\n`. */
  readonly line: number;
  /** Column in the line. */
  readonly column: number;
}

/** What stands between two commas of an array. */
export interface ArrayElement extends Place {
  /** Its text, which begins at that place. */
  readonly text: string;
  /** What ends it, and where; null at the end of the file. */
  readonly end: Place & { readonly character: string | null };
}

/** A bracket or comma of the outermost array. */
interface Mark {
  readonly at: number;
  readonly character: string;
}

const OUTSIDE = /["[\]{},]/g;
const IN_STRING = /["\\]/g;

/** Finds the marks of the outermost array in pieces of a text. */
class Scanner {
  #depth = 0;
  #isInString = false;
  #skipped = 0;

  *marks(piece: string): Generator<Mark> {
    let at = this.#skipped;
    this.#skipped = 0;
    for (;;) {
      const pattern = this.#isInString ? IN_STRING : OUTSIDE;
      pattern.lastIndex = at;
      const found = pattern.exec(piece);
      if (found === null) return;
      at = found.index + 1;
      const [character] = found;
      if (character === '"') this.#isInString = !this.#isInString;
      else if (character === "\\") at++;
      else if (this.#isMark(character)) yield { at: at - 1, character };
      if (at > piece.length) this.#skipped = at - piece.length;
    }
  }

  #isMark(character: string): boolean {
    if (character === ",") return this.#depth === 1;
    const opens = character === "[" || character === "{";
    if (opens) this.#depth++;
    else this.#depth--;
    return this.#depth === (opens ? 1 : 0);
  }
}

/**
 * Whether a text that begins with `[` is an array and not a line of one followed by
 * other lines.
 */
export function isArrayAlone(pieces: Iterable<string>): boolean {
  const scanner = new Scanner();
  let isClosed = false;
  let isFirstLine = true;
  let isFilled = false;
  for (const piece of pieces) {
    let after = isClosed ? 0 : piece.length;
    if (!isClosed) {
      for (const { at, character } of scanner.marks(piece)) {
        if (character === "[" || character === ",") continue;
        isClosed = true;
        after = at + 1;
        break;
      }
      const within = piece.slice(0, after);
      const filled: string = isFilled ? within : within.trimStart();
      isFilled ||= filled !== "";
      if (/[\r\n]/.test(filled)) return true;
    }
    for (const line of piece.slice(after).split(/(?<=[\r\n])/)) {
      if (line.trim() !== "") return isFirstLine;
      if (/[\r\n]/.test(line)) isFirstLine = false;
    }
  }
  return true;
}

/**
 * The elements of the array that a text begins with. An array that is not closed
 * ends with an element without an end, and what follows an array is a problem.
 */
export function* arrayElements(
  pieces: Iterable<string>,
  problems: Problems,
): Generator<ArrayElement> {
  const scanner = new Scanner();
  let start: Place = { line: 1, column: 1 };
  let [parts, length]: [string[], number] = [[], 0];
  let [isClosed, count] = [false, 0];
  for (const piece of pieces) {
    let from = 0;
    for (const { at, character } of isClosed ? [] : scanner.marks(piece)) {
      parts.push(piece.slice(from, at));
      const text = parts.join("");
      const end = placeAfter(start, text);
      isClosed = character === "]" || character === "}";
      const isEmptyArray = isClosed && count === 0 && text.trim() === "";
      if (character !== "[" && character !== "{" && !isEmptyArray) {
        yield element({ text, start, end: { ...end, character } });
        count++;
      }
      start = { line: end.line, column: end.column + 1 };
      [parts, length, from] = [[], 0, at + 1];
      if (isClosed) break;
    }
    const rest = piece.slice(from);
    if (isClosed && rest.trim() !== "") {
      const place = placeAfter(start, rest.slice(0, rest.search(/\S/)));
      return problems.add({ ...place, what: AFTER_ARRAY });
    }
    length += rest.length;
    if (isClosed) start = placeAfter(start, rest);
    else parts.push(rest);
    if (length > LONGEST_ROW) return problems.add(tooLong(start.line));
  }
  if (isClosed) return;
  const text = parts.join("");
  const end = { ...placeAfter(start, text.trimEnd()), character: null };
  yield element({ text, start, end });
}

const AFTER_ARRAY =
  "the line is not JSON, unexpected non-whitespace character after JSON";

function element(
  { text, start, end }: {
    readonly text: string;
    readonly start: Place;
    readonly end: ArrayElement["end"];
  },
): ArrayElement {
  const filled = text.trimStart();
  const blank = text.slice(0, text.length - filled.length);
  return { ...placeAfter(start, blank), text: filled, end };
}

/** The place after `text`, which begins at a place. */
function placeAfter({ line, column }: Place, text: string): Place {
  const last = text.lastIndexOf("\n");
  if (last < 0) return { line, column: column + text.length };
  let lines = 1;
  for (let at = text.indexOf("\n"); at < last; lines++) {
    at = text.indexOf("\n", at + 1);
  }
  return { line: line + lines, column: text.length - last };
}
