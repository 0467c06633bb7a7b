/**
 * The error for everything a user can correct: flags, data, files, folders.
 * Commands print its message without a stack trace and exit with its code. Names
 * and values from files are put into messages through `quoted()` and
 * `printable()`, so that they cannot move a terminal's cursor or change its
 * colours.
 *
 * @module
 */

// Control and format characters, line separators, halves of surrogate pairs.
// Kept: line feeds and tabs, which our own messages use, and the two joiners that
// some scripts and emoji need.
const UNPRINTABLE = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const LONGEST_MESSAGE = 20_000;
const LONGEST_VALUE = 200;

/**
 * `text` with every control and format character escaped, as `\u001b`. Line feeds
 * and tabs stay.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0)!.toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** `text` with its middle left out where it is longer than `limit`. */
function shortened(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const tail = Math.floor(limit / 3);
  return `${text.slice(0, limit - tail)}…${text.slice(-tail)}`;
}

/**
 * A name, path or other value for a message: as JSON, so that a string is in
 * double quotes with its control characters escaped. Of a value that is longer
 * than about `limit` characters (default 200), the middle is left out.
 */
export function quoted(value: unknown, limit: number = LONGEST_VALUE): string {
  if (typeof value === "string") {
    return printable(JSON.stringify(shortened(value, limit)));
  }
  const isPlain = typeof value !== "object" || value === null;
  return printable(
    shortened(isPlain ? String(value) : jsonOf(value), limit),
  );
}

function jsonOf(value: object): string {
  try {
    return JSON.stringify(value) ?? "an object";
  } catch {
    // too deep, circular, or with bigints
    return Array.isArray(value) ? "an array" : "an object";
  }
}

/** Options of {@linkcode InputError}. */
export interface InputErrorOptions extends ErrorOptions {
  /** Exit code for a command: 1, or 2 for flags as argparse does. Default 1. */
  readonly exitCode?: 1 | 2;
}

/**
 * Something that a user gave cannot be used; the message is one clear sentence.
 *
 * @example
 * ```ts
 * import { InputError } from "@lorikeet/lorikeet";
 *
 * const error = new InputError('Cannot read "rows.jsonl": line 3 is not JSON');
 * if (error.exitCode !== 1) throw new Error("unexpected exit code");
 * ```
 */
export class InputError extends Error {
  /** The class's name, as messages show it. */
  override readonly name = "InputError";
  /** Exit code for a command. */
  readonly exitCode: 1 | 2;

  /**
   * Makes an error with `message` and, for flags, exit code 2. Control characters
   * in the message are escaped, except line feeds and tabs.
   */
  constructor(message: string, options: InputErrorOptions = {}) {
    super(printable(shortened(message, LONGEST_MESSAGE)), options);
    this.exitCode = options.exitCode ?? 1;
  }
}
