/**
 * The regular expressions in LoraConfig: compiled once, with errors that name the
 * field.
 *
 * @module
 */

import { PythonPattern } from "../formats/python_pattern.ts";
import { InputError, quoted } from "../input_error.ts";

/** One regular expression in one field. */
export class NamePattern {
  readonly #field: string;
  readonly #pattern: PythonPattern;

  /**
   * Reads the expression `source` in the field `field`.
   *
   * @throws {InputError} when it is not a regular expression, or uses syntax that
   *   is not supported.
   */
  constructor(field: string, source: string) {
    this.#field = field;
    try {
      this.#pattern = new PythonPattern(source);
    } catch (error) {
      throw unusable(field, { source, error });
    }
  }

  /** Whether all of `path` matches, as `re.fullmatch`. */
  fullMatch(path: string): boolean {
    return this.#ask((pattern) => pattern.fullMatch(path));
  }

  /** Whether `path` matches from its start or from after a dot. */
  matchesTail(path: string): boolean {
    return this.#ask((pattern) => pattern.matchesTail(path));
  }

  /** The number in `path` after the list whose name the expression matches. */
  listIndex(path: string): number | undefined {
    return this.#ask((pattern) => pattern.listIndex(path));
  }

  #ask<T>(question: (pattern: PythonPattern) => T): T {
    try {
      return question(this.#pattern);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const { source } = this.#pattern;
      throw unusable(this.#field, { source, error });
    }
  }
}

function unusable(
  field: string,
  found: { source: string; error: unknown },
): InputError {
  const { source, error } = found;
  return new InputError(
    `Cannot use ${field} ${quoted(source)}: ${patternProblem(error as Error)}`,
    { cause: error },
  );
}

function patternProblem(error: Error): string {
  return error instanceof SyntaxError
    ? `as a regular expression it has ${error.message}`
    : error.message;
}

/** The most regular expressions that one field may hold; plain names are not counted. */
const MAX_PATTERNS = 1000;

/** What is wrong with the regular expressions of a field, or `null`. */
export function wrongPatterns(sources: readonly string[]): string | null {
  let count = 0;
  for (const source of sources) {
    const wrong = wrongPattern(source);
    if (wrong !== null) return wrong;
    if (!new PythonPattern(source).isPlain && ++count > MAX_PATTERNS) {
      return `more than ${MAX_PATTERNS} regular expressions`;
    }
  }
  return null;
}

/** What is wrong with `source` as a regular expression, or `null`. */
function wrongPattern(source: string): string | null {
  try {
    new PythonPattern(source);
    return null;
  } catch (error) {
    return `${quoted(source)}: ${patternProblem(error as Error)}`;
  }
}
