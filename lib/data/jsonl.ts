/**
 * Reading training rows from JSONL, or from a JSON array as the original data
 * set has it. Everything wrong in a file is reported at once, by line.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import { checkRow, type Row } from "./rows.ts";

export type { Row } from "./rows.ts";

/** Something wrong at a line (from 1) and, where known, a column (from 1). */
interface Complaint {
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

/**
 * Reads all rows of a JSONL file or of a JSON array: UTF-8, with or without a
 * byte order mark, blank lines left out.
 *
 * @example
 * ```ts
 * import { readRows } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const rows = readRows("tests/fixtures/data/rows.jsonl");
 * assert.equal(rows[0]?.input, "你是谁？");
 * ```
 *
 * @throws {InputError} naming file and line of everything that is wrong.
 */
export function readRows(path: string): Row[] {
  const complaints: Complaint[] = [];
  const text = decode(readBytes(path), complaints);
  const values = complaints.length > 0 ? [] : parse(text, complaints);
  const rows: Row[] = [];
  for (const { line, value } of values) {
    const row = checkRow(value, line);
    if (!Array.isArray(row)) rows.push(row);
    else complaints.push(...row.map((what) => ({ line, what })));
  }
  if (complaints.length > 0) throw new InputError(sentence(path, complaints));
  if (rows.length > 0) return rows;
  throw new InputError(
    `Cannot read "${path}": it holds no rows, one JSON object per line is needed`,
  );
}

function readBytes(path: string): Uint8Array {
  try {
    if (Deno.statSync(path).isDirectory) {
      throw new InputError(
        `Cannot read "${path}": it is a folder, the path of a .jsonl file is needed`,
      );
    }
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new InputError(
        `Cannot read "${path}": it does not exist, the path of a .jsonl file is needed`,
        { cause: error },
      );
    }
    throw error;
  }
}

function decode(bytes: Uint8Array, complaints: Complaint[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    for (const [index, line] of splitLines(bytes).entries()) {
      if (isUtf8(line)) continue;
      complaints.push({ line: index + 1, what: "the line is not UTF-8 text" });
    }
    return "";
  }
}

function splitLines(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start <= bytes.length;) {
    const found = bytes.indexOf(0x0a, start);
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

function parse(text: string, complaints: Complaint[]): Located[] {
  const lines = text.split("\n");
  if (isJsonArray(text, lines)) return parseArray(text, complaints);
  const values: Located[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    try {
      values.push({ line: index + 1, value: JSON.parse(line) });
    } catch (error) {
      complaints.push(syntaxComplaint(error, index + 1, line));
    }
  }
  return complaints.length > 0 ? oneObject(text, complaints, values) : values;
}

/** An array, unless the first line is a whole one and others follow. */
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

/** One object spread over lines gets one complaint instead of one a line. */
function oneObject(
  text: string,
  complaints: Complaint[],
  values: Located[],
): Located[] {
  if (parsed(text) === undefined) return values;
  complaints.length = 0;
  complaints.push({
    line: 1,
    what:
      "the file is one JSON object over several lines, write each row on one line or all rows as a JSON array",
  });
  return [];
}

function parseArray(text: string, complaints: Complaint[]): Located[] {
  try {
    const values: unknown[] = JSON.parse(text);
    const lines = elementLines(text);
    return values.map((value, index) => ({ line: lines[index] ?? 1, value }));
  } catch (error) {
    complaints.push(syntaxComplaint(error, null, text));
    return [];
  }
}

/** Lines on which the elements of a valid JSON array begin. */
function elementLines(text: string): number[] {
  const starts: number[] = [];
  const token = /"(?:[^"\\]|\\.)*"|[[\]{},\n]|[^\s[\]{},"]+/g;
  let depth = 0;
  let line = 1;
  let awaited = false;
  for (const [part] of text.matchAll(token)) {
    if (part === "\n") {
      line++;
      continue;
    }
    if (awaited && part !== "]") starts.push(line);
    const opens = part === "[" || part === "{";
    if (opens) depth++;
    if (part === "]" || part === "}") depth--;
    awaited = depth === 1 && (part === "," || (opens && starts.length === 0));
  }
  return starts;
}

/** V8 tells the place in some messages; `line` is given for a single line. */
function syntaxComplaint(
  error: unknown,
  line: number | null,
  text: string,
): Complaint {
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

function sentence(path: string, complaints: readonly Complaint[]): string {
  const ordered = [...complaints].sort((a, b) => a.line - b.line);
  const shown = ordered.slice(0, MOST_SHOWN).map(({ line, column, what }) =>
    `${path}:${line}:${column === undefined ? "" : `${column}:`} ${what}`
  );
  const rest = ordered.length - shown.length;
  const faults = ordered.length === 1 ? "1 fault" : `${ordered.length} faults`;
  return [
    `Cannot read "${path}": ${faults}, every row needs the texts "instruction", "input" and "output"`,
    ...shown,
    ...(rest > 0 ? [`and ${rest} more`] : []),
  ].join("\n");
}
