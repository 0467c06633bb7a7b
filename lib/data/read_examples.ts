/**
 * Reads rows for training from JSONL, or from a JSON array as in the original
 * dataset. All problems of a file are reported at once, by line.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { Message } from "./prompt_format.ts";
import { isJsonRow, kindOf, type RowShape, shapeOf } from "./row_shapes.ts";

/** A row of a file: its messages, and the line on which it begins. */
export interface Example {
  /** The messages in their order. */
  readonly messages: readonly Message[];
  /** Line in the file, from 1. */
  readonly line: number;
}

/** A problem at a line (from 1) and, if known, a column (from 1). */
interface Problem {
  readonly line: number;
  readonly column?: number;
  readonly what: string;
}

/** A JSON value and the line that it begins on. */
interface Located {
  readonly line: number;
  readonly value: unknown;
}

const MOST_SHOWN = 20;
const LINE_FEED = 0x0a;

/**
 * Reads all rows of a JSONL file or of a JSON array: UTF-8, with or without a
 * byte order mark; blank lines are skipped.
 *
 * @example
 * ```ts
 * import { readExamples } from "@lorikeet/lorikeet/data";
 * import { strict as assert } from "node:assert";
 *
 * const [first] = readExamples("tests/fixtures/data/rows.jsonl");
 * assert.equal(first?.messages[1]?.content, "你是谁？");
 * ```
 *
 * @throws {InputError} naming file and line of every problem.
 */
export function readExamples(path: string): Example[] {
  const problems: Problem[] = [];
  const text = decode(path, problems);
  const values = problems.length > 0 ? [] : parse(text, problems);
  const shape = shapeOf(values[0]?.value);
  const examples: Example[] = [];
  for (const { line, value } of values) {
    const found = problemsOf(value, shape);
    problems.push(...found.map((what) => ({ line, what })));
    if (found.length > 0 || !isJsonRow(value)) continue;
    examples.push({ messages: shape.messages(value), line });
  }
  if (problems.length > 0) {
    throw new InputError(sentence(path, problems, shape));
  }
  if (examples.length > 0) return examples;
  throw new InputError(
    `Cannot read ${
      quoted(path)
    }: it holds no rows, one JSON object per line is needed`,
  );
}

function problemsOf(value: unknown, shape: RowShape): string[] {
  return isJsonRow(value)
    ? shape.problems(value)
    : [`the row is ${kindOf(value)}, it must be a JSON object`];
}

function readBytes(path: string): Uint8Array {
  const start = `Cannot read ${quoted(path)}:`;
  try {
    if (Deno.statSync(path).isDirectory) {
      throw new InputError(
        `${start} it is a folder, the path of a .jsonl file is needed`,
      );
    }
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof Deno.errors.NotCapable) throw error;
    const reason = error instanceof Deno.errors.NotFound
      ? "it does not exist, the path of a .jsonl file is needed"
      : (error as Error).message.replace(/ \(os error.*$/s, "");
    throw new InputError(`${start} ${reason}`, { cause: error });
  }
}

/** The text of the file, or the lines that are not UTF-8. */
function decode(path: string, problems: Problem[]): string {
  const bytes = readBytes(path);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    return decoder.decode(bytes);
  } catch (error) {
    const what = "the line is not UTF-8 text";
    for (const [index, line] of splitLines(bytes).entries()) {
      if (!isUtf8(line)) problems.push({ line: index + 1, what });
    }
    if (problems.length > 0) return "";
    throw new InputError(
      `Cannot read ${
        quoted(path)
      }: ${bytes.length} bytes are more text than fits in memory as one, split the file`,
      { cause: error },
    );
  }
}

function splitLines(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start <= bytes.length;) {
    const found = bytes.indexOf(LINE_FEED, start);
    const end = found < 0 ? bytes.length : found;
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function parse(text: string, problems: Problem[]): Located[] {
  const lines = text.split(/\r\n?|\n/);
  if (isJsonArray(text, lines)) return parseArray(text, problems);
  const values: Located[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    try {
      values.push({ line: index + 1, value: JSON.parse(line) });
    } catch (error) {
      problems.push(syntaxProblem(error, index + 1, line));
    }
  }
  return problems.length > 0 ? oneObject(text, problems, values) : values;
}

/**
 * Whether the file is an array: not when its first line is a complete array and
 * other lines follow.
 */
function isJsonArray(text: string, lines: readonly string[]): boolean {
  if (!text.trimStart().startsWith("[")) return false;
  const filled = lines.filter((line) => line.trim() !== "");
  return filled.length === 1 || parsed(filled[0] ?? "") === undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** An object written over several lines gets one problem instead of one per line. */
function oneObject(
  text: string,
  problems: Problem[],
  values: Located[],
): Located[] {
  if (parsed(text) === undefined) return values;
  problems.length = 0;
  problems.push({
    line: 1,
    what:
      "the file is one JSON object over several lines, write each row on one line or all rows as a JSON array",
  });
  return [];
}

function parseArray(text: string, problems: Problem[]): Located[] {
  try {
    const values: unknown[] = JSON.parse(text);
    const lines = elementLines(text);
    return values.map((value, index) => ({ line: lines[index] ?? 1, value }));
  } catch (error) {
    problems.push(syntaxProblem(error, null, text));
    return [];
  }
}

/** The lines on which the elements of a valid JSON array begin. */
function elementLines(text: string): number[] {
  const starts: number[] = [];
  let depth = 0;
  let line = 1;
  let awaited = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === "\n") line++;
    if (character <= " ") continue;
    if (awaited && character !== "]") starts.push(line);
    if (character === '"') at = endOfString(text, at);
    const opens = character === "[" || character === "{";
    if (opens) depth++;
    if (character === "]" || character === "}") depth--;
    awaited = depth === 1 &&
      (character === "," || (opens && starts.length === 0));
  }
  return starts;
}

/** The index of the quote that ends the JSON string beginning at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

/** V8 names the position in some messages; `line` is given for a text of one line. */
function syntaxProblem(
  error: unknown,
  line: number | null,
  text: string,
): Problem {
  const message = error instanceof Error ? error.message : String(error);
  const place = /\(line (\d+) column (\d+)\)/.exec(message);
  const reason = message
    .replace(/(?: in JSON)? at position \d+.*$/s, "")
    .replace(/, (?:\.\.\.)?".*is not valid JSON$/s, "");
  const what = `the line is not JSON, ${lowerFirst(reason)}`;
  if (place) {
    return { line: line ?? Number(place[1]), column: Number(place[2]), what };
  }
  const end = text.trimEnd();
  if (!message.includes("end of JSON")) return { line: line ?? 1, what };
  return {
    line: line ?? end.split("\n").length,
    column: end.length - end.lastIndexOf("\n"),
    what,
  };
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

function sentence(
  path: string,
  problems: readonly Problem[],
  shape: RowShape,
): string {
  const ordered = [...problems].sort((a, b) => a.line - b.line);
  const shown = ordered.slice(0, MOST_SHOWN).map(({ line, column, what }) =>
    `${path}:${line}:${column === undefined ? "" : `${column}:`} ${what}`
  );
  const rest = ordered.length - shown.length;
  const count = ordered.length === 1
    ? "1 problem"
    : `${ordered.length} problems`;
  return [
    `Cannot read ${quoted(path)}: ${count}, every row needs ${shape.needs}`,
    ...shown,
    ...(rest > 0 ? [`and ${rest} more`] : []),
  ].join("\n");
}
