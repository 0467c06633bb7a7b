/**
 * Rows of JSON: one value a line, or one array as the original data set has it.
 *
 * @module
 */

import type { Located, Problem } from "./row_text.ts";

/**
 * The values of a JSON array, or else of the lines of `text`, blank ones left out.
 * What is not JSON is added to `problems`.
 */
export function jsonRows(text: string, problems: Problem[]): Located[] {
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

/** One object spread over lines gets one problem instead of one a line. */
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

/** Lines on which the elements of a valid JSON array begin. */
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

/** Index of the quote that ends the JSON string that begins at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

/** V8 tells the place in some messages; `line` is given for a single line. */
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
