/**
 * Reading training rows from JSONL, a JSON array or CSV, packed with gzip or not.
 * Everything wrong in a file is reported at once, by line.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { csvRows } from "./csv_rows.ts";
import { jsonRows } from "./json_rows.ts";
import type { TrainingRow } from "./prompt_format.ts";
import {
  noRowProblem,
  otherShapeProblem,
  recognisedShape,
  type RowShape,
  shapeNamed,
} from "./row_shapes.ts";
import { type Problem, readText } from "./row_text.ts";
import { isJsonRow } from "./row_values.ts";

/** One row of a file: what is said in it, and where it stands. */
export interface Example extends TrainingRow {
  /** Line in the file, from 1. */
  readonly line: number;
  /** Name of the shape that the file's rows have. */
  readonly shape: string;
}

/** Options of {@linkcode readExamples}. */
export interface ReadOptions {
  /** Name of the rows' shape. Default "auto": the keys of the first row tell. */
  readonly shape?: string;
}

const MOST_SHOWN = 20;

/**
 * Reads all rows of a JSONL file, a JSON array, or a CSV file (`.csv`), each also
 * packed (`.gz`): UTF-8, with or without a byte order mark, blank lines left out.
 *
 * @example
 * ```ts
 * import { readExamples } from "@lorikeet/lorikeet/data";
 * import { strict as assert } from "node:assert";
 *
 * const [first] = readExamples("tests/fixtures/data/rows.jsonl");
 * assert.equal(first?.shape, "instruction");
 * assert.equal(first?.messages[1]?.content, "你是谁？");
 * ```
 *
 * @throws {InputError} naming file and line of everything that is wrong.
 */
export function readExamples(
  path: string,
  { shape: asked = "auto" }: ReadOptions = {},
): Example[] {
  const problems: Problem[] = [];
  const text = readText(path, problems);
  const isCsv = /\.csv(?:\.gz)?$/i.test(path);
  const read = isCsv ? csvRows : jsonRows;
  const values = problems.length > 0 ? [] : read(text, problems);
  const shape = asked === "auto"
    ? shapeOf(values[0]?.value)
    : shapeNamed(asked);
  const examples: Example[] = [];
  for (const { line, value } of values) {
    const found = problemsOf(value, shape);
    problems.push(...found.map((what) => ({ line, what })));
    if (found.length > 0 || !isJsonRow(value)) continue;
    examples.push({
      ...shape.read(value),
      line,
      place: `${path}:${line}`,
      shape: shape.name,
    });
  }
  if (problems.length > 0) {
    throw new InputError(sentence(path, problems, shape));
  }
  if (examples.length > 0) return examples;
  throw new InputError(
    `Cannot read ${quoted(path)}: it holds no rows, ${
      isCsv
        ? "a line of column names and a line for each row are"
        : "one JSON object per line is"
    } needed`,
  );
}

/** The shape of a file whose first row is `row`; instruction rows where none fits. */
function shapeOf(row: unknown): RowShape {
  const found = isJsonRow(row) ? recognisedShape(row) : undefined;
  return found ?? shapeNamed("instruction");
}

function problemsOf(value: unknown, shape: RowShape): string[] {
  if (!isJsonRow(value)) return [noRowProblem(value)];
  const other = otherShapeProblem(value, shape);
  return other === null ? shape.problems(value) : [other];
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
