/**
 * Values of rows: what is a row, a text, and how what is neither is called.
 *
 * @module
 */

import { quoted } from "../input_error.ts";

/** A row as JSON has it. */
export type JsonRow = Readonly<Record<string, unknown>>;

/** Whether `value` is a JSON object. */
export function isJsonRow(value: unknown): value is JsonRow {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a JSON value is, in words. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
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
    return JSON.parse(value);
  } catch {
    return value;
  }
}
