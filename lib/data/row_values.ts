/**
 * Values of rows: what is a row, a text, and how what is neither is called.
 *
 * @module
 */

import { PyFloat, pythonFloat } from "../formats/python_json.ts";
import { quoted } from "../input_error.ts";

/** A whole number that is written as a float; texts that only look so cost time, no more. */
const WHOLE_FLOAT =
  /\d(?:\.0+(?:[eE][-+]?\d+)?|(?:\.\d+)?[eE][-+]?\d+)\s*[,\]}]/;

/**
 * `JSON.parse(text)`, with numbers such as `2.0` and `1e3` as {@linkcode PyFloat}:
 * templates print them as Python does.
 *
 * @throws {SyntaxError} when `text` is not JSON.
 */
export function parseJson(text: string): unknown {
  return WHOLE_FLOAT.test(text)
    ? JSON.parse(text, markedFloat as (key: string, value: unknown) => unknown)
    : JSON.parse(text);
}

/** `source` is the number as it is written. */
function markedFloat(
  _: string,
  value: unknown,
  { source }: { readonly source?: string },
): unknown {
  return Number.isInteger(value) && /[.eE]/.test(source!)
    ? new PyFloat(value as number)
    : value;
}

/** A row as JSON has it. */
export type JsonRow = Readonly<Record<string, unknown>>;

/** Whether `value` is a JSON object. */
export function isJsonRow(value: unknown): value is JsonRow {
  return typeof value === "object" && value !== null &&
    !Array.isArray(value) && !(value instanceof PyFloat);
}

/** What a JSON value is, in words. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (value instanceof PyFloat) return `the number ${pythonFloat(value.value)}`;
  if (typeof value === "object") return "an object";
  return typeof value === "string"
    ? "a text"
    : `the ${typeof value} ${quoted(value)}`;
}

/** Why `value` is not a text to train on, or null. */
export function textProblem(value: unknown): string | null {
  if (typeof value !== "string") {
    return `is ${kindOf(value)}, it must be a text`;
  }
  return value.isWellFormed()
    ? null
    : "holds half of a surrogate pair, it must be Unicode text";
}

/** A list, also where a file holds it as JSON text, as CSV does. */
export function listOf(value: unknown): unknown {
  if (typeof value !== "string" || !value.trimStart().startsWith("[")) {
    return value;
  }
  try {
    return parseJson(value);
  } catch {
    return value;
  }
}
