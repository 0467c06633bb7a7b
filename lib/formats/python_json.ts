/**
 * Writes JSON with exactly the bytes of Python's `json.dumps(value, indent=2,
 * sort_keys=True)`, as peft and transformers do.
 *
 * @module
 */

import { writeFileAtomic } from "./atomic_file.ts";
import { compareCodePoints } from "./code_point_order.ts";

/**
 * A number that is a `float` in Python: 2 is printed as `2.0`. Other numbers need
 * no such mark: they are whole (`int`), or their fraction shows that they are
 * floats.
 */
export class PyFloat {
  /** The number. */
  readonly value: number;

  /** Marks `value` as a float. */
  constructor(value: number) {
    this.value = value;
  }
}

/** What can be written: the JSON values, bigints and {@linkcode PyFloat}. */
export type PythonJson =
  | null
  | boolean
  | number
  | bigint
  | string
  | PyFloat
  | readonly PythonJson[]
  | { readonly [key: string]: PythonJson };

/** Options of {@linkcode writePythonJson}. */
export interface WritePythonJsonOptions {
  /**
   * Ends the file with a line feed, as transformers does and peft does not.
   * Default false.
   */
  readonly trailingNewline?: boolean;
}

/** Writes `value` to `path` as {@linkcode pythonJson} prints it, atomically. */
export function writePythonJson(
  path: string,
  value: PythonJson,
  options: WritePythonJsonOptions = {},
): void {
  const end = options.trailingNewline ? "\n" : "";
  writeFileAtomic(path, pythonJson(value) + end);
}

/**
 * `value` as `json.dumps(value, indent=2, sort_keys=True)` prints it: ASCII only,
 * keys by code point, floats by `repr`.
 *
 * @throws {TypeError} when a value has no JSON form, such as `undefined`.
 */
export function pythonJson(value: PythonJson): string {
  return print(value, "\n");
}

function print(value: PythonJson, newline: string): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") return printNumber(value);
  if (typeof value === "string") return printString(value);
  if (value instanceof PyFloat) return pythonFloat(value.value);
  const inner = newline + "  ";
  if (Array.isArray(value)) {
    const items = (value as readonly PythonJson[]).map((it) =>
      print(it, inner)
    );
    return enclose("[]", items, { inner, newline });
  }
  if (typeof value !== "object") {
    throw new TypeError(
      `Cannot write ${typeof value} as JSON: it has no JSON form`,
    );
  }
  const items = Object.entries(value)
    .sort(([left], [right]) => compareCodePoints(left, right))
    .map(([key, it]) => `${printString(key)}: ${print(it, inner)}`);
  return enclose("{}", items, { inner, newline });
}

function enclose(
  brackets: string,
  items: readonly string[],
  breaks: { readonly inner: string; readonly newline: string },
): string {
  if (items.length === 0) return brackets;
  const body = breaks.inner + items.join("," + breaks.inner) + breaks.newline;
  return brackets.charAt(0) + body + brackets.charAt(1);
}

function printNumber(value: number): string {
  return Number.isInteger(value) ? String(BigInt(value)) : pythonFloat(value);
}

/** Escapes all but printable ASCII, as `ensure_ascii` does. */
function printString(text: string): string {
  return JSON.stringify(text).replace(
    /[\x7f-\uffff]/g,
    (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/** `value` as Python's `json` prints a float: its `repr`, `NaN` or `Infinity`. */
export function pythonFloat(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const [mantissa = "", exponent = ""] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 16) {
    const digits = String(Math.abs(power)).padStart(2, "0");
    return `${mantissa}e${power < 0 ? "-" : "+"}${digits}`;
  }
  const text = String(value);
  return text.includes(".") ? text : `${text}.0`;
}
