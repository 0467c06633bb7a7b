/**
 * Reading training rows from JSONL, a JSON array or CSV, packed with gzip or not.
 * Everything wrong in a file is reported at once, by line.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { csvRows } from "./csv_rows.ts";
import { jsonRows } from "./json_rows.ts";
import type { Message, TrainingRow } from "./prompt_format.ts";
import {
  noRowProblem,
  otherShapeProblem,
  recognisedShape,
  type RowShape,
  shapeNamed,
} from "./row_shapes.ts";
import {
  type Located,
  NotUtf8,
  notUtf8Lines,
  Problems,
  textPieces,
} from "./row_text.ts";
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
  /** More rows are refused before they fill the memory. Default 5 million. */
  readonly mostRows?: number;
}

const MOST_ROWS = 5_000_000;
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
  { shape = "auto", mostRows = MOST_ROWS }: ReadOptions = {},
): Example[] {
  const problems = new Problems();
  const reading: Reading = {
    examples: [],
    shape: shape === "auto" ? null : shapeNamed(shape),
  };
  const isCsv = /\.csv(?:\.gz)?$/i.test(path);
  const rows = isCsv
    ? csvRows(textPieces(path), problems)
    : jsonRows(() => textPieces(path), problems);
  try {
    readRows(reading, { path, rows, problems, mostRows });
  } catch (error) {
    if (!(error instanceof NotUtf8)) throw error;
    throw new InputError(
      sentence(path, notUtf8Lines(path), reading.shape),
      { cause: error },
    );
  }
  if (problems.count > 0) {
    throw new InputError(sentence(path, problems, reading.shape));
  }
  if (reading.examples.length > 0) return reading.examples;
  throw new InputError(
    `Cannot read ${quoted(path)}: it holds no rows, ${
      isCsv
        ? "a line of column names and a line for each row are"
        : "one JSON object per line is"
    } needed`,
  );
}

/** What is known of a file so far. */
interface Reading {
  examples: Example[];
  shape: RowShape | null;
}

function readRows(
  reading: Reading,
  { path, rows, problems, mostRows }: {
    readonly path: string;
    readonly rows: Iterable<Located>;
    readonly problems: Problems;
    readonly mostRows: number;
  },
): void {
  const shared = new Map<string, Message>();
  for (const { line, value } of rows) {
    const shape = reading.shape ??= shapeOf(value);
    for (const what of problemsOf(value, shape)) problems.add({ line, what });
    // what comes then is read only to find all that is wrong
    if (problems.count > 0) reading.examples = [];
    if (problems.count > 0 || !isJsonRow(value)) continue;
    if (reading.examples.length === mostRows) {
      throw new InputError(
        `Cannot read ${
          quoted(path)
        }: it has more than ${mostRows} rows, split it`,
      );
    }
    reading.examples.push({
      ...withShared(shape.read(value), shared),
      line,
      place: `${path}:${line}`,
      shape: shape.name,
    });
  }
}

const MOST_SHARED = 1000;

/** `row` with a system message that other rows have too only once in memory. */
function withShared(
  row: TrainingRow,
  shared: Map<string, Message>,
): TrainingRow {
  const [first, ...others] = row.messages;
  if (first?.role !== "system" || Object.keys(first).length > 3) return row;
  const known = shared.get(first.content);
  if (known !== undefined) return { ...row, messages: [known, ...others] };
  if (shared.size < MOST_SHARED) shared.set(first.content, first);
  return row;
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
  problems: Problems,
  shape: RowShape | null,
): string {
  const { needs } = shape ?? shapeNamed("instruction");
  const { count, areEnough } = problems;
  const shown = problems.first(MOST_SHOWN).map(({ line, column, what }) =>
    `${path}:${line}:${column === undefined ? "" : `${column}:`} ${what}`
  );
  const rest = count - shown.length;
  return [
    `Cannot read ${quoted(path)}: ${
      count === 1 ? "1 problem" : `${count} problems`
    }${areEnough ? " and perhaps more" : ""}, every row needs ${needs}`,
    ...shown,
    ...(rest > 0 ? [`and ${rest} more`] : []),
  ].join("\n");
}
