/**
 * The only file that uses Hugging Face's Jinja, and its values as Python has them:
 * how they are spelled as text and as JSON, which are equal, and the methods of
 * strings. The package has JavaScript's rules there.
 *
 * @module
 */

import {
  Environment,
  Interpreter,
  parse,
  tokenize,
} from "npm:@huggingface/jinja@0.5.11";
import { compareCodePoints } from "../formats/code_point_order.ts";
import { PyFloat, pythonFloat } from "../formats/python_json.ts";

export { Environment, Interpreter, parse, tokenize };

/** A parsed template. */
export type Program = ReturnType<typeof parse>;
/** A part of one. */
export type Node = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;
/** What an expression gives. */
export type Value = ReturnType<Interpreter["evaluate"]>;
/** Something that a template can call. */
export type Callee = (args: Value[], scope: Environment) => Value;

/** A value of the package for a value of JavaScript. */
export function valueOf(value: unknown): Value {
  return new Environment().set("value", value);
}

type Made<T> = new (value: T) => Value;
const ListValue = valueOf([]).constructor as Made<readonly Value[]>;
const FunctionValue = valueOf(() => null).constructor as Made<Callee>;

const FloatValue = valueOf(0.5).constructor as Made<number>;
const MappingValue = valueOf({}).constructor as Made<Map<string, Value>>;

/** A value for one that was read from JSON, where a number may be marked as a float. */
export function pythonValueOf(value: unknown): Value {
  if (value instanceof PyFloat) return new FloatValue(value.value);
  if (Array.isArray(value)) return listOf(value.map(pythonValueOf));
  if (typeof value !== "object" || value === null) return valueOf(value);
  const entries = Object.entries(value);
  return new MappingValue(
    new Map(entries.map(([key, each]) => [key, pythonValueOf(each)])),
  );
}

/** A list of values. */
export function listOf(values: readonly Value[]): Value {
  return new ListValue([...values]);
}

/** A function for templates. */
export function functionOf(call: Callee): Value {
  return new FunctionValue(call);
}

/** The entries of a list or tuple, `null` for other values. */
export function entriesOf({ value }: Value): readonly Value[] | null {
  return Array.isArray(value) ? value : null;
}

/** The entries of a mapping, `null` for other values. */
export function mappingOf(
  { value, type }: Value,
): ReadonlyMap<string, Value> | null {
  return value instanceof Map && type !== "NamespaceValue" ? value : null;
}

/** What a loop goes through: characters, entries, keys; nothing for an undefined value. */
export function iterated(value: Value): readonly Value[] {
  if (value.type === "UndefinedValue") return [];
  if (typeof value.value === "string") return [...value.value].map(valueOf);
  const mapping = mappingOf(value);
  const found = mapping === null
    ? entriesOf(value)
    : [...mapping.keys()].map(valueOf);
  if (found !== null) return found;
  throw new Error(`${typeName(value)} cannot be looped over`);
}

/** The name of a value's kind, for messages. */
export function typeName({ type }: Value): string {
  return type === "NullValue"
    ? "none"
    : `a value of type ${type.replace(/Value$/, "").toLowerCase()}`;
}

/** `str(value)` in Python; nothing for an undefined value. */
export function textOf(value: Value): string {
  if (value.type === "UndefinedValue") return "";
  return typeof value.value === "string" ? value.value : represented(value);
}

/** `repr(value)` in Python. */
function represented(value: Value): string {
  if (typeof value.value === "string") return quotedText(value.value);
  const mapping = mappingOf(value);
  if (mapping !== null) {
    const entries = [...mapping].map(([key, it]) =>
      `${quotedText(key)}: ${represented(it)}`
    );
    return `{${entries.join(", ")}}`;
  }
  const entries = entriesOf(value);
  if (entries !== null) return `[${entries.map(represented).join(", ")}]`;
  if (value.type === "UndefinedValue") return "Undefined";
  if (value.type === "NullValue") return "None";
  if (value.type === "BooleanValue") return value.value ? "True" : "False";
  return value.type === "FloatValue"
    ? pythonFloat(value.value as number)
    : String(value.value);
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\\": "\\\\",
};

function quotedText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/\\|[\p{C}\p{Z}]/gu, (it) => {
    if (it === " ") return it;
    const code = it.codePointAt(0)!;
    const [letter, digits] = code < 0x100
      ? ["x", 2]
      : code < 0x10000
      ? ["u", 4]
      : ["U", 8];
    return SHORT_ESCAPES[it] ??
      `\\${letter}${code.toString(16).padStart(digits as number, "0")}`;
  });
  return `${quote}${escaped.replaceAll(quote, `\\${quote}`)}${quote}`;
}

/** How {@linkcode jsonOf} spells. */
export interface JsonStyle {
  readonly ensureAscii: boolean;
  /** Spaces a level, `null` for one line. */
  readonly indent: number | null;
  readonly separators: readonly [string, string] | null;
  readonly sortKeys: boolean;
}

/** `json.dumps(value)` in Python, as transformers' filter `tojson` calls it. */
export function jsonOf(value: Value, style: JsonStyle, depth = 0): string {
  const [comma, colon] = style.separators ??
    [style.indent === null ? ", " : ",", ": "];
  const text = (it: string): string =>
    style.ensureAscii
      ? JSON.stringify(it).replace(
        /[\x7f-\uffff]/g,
        (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
      )
      : JSON.stringify(it);
  const enclosed = (brackets: string, items: readonly string[]): string => {
    const [open, close] = brackets;
    if (style.indent === null || items.length === 0) {
      return `${open}${items.join(comma)}${close}`;
    }
    const line = "\n" + " ".repeat(style.indent * depth);
    const inner = line + " ".repeat(style.indent);
    return `${open}${inner}${items.join(comma + inner)}${line}${close}`;
  };
  const mapping = mappingOf(value);
  if (mapping !== null) {
    const entries = [...mapping];
    if (style.sortKeys) entries.sort(([a], [b]) => compareCodePoints(a, b));
    return enclosed(
      "{}",
      entries.map(([key, it]) =>
        `${text(key)}${colon}${jsonOf(it, style, depth + 1)}`
      ),
    );
  }
  const entries = entriesOf(value);
  if (entries !== null) {
    return enclosed("[]", entries.map((it) => jsonOf(it, style, depth + 1)));
  }
  if (typeof value.value === "string") return text(value.value);
  if (value.type === "FloatValue") return pythonFloat(value.value as number);
  if (value.type === "NullValue") return "null";
  if (/^(?:Integer|Boolean)/.test(value.type)) return String(value.value);
  throw new Error(`${typeName(value)} has no JSON form`);
}

/** `left == right` in Python. */
export function areEqual(left: Value, right: Value): boolean {
  const [a, b] = [mappingOf(left), mappingOf(right)];
  if (a !== null && b !== null) {
    return a.size === b.size &&
      [...a].every(([key, it]) => b.has(key) && areEqual(it, b.get(key)!));
  }
  const [first, second] = [entriesOf(left), entriesOf(right)];
  if (first !== null && second !== null) {
    return first.length === second.length &&
      first.every((it, at) => areEqual(it, second[at]!));
  }
  return plain(left) === plain(right);
}

function plain({ type, value }: Value): unknown {
  if (type === "NullValue") return null;
  // True is 1 and False is 0
  return typeof value === "boolean" ? Number(value) : value;
}
