/**
 * peft's `LoraConfig`: checked, read from and written to `adapter_config.json`.
 * Fields that lorikeet does not implement are refused by name, not ignored.
 *
 * @module
 */

import {
  LORA_SETTINGS,
  type LoraConfig,
  type LoraSetting,
  type LoraTable,
} from "../arguments/lora_settings.ts";
import { PyFloat } from "../formats/python_json.ts";
import { InputError, quoted } from "../input_error.ts";
import { registeredKinds } from "./adapter_kinds.ts";
import { NamePattern, wrongPatterns } from "./name_pattern.ts";

export type { LoraConfig } from "../arguments/lora_settings.ts";

/**
 * The table of peft's fields, including those that registered kinds of adapter
 * implement.
 */
function fieldTable(): LoraTable {
  const added = registeredKinds().toReversed().map((kind) => kind.fields ?? {});
  return Object.assign({}, LORA_SETTINGS, ...added);
}

/**
 * A complete configuration: the given fields, and peft's defaults for the others.
 *
 * @throws {InputError} naming every field that is invalid or not implemented.
 *
 * @example
 * ```ts
 * import { loraConfig } from "@lorikeet/lorikeet/peft";
 *
 * const config = loraConfig({ r: 4, target_modules: ["q_proj"] });
 * if (config.lora_alpha !== 8) throw new Error("unexpected default");
 * ```
 */
export function loraConfig(given: Partial<LoraConfig> = {}): LoraConfig {
  const { config, problems } = readFields(given);
  if (problems.length > 0) {
    throw new InputError(`Cannot make LoRA: ${problems.join("; ")}`);
  }
  return config;
}

/** The object that `adapter_config.json` holds. */
export function loraConfigToJson(config: LoraConfig): Record<string, unknown> {
  const given = config as Readonly<Record<string, unknown>>;
  const fields = Object.entries(fieldTable()).map(([name, row]) => {
    const usual = row.written === undefined ? row.default : row.written;
    const value = given[name] === undefined ? usual : given[name];
    return [name, row.kind === "float" ? new PyFloat(value as number) : value];
  });
  return Object.fromEntries(fields);
}

/**
 * The configuration in an `adapter_config.json`. Fields of later peft versions
 * are ignored where their value changes nothing.
 *
 * @throws {InputError} naming every field that has a wrong type or value, or that
 *   asks for something lorikeet does not implement.
 */
export function loraConfigFromJson(
  json: Readonly<Record<string, unknown>>,
  file: string,
): LoraConfig {
  const peftType = json.peft_type === undefined ? null : json.peft_type;
  const { config, problems } = readFields({ ...json, peft_type: peftType });
  if (problems.length === 0) return config;
  throw new InputError(
    `Cannot use adapter ${quoted(file)}: ${problems.join("; ")}`,
  );
}

interface FieldsReading {
  readonly config: LoraConfig;
  readonly problems: readonly string[];
}

function readFields(given: Readonly<Record<string, unknown>>): FieldsReading {
  const table = fieldTable();
  const config: Record<string, unknown> = {};
  for (const [name, row] of Object.entries(table)) {
    if (isComputed(row)) config[name] = row.default;
  }
  const unsupported: string[] = [];
  const problems: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const row = Object.hasOwn(table, name) ? table[name] : undefined;
    if (row === undefined || (!isComputed(row) && !row.isFree)) {
      if (!asksNothing(name, { row, value })) {
        unsupported.push(`${name} ${quoted(value)}`);
      }
      continue;
    }
    if (value === null && row.nullIsDefault) continue;
    if (row.kind === "choice" && isText(value) && !fits(row, value)) {
      unsupported.push(`${name} ${quoted(value)}`);
      continue;
    }
    const problem = fieldProblem(row, value);
    if (problem !== null) problems.push(`${quoted(name)} ${problem}`);
    else if (isComputed(row)) config[name] = value;
  }
  if (unsupported.length > 0) {
    problems.unshift(`not supported yet: ${unsupported.join(", ")}`);
  }
  return { config: config as LoraConfig, problems };
}

function isComputed(row: LoraSetting): boolean {
  return row.accepts === undefined && row.isFree !== true;
}

/** Whether a field that is not implemented has a value that changes nothing. */
function asksNothing(
  name: string,
  field: { row: LoraSetting | undefined; value: unknown },
): boolean {
  const { row, value } = field;
  if (row !== undefined && same(value, row.default)) return true;
  if (name === "peft_type") return false;
  return value === null || value === false ||
    (typeof value === "object" && Object.keys(value).length === 0);
}

