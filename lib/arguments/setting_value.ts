/**
 * Reads one setting's value, from the strings of a command line or from the value
 * in a settings file. A reading is the value or a problem, never an exception, so
 * that callers can collect all problems.
 *
 * @module
 */
import { quoted } from "../input_error.ts";
import type { Setting } from "./setting.ts";

/** A value, or the reason why there is none. */
export type Reading = { readonly value: unknown } | {
  readonly problem: string;
};

/** What argparse found after a flag: nothing, one string, or several. */
export type FoundStrings = boolean | string | readonly string[];

const TRUE_WORDS = new Set(["yes", "true", "t", "y", "1"]);
const FALSE_WORDS = new Set(["no", "false", "f", "n", "0"]);
const INT = /^[+-]?\d+(_\d+)*$/;
const FLOAT =
  /^[+-]?(\d+(_\d+)*(\.(\d+(_\d+)*)?)?|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?$/i;
const NAMES = /^[A-Za-z0-9_.,\s-]+$/;

/**
 * Reads the strings after a flag. Problems have the wording of argparse and
 * HfArgumentParser.
 */
export function readStrings(
  setting: Setting,
  strings: FoundStrings,
): Reading {
  if (typeof strings === "boolean") return { value: strings };
  const first = typeof strings === "string" ? strings : strings[0] ?? "";
  const single = typeof strings === "string" || strings.length === 1;
  if (isNullable(setting) && single && /^none$/i.test(first)) {
    return { value: null };
  }
  switch (setting.kind) {
    case "str":
    case "any":
      return { value: first };
    case "int":
      return setting.fractions ? readFraction(first) : readInt(first);
    case "float":
      return readFloat(first);
    case "bool":
      return readBool(first, setting.otherValues);
    case "choice":
      return readChoice(setting, first);
    case "list":
      return readNames(strings);
    case "ints":
      return readNumberList(strings, readInt);
    case "floats":
      return readNumberList(strings, readFloat);
    case "paths":
      return { value: single ? first : strings };
    case "targets":
      return single && isPattern(first) ? { value: first } : readNames(strings);
    case "numbers":
    case "fields":
      return readObject(setting, first);
    case "tokens":
      return single && first.trimStart().startsWith("{")
        ? readObject(setting, first)
        : readNumberList(strings, readInt);
  }
}

function isNullable(setting: Setting): boolean {
  return setting.default === null || setting.nullable === true;
}

/**
 * Whether it is one regular expression or `all-linear`; otherwise it is a list
 * of names.
 */
function isPattern(text: string): boolean {
  return text === "all-linear" || (text !== "" && !NAMES.test(text));
}

function invalid(type: string, text: string): Reading {
  return { problem: `invalid ${type} value: ${quote(text)}` };
}

/** `text` as Python's `repr` shows it. */
function quote(text: string): string {
  return text.includes("'") ? JSON.stringify(text) : `'${text}'`;
}

function readInt(text: string): Reading {
  const digits = text.trim();
  const value = Number(digits.replaceAll("_", ""));
  if (!INT.test(digits) || !Number.isSafeInteger(value)) {
    return invalid("int", text);
  }
  return { value: value === 0 ? 0 : value };
}

function readFloat(text: string): Reading {
  const word = text.trim().toLowerCase();
  if (/^[+-]?nan$/.test(word)) return { value: NaN };
  if (/^[+-]?inf(inity)?$/.test(word)) {
    return { value: word.startsWith("-") ? -Infinity : Infinity };
  }
  if (!FLOAT.test(word)) return invalid("float", text);
  const value = Number(word.replaceAll("_", ""));
  // JSON would lose the minus of -0
  return { value: value === 0 ? 0 : value };
}

/** A finite number; whole ones stay whole. */
function readFraction(text: string): Reading {
  const reading = readFloat(text);
  return "problem" in reading || Number.isFinite(reading.value)
    ? reading
    : invalid("float", text);
}

function readBool(text: string, others: readonly string[] = []): Reading {
  const word = text.toLowerCase();
  if (others.includes(word)) return { value: word };
  if (TRUE_WORDS.has(word)) return { value: true };
  if (FALSE_WORDS.has(word)) return { value: false };
  return {
    problem: `Truthy value expected: got ${text} but expected one of ` +
      ["yes/no", "true/false", "t/f", "y/n", "1/0", ...others].join(", ") +
      " (case insensitive).",
  };
}

function readChoice(setting: Setting, text: string): Reading {
  const { choices = [], likeChoice } = setting;
  if (likeChoice?.test(text)) return { value: text };
  const value = choices.find((choice) =>
    typeof choice === "boolean"
      ? String(choice) === text.toLowerCase()
      : choice === text
  );
  if (value !== undefined) return { value };
  return {
    problem: `invalid choice: ${quote(text)} (choose from ${
      choices.map((choice) =>
        typeof choice === "string" ? quote(choice) : String(choice)
      ).join(", ")
    })`,
  };
}

function splitNames(strings: string | readonly string[]): string[] {
  const all = typeof strings === "string" ? [strings] : strings;
  return all.flatMap((word) => word.split(NAMES.test(word) ? /[\s,]+/ : ","))
    .filter((name) => name !== "");
}

function readNames(strings: string | readonly string[]): Reading {
  const value = splitNames(strings);
  if (value.length === 0) return { problem: "expected at least one name" };
  return { value };
}

function readNumberList(
  strings: string | readonly string[],
  read: (text: string) => Reading,
): Reading {
  const values: unknown[] = [];
  for (const word of splitNames(strings)) {
    const reading = read(word);
    if ("problem" in reading) return reading;
    values.push(reading.value);
  }
  if (values.length === 0) return { problem: "expected at least one number" };
  return { value: values };
}

function readObject(setting: Setting, text: string): Reading {
  try {
    const reading = readJson(setting, { value: JSON.parse(text) });
    if ("value" in reading) return reading;
  } catch {
    // text that is not JSON gets the same problem as JSON of the wrong shape
  }
  const examples: Partial<Record<Setting["kind"], string>> = {
    numbers: '{"q_proj": 16}',
    fields: '{"min_lr": 1e-6}',
    tokens: '{"embed_tokens": [5, 6]}',
  };
  return {
    problem: `invalid value: ${quote(text)} ` +
      `(expected a JSON object such as ${examples[setting.kind]})`,
  };
}

/** `value`, with `change` made to what in it is a path. */
export function withPaths(
  setting: Setting,
  value: unknown,
  change: (path: string) => string,
): unknown {
  if (setting.kind === "paths" && Array.isArray(value)) {
    return value.map((path: string) => change(path));
  }
  if (setting.isPath === undefined || typeof value !== "string") return value;
  const isPath = setting.isPath === true || "problem" in readBool(value);
  return isPath ? change(value) : value;
}

/** Reads a value from a settings file; its type must be exactly right. */
export function readJson(
  setting: Setting,
  given: { readonly value: unknown },
): Reading {
  const { value } = given;
  const isNone = value === null ||
    (typeof value === "string" && /^none$/i.test(value));
  if (isNone && isNullable(setting)) return { value: null };
  if (setting.kind === "targets" && typeof value === "string") {
    return readStrings(setting, value);
  }
  if (setting.kind === "list" && typeof value === "string") {
    return readNames(value);
  }
  const { kind } = setting;
  if ((kind === "ints" || kind === "tokens") && Number.isSafeInteger(value)) {
    return { value: [value] };
  }
  if (setting.kind === "floats" && typeof value === "number") {
    return { value: [value] };
  }
  if (setting.kind === "paths" && Array.isArray(value) && value.length === 1) {
    return readJson(setting, { value: value[0] });
  }
  if (fits(setting, value)) {
    // parsers give their objects different prototypes
    return { value: isObject(value) ? { ...value } : value };
  }
  return { problem: `is ${quoted(value)}, expected ${expectation(setting)}` };
}

function fits(setting: Setting, value: unknown): boolean {
  switch (setting.kind) {
    case "any":
      return true;
    case "str":
      return typeof value === "string";
    case "int":
      return setting.fractions
        ? Number.isFinite(value)
        : Number.isSafeInteger(value);
    case "float":
      return typeof value === "number";
    case "bool":
      return typeof value === "boolean" ||
        (setting.otherValues ?? []).some((other) => other === value);
    case "choice":
      return (setting.choices ?? []).some((choice) => choice === value) ||
        typeof value === "string" && setting.likeChoice?.test(value) === true;
    case "list":
    case "targets":
      return isListOf(value, (item) => typeof item === "string") ||
        isSame(value, []) && isSame(setting.default, []);
    case "paths":
      return typeof value === "string" ||
        isListOf(value, (item) => typeof item === "string");
    case "ints":
      return isListOf(value, Number.isSafeInteger);
    case "floats":
      return isListOf(value, (item) => typeof item === "number");
    case "numbers":
      return isObject(value) &&
        Object.values(value).every((each) =>
          setting.fractions ? Number.isFinite(each) : Number.isSafeInteger(each)
        );
    case "fields":
      return isObject(value) &&
        Object.values(value).every((each) =>
          typeof each === "string" || Number.isFinite(each)
        );
    case "tokens":
      return isListOf(value, Number.isSafeInteger) ||
        isObject(value) && Object.keys(value).length > 0 &&
          Object.values(value).every((each) =>
            isListOf(each, Number.isSafeInteger)
          );
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isListOf(value: unknown, fit: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length > 0 && value.every(fit);
}

function expectation(setting: Setting): string {
  const wanted = {
    str: "text in quotes",
    int: setting.fractions ? "a number" : "a whole number",
    float: "a number",
    bool: ["true", "false", ...setting.otherValues ?? []].join(" or "),
    choice: `one of ${
      (setting.choices ?? []).map((choice) => JSON.stringify(choice)).join(", ")
    }`,
    list: "a list of names",
    ints: "a list of whole numbers",
    floats: "a list of numbers",
    paths: "a path or a list of paths",
    targets: "a list of names or one regular expression",
    numbers: `an object from names to ${
      setting.fractions ? "numbers" : "whole numbers"
    }`,
    tokens: "a list of whole numbers, or an object from names to such lists",
    fields: "an object from names to numbers or text",
    any: "any value",
  }[setting.kind];
  return isNullable(setting) ? `${wanted}, or null` : wanted;
}

/**
 * Why a valid value cannot be used, or undefined where it can; `name` is the
 * user's spelling of the setting.
 */
export function refusal(
  setting: Setting,
  given: { readonly name: string; readonly value: unknown },
): string | undefined {
  const { accepts, reason, synonyms = {} } = setting;
  if (typeof given.value === "string" && given.value in synonyms) return;
  if (accepts === undefined || isSame(given.value, setting.default)) return;
  if (accepts !== "default") {
    if (accepts.some((value) => isSame(value, given.value))) return;
  }
  if (accepts === "default" || reason !== undefined) {
    const why = reason === undefined ? "" : `, ${reason}`;
    return `Cannot use ${given.name}: not supported yet${why}`;
  }
  const list = accepts.map((value) => JSON.stringify(value)).join(", ");
  return `Cannot use ${given.name} ${JSON.stringify(given.value)}: ` +
    `not supported yet, expected ${accepts.length > 1 ? "one of " : ""}${list}`;
}

function isSame(one: unknown, other: unknown): boolean {
  return Object.is(one, other) ||
    JSON.stringify(one) === JSON.stringify(other) && !Number.isNaN(one);
}
