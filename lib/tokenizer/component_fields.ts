/**
 * The valid values of a component's fields in a tokenizer.json. The library ends
 * the whole process on some values, or never returns. So each field is read here
 * first, and only what has been read is passed on.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import { readCharacterMap } from "./character_map.ts";
import { patternFacts } from "./pattern_cost.ts";
import { isJsonObject, type JsonObject } from "./tokenizer_files.ts";

/** The most components in a tokenizer.json, and the most Sequences inside each other. */
const MOST_COMPONENTS = 500;
const DEEPEST_SEQUENCE = 20;
const LONGEST_TEXT = 10_000;
/** A u32, as the library's ids are. */
const MOST_ID = 2 ** 32 - 1;

/** What is found in reading a tokenizer.json. */
export class Findings {
  /** All problems, each with its place. */
  readonly problems: string[] = [];
  /**
   * The longest text, in characters, that all patterns read so far can be
   * matched against.
   */
  longestText = Infinity;
  /** By how much a text can grow. */
  growth = 1;
  /** Number of components read. */
  components = 0;

  /** Adds the problem that the value at `at` is wrong, with what would be right. */
  wrong(at: string, value: unknown, right: string): undefined {
    const state = value === undefined ? "is missing" : `is ${quoted(value)}`;
    this.problems.push(`${at} ${state}, ${right}`);
    return undefined;
  }
}

/** Reads the value of a field at the place `at`; undefined leaves the field out. */
export type Field = (
  value: unknown,
  at: string,
  findings: Findings,
) => unknown;

/** A kind of component: its fields, and how it changes the length of a text. */
export interface ComponentType {
  readonly fields: Readonly<Record<string, Field>>;
  /** By how much a text can grow. Default 1. */
  readonly growth?: (component: JsonObject) => number;
  /** The problem of the fields' combination, if there is one. */
  readonly together?: (component: JsonObject) => string | undefined;
}

/** The kinds of component that a place may contain, by the name in `type`. */
export type ComponentTypes = Readonly<Record<string, ComponentType>>;

/** true or false. */
export function flag(
  value: unknown,
  at: string,
  findings: Findings,
): unknown {
  return typeof value === "boolean"
    ? value
    : findings.wrong(at, value, "true or false is needed");
}

/** A text of limited length. */
export function text(
  value: unknown,
  at: string,
  findings: Findings,
): unknown {
  return typeof value === "string" && value.length <= LONGEST_TEXT
    ? value
    : findings.wrong(
      at,
      value,
      `a string of at most ${LONGEST_TEXT} characters is needed`,
    );
}

/** A text of at least one character. */
export function someText(
  value: unknown,
  at: string,
  findings: Findings,
): unknown {
  return value === ""
    ? findings.wrong(at, value, "at least one character is needed")
    : text(value, at, findings);
}

/** One character. */
export function character(
  value: unknown,
  at: string,
  findings: Findings,
): unknown {
  return typeof value === "string" && [...value].length === 1
    ? value
    : findings.wrong(at, value, "one character is needed");
}

/** An id. */
export function id(
  value: unknown,
  at: string,
  findings: Findings,
): unknown {
  return whole(value, MOST_ID)
    ? value
    : findings.wrong(at, value, `a whole number of 0 to ${MOST_ID} is needed`);
}

/** One of `names`. */
export function choice(...names: readonly string[]): Field {
  return (value, at, findings) =>
    names.some((name) => name === value)
      ? value
      : findings.wrong(at, value, `one of ${names.join(", ")} is needed`);
}

/** A whole number, at least `least`. */
export function count(least: number, most: number): Field {
  return (value, at, findings) =>
    whole(value, most) && value >= least ? value : findings.wrong(
      at,
      value,
      least === most
        ? `${least} is needed`
        : `a whole number of ${least} to ${most} is needed`,
    );
}

/** The value read by `field`, or nothing when the key is missing. */
export function optional(field: Field): Field {
  return (value, at, findings) =>
    value === undefined ? undefined : field(value, at, findings);
}

