/**
 * The shapes of rows for training: their keys, the problems they can have, and
 * their messages. A shape is an entry in a table. No files are read here.
 *
 * @module
 */

import { closestName } from "../arguments/other_names.ts";
import { quoted } from "../input_error.ts";
import type { Message } from "./prompt_format.ts";

/** A row as a JSON object. */
export type JsonRow = Readonly<Record<string, unknown>>;

/** One shape of rows. */
export interface RowShape {
  /** Its name in messages. */
  readonly name: string;
  /** What every row needs, as the end of a sentence. */
  readonly needs: string;
  /** Whether `row` is meant to have this shape. */
  recognises(row: JsonRow): boolean;
  /** All problems of `row`. */
  problems(row: JsonRow): string[];
  /** The messages of a row without problems. */
  messages(row: JsonRow): Message[];
}

/**
 * `{ instruction, input?, output }`. With an input, the instruction is the system
 * message and the input is the user's; without one, the instruction is the user's
 * message.
 */
const INSTRUCTION: RowShape = {
  name: "instruction",
  needs: 'the texts "instruction" and "output", and may have "input"',
  recognises: (row) => Object.hasOwn(row, "instruction"),
  problems: (row) => KEYS.flatMap((key) => problemWith(row, key) ?? []),
  messages(row): Message[] {
    const { instruction, input = "", output } = row as {
      readonly instruction: string;
      readonly input?: string;
      readonly output: string;
    };
    const answer = { role: "assistant", content: output, trained: true };
    return input === ""
      ? [{ role: "user", content: instruction, trained: false }, answer]
      : [
        { role: "system", content: instruction, trained: false },
        { role: "user", content: input, trained: false },
        answer,
      ];
  },
};

const SHAPES: readonly RowShape[] = [INSTRUCTION];

/** The shape of a file whose first row is `row`; instruction rows when none fits. */
export function shapeOf(row: unknown): RowShape {
  const found = isJsonRow(row)
    ? SHAPES.find((shape) => shape.recognises(row))
    : undefined;
  return found ?? INSTRUCTION;
}

/** Whether `value` is a JSON object. */
export function isJsonRow(value: unknown): value is JsonRow {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Describes a JSON value. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  return typeof value === "string"
    ? "a text"
    : `the ${typeof value} ${quoted(value)}`;
}

const KEYS = ["instruction", "input", "output"] as const;

type Key = typeof KEYS[number];

function problemWith(row: JsonRow, key: Key): string | null {
  if (!Object.hasOwn(row, key)) return missing(row, key);
  const value = row[key];
  if (typeof value !== "string") {
    return `"${key}" is ${kindOf(value)}, it must be a text`;
  }
  return value.isWellFormed()
    ? null
    : `"${key}" holds half of a surrogate pair, it must be Unicode text`;
}

/** An input may be missing, but not misspelled. */
function missing(row: JsonRow, key: Key): string | null {
  const typo = Object.keys(row).find((name) =>
    !(KEYS as readonly string[]).includes(name) &&
    closestName(name.trim().toLowerCase(), KEYS) === key
  );
  if (typo !== undefined) {
    return `key "${key}" is missing; there is ${
      quoted(typo)
    }, did you mean "${key}"?`;
  }
  return key === "input" ? null : `key "${key}" is missing`;
}