function same(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

/** What is wrong with `value`, or `null`. */
function fieldProblem(row: LoraSetting, value: unknown): string | null {
  if (value === null && row.default === null) return null;
  const expected = expectation(row);
  if (!fits(row, value)) {
    return `is ${quoted(value)}, expected ${expected}`;
  }
  // Whole numbers are bounded as flags are, even where files may hold fractions.
  if (row.bounds !== undefined && !row.fractions) {
    const { legal, expected } = row.bounds;
    const numbers = typeof value === "number"
      ? [value]
      : Object.values(value as Record<string, number>);
    const wrong = numbers.find((each) => !legal(each));
    if (wrong !== undefined) {
      return `is ${quoted(value)}, ${expected(wrong)}`;
    }
  }
  const wrong = wrongPatterns(expressionsIn(row, value));
  return wrong === null ? null : `has ${wrong}`;
}

function fits(row: LoraSetting, value: unknown): boolean {
  if (row.inFiles === "object") return isObject(value);
  const isNumber = row.fractions ? isFinite32 : isInteger;
  switch (row.kind) {
    case "any":
      return true;
    case "str":
      return isText(value);
    case "int":
      return isNumber(value);
    case "float":
      return isFinite32(value);
    case "bool":
      return typeof value === "boolean";
    case "choice":
      return [...row.choices!, ...row.storedChoices ?? []]
        .some((choice) => choice === value) ||
        isText(value) && row.likeChoice?.test(value as string) === true;
    case "targets":
    case "list":
      return isText(value) || (Array.isArray(value) && value.every(isText));
    case "ints":
      return isInteger(value) ||
        (Array.isArray(value) && value.every(isInteger));
    case "tokens":
      return isInteger(value) || isIntegers(value) ||
        (isObject(value) && Object.values(value).every(isIntegers));
    case "numbers":
      return isObject(value) && Object.values(value).every(isNumber);
  }
}

const isText = (value: unknown): boolean => typeof value === "string";
const isInteger = (value: unknown): boolean => Number.isSafeInteger(value);
const isIntegers = (value: unknown): boolean =>
  Array.isArray(value) && value.every(isInteger);
/** Scales are multiplied as float32 numbers. */
const isFinite32 = (value: unknown): boolean =>
  typeof value === "number" && Number.isFinite(Math.fround(value));

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function expectation(row: LoraSetting): string {
  const number = row.fractions ? "number" : "whole number";
  const wanted = row.inFiles === "object" ? "an object" : {
    any: "any value",
    str: "text",
    int: `a ${number}`,
    float: "a number",
    bool: "true or false",
    choice: `one of ${
      (row.choices ?? []).map((each) => quoted(each)).join(", ")
    }`,
    list: "a name or a list of names",
    ints: "a whole number or a list of whole numbers",
    targets: "a list of names or one regular expression",
    tokens:
      "a whole number, a list of whole numbers, or an object from names to such lists",
    numbers: `an object from names to ${number}s`,
  }[row.kind];
  return row.default === null ? `${wanted}, or null` : wanted;
}

/** The regular expressions that a field holds. */
function expressionsIn(row: LoraSetting, value: unknown): readonly string[] {
  if (row.kind === "numbers") return Object.keys(value as object);
  if (row.kind === "targets") return isText(value) ? [value as string] : [];
  return row.holdsPatterns ? [value as string | string[]].flat() : [];
}

/** The rank of the adapter at `path`: the first pattern that matches decides. */
export function rankAt(config: LoraConfig, path: string): number {
  return firstMatch(config, "rank_pattern", path) ?? config.r;
}

/** The factor of the product `B A` at `path`. */
export function scalingAt(config: LoraConfig, path: string): number {
  const alpha = firstMatch(config, "alpha_pattern", path) ?? config.lora_alpha;
  const rank = rankAt(config, path);
  return alpha / (config.use_rslora ? Math.sqrt(rank) : rank);
}

function firstMatch(
  config: LoraConfig,
  field: "rank_pattern" | "alpha_pattern",
  path: string,
): number | undefined {
  return compiled(config, field)
    .find(({ pattern }) => pattern.matchesTail(path))?.value;
}

type CompiledPatterns = readonly {
  readonly pattern: NamePattern;
  readonly value: number;
}[];

const COMPILED = new WeakMap<object, CompiledPatterns>();

function compiled(
  config: LoraConfig,
  field: "rank_pattern" | "alpha_pattern",
): CompiledPatterns {
  const known = COMPILED.get(config[field]);
  if (known !== undefined) return known;
  const made = Object.entries(config[field]).map(([source, value]) => ({
    pattern: new NamePattern(field, source),
    value,
  }));
  COMPILED.set(config[field], made);
  return made;
}