/** The value read by `field`, or null, or nothing when the key is missing. */
export function nullable(field: Field): Field {
  return (value, at, findings) =>
    value === undefined || value === null ? value : field(value, at, findings);
}

/** A list of values read by `field`. */
export function listOf(field: Field): Field {
  return (value, at, findings) =>
    Array.isArray(value)
      ? value.map((item, i) => field(item, `${at}[${i}]`, findings))
      : findings.wrong(at, value, "a list is needed");
}

/** `{"String": …}` or `{"Regex": …}`. */
export function pattern(
  value: unknown,
  at: string,
  findings: Findings,
): unknown {
  const [entry, ...more] = isJsonObject(value) ? Object.entries(value) : [];
  const [kind, content] = entry ?? [];
  const isKnown = more.length === 0 && typeof content === "string" &&
    (kind === "String" || kind === "Regex");
  if (!isKnown) {
    return findings.wrong(
      at,
      value,
      '{"String": …} or {"Regex": …} is needed',
    );
  }
  if (kind === "String") {
    text(content, `${at}.String`, findings);
    return { String: content };
  }
  try {
    findings.longestText = Math.min(
      findings.longestText,
      patternFacts(content).longestText,
    );
  } catch (error) {
    refuse(error, `${at}.Regex ${quoted(content)} cannot be used`, findings);
  }
  return { Regex: content };
}

/** SentencePiece's character map. */
export function characterMap(
  value: unknown,
  at: string,
  findings: Findings,
): unknown {
  if (typeof value !== "string") {
    return findings.wrong(at, value, "a character map in base64 is needed");
  }
  try {
    const { base64, growth } = readCharacterMap(value);
    findings.growth *= growth;
    return base64;
  } catch (error) {
    return refuse(error, `${at} cannot be used`, findings);
  }
}

/** A component of one of `types`, read with the fields of its type. */
export function component(types: () => ComponentTypes): Field {
  return (value, at, findings) => {
    if (++findings.components > MOST_COMPONENTS) {
      if (findings.components > MOST_COMPONENTS + 1) return undefined;
      const right = `at most ${MOST_COMPONENTS} components are read`;
      findings.problems.push(`${at} is one too many, ${right}`);
      return undefined;
    }
    if (at.split("[").length > DEEPEST_SEQUENCE) {
      const right = `at most ${DEEPEST_SEQUENCE} levels are read`;
      findings.problems.push(`${at} is nested too deeply, ${right}`);
      return undefined;
    }
    if (!isJsonObject(value)) {
      return findings.wrong(at, value, "an object or null is needed");
    }
    const type = value["type"];
    const known = types();
    if (typeof type !== "string" || !Object.hasOwn(known, type)) {
      const right = `one of ${Object.keys(known).join(", ")} is needed`;
      return findings.wrong(`${at}.type`, type, right);
    }
    return readFields(value, { at, type: known[type]! }, findings);
  };
}

function readFields(
  value: JsonObject,
  { at, type }: { readonly at: string; readonly type: ComponentType },
  findings: Findings,
): JsonObject {
  const read: Record<string, unknown> = { type: value["type"] };
  const before = findings.problems.length;
  for (const [name, field] of Object.entries(type.fields)) {
    const own = Object.hasOwn(value, name) ? value[name] : undefined;
    const content = field(own, `${at}.${name}`, findings);
    if (content !== undefined) read[name] = content;
  }
  if (findings.problems.length > before) return read;
  const problem = type.together?.(read);
  if (problem !== undefined) findings.problems.push(`${at} ${problem}`);
  findings.growth *= type.growth?.(read) ?? 1;
  return read;
}

function refuse(error: unknown, start: string, findings: Findings): undefined {
  if (!(error instanceof SyntaxError)) throw error;
  findings.problems.push(`${start}: ${error.message}`);
  return undefined;
}

function whole(value: unknown, most: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) &&
    value >= 0 && value <= most;
}
