/**
 * Rows of a CSV file whose first line names the columns, as RFC 4180 has it.
 *
 * @module
 */

import { CsvError, parse } from "npm:csv-parse@6.1.0/sync";
import type { Located, Problem, Problems } from "./row_text.ts";

/** A cell may not be longer, or an open quote would take in the whole file. */
const LONGEST_RECORD = 50_000_000;

/** Records are given to the library about so many characters at a time. */
const BLOCK = 2 ** 18;

/**
 * The rows of a text that comes in pieces as objects of texts; what is not CSV is
 * added to `problems`, and ends the rows.
 */
export function* csvRows(
  pieces: Iterable<string>,
  problems: Problems,
  blockLength = BLOCK,
): Generator<Located> {
  const columns: Columns = { names: null };
  let line = 0;
  for (const part of recordBlocks(pieces, blockLength)) {
    const { rows, problem } = rowsOf(part, columns);
    for (const row of rows) yield { ...row, line: line + row.line };
    if (problem !== null) {
      return problems.add({ ...problem, line: line + problem.line });
    }
    line += part.lines;
  }
}

/** The names in the first line, once they are known. */
interface Columns {
  names: string[] | null;
}

/** The rows of `part` up to the first problem, by their lines in it. */
function rowsOf(
  { text, ending }: RecordBlock,
  columns: Columns,
): { readonly rows: Located[]; readonly problem: Problem | null } {
  const rows: Located[] = [];
  // the library counts a line end of two characters in a cell twice
  let countedTwice = 0;
  const lineEndsIn = (cells: readonly string[]): number => {
    const ends = cells.flatMap((cell) => cell.match(/[\r\n]/g) ?? []);
    const pairs = cells.flatMap((cell) => cell.match(/\r\n/g) ?? []);
    countedTwice += pairs.length;
    return ends.length;
  };
  try {
    parse(text, {
      columns: columns.names ?? ((names: string[]) => {
        lineEndsIn(names);
        return columns.names = uniqueColumns(names);
      }),
      max_record_size: LONGEST_RECORD,
      on_record: (record: Record<string, string>, { lines }) => {
        const before = lines - countedTwice;
        const line = before - lineEndsIn(Object.values(record));
        rows.push({ line, value: record });
        return null;
      },
      record_delimiter: ending,
      skip_empty_lines: true,
    });
    return { rows, problem: null };
  } catch (error) {
    if (error instanceof DuplicateColumn) {
      return { rows, problem: { line: 1, what: error.message } };
    }
    if (!(error instanceof CsvError)) throw error;
    const problem = csvProblem(error);
    return { rows, problem: { ...problem, line: problem.line - countedTwice } };
  }
}

/** Whole records. */
interface RecordBlock {
  readonly text: string;
  /** What ends a record. */
  readonly ending: string;
  /** Number of lines that it goes over. */
  readonly lines: number;
}

/**
 * Cuts a text after records: at line ends with an even number of quotes before them.
 * The first line end outside of quotes is the one that ends records.
 */
function* recordBlocks(
  pieces: Iterable<string>,
  blockLength: number,
): Generator<RecordBlock> {
  let rest = "";
  let ending: string | null = null;
  for (const piece of pieces) {
    rest += piece;
    if (rest.length < blockLength) continue;
    ending ??= lineEnding(rest);
    const end = ending === null ? 0 : lastRecordEnd(rest, ending);
    if (end === 0 && rest.length <= LONGEST_RECORD) continue;
    yield block(rest.slice(0, end || rest.length), ending);
    rest = end === 0 ? "" : rest.slice(end);
  }
  yield block(rest, ending ?? lineEnding(rest));
}
function block(text: string, ending: string | null): RecordBlock {
  const end = ending ?? "\n";
  return { text, ending: end, lines: text.split(/\r\n?|\n/).length - 1 };
}

/** The first line end outside of quotes; null where there is none, or perhaps only half of one. */
function lineEnding(text: string): string | null {
  let isQuoted = false;
  for (const { 0: found, index } of text.matchAll(/"|\r\n?|\n/g)) {
    if (found === '"') isQuoted = !isQuoted;
    else if (!isQuoted) {
      return found === "\r" && index === text.length - 1 ? null : found;
    }
  }
  return null;
}

/** The place after the last record of `text`, 0 where there is no whole one. */
function lastRecordEnd(text: string, ending: string): number {
  let end = 0;
  for (let at = 0;;) {
    const quote = text.indexOf('"', at);
    const outside = text.slice(at, quote < 0 ? text.length : quote);
    const found = outside.lastIndexOf(ending);
    if (found >= 0) end = at + found + ending.length;
    const close = quote < 0 ? -1 : text.indexOf('"', quote + 1);
    if (close < 0) return end;
    at = close + 1;
  }
}

class DuplicateColumn extends Error {}

function uniqueColumns(names: readonly string[]): string[] {
  const trimmed = names.map((name) => name.trim());
  const twice = trimmed.find((name, at) => trimmed.indexOf(name) !== at);
  if (twice === undefined) return trimmed;
  throw new DuplicateColumn(
    `two columns are called ${
      JSON.stringify(twice)
    }, each needs a name of its own`,
  );
}

const REASONS: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED: "a quoted cell is not closed",
  CSV_INVALID_CLOSING_QUOTE:
    'a closing quote is followed by text, a quote inside a quoted cell is written ""',
  INVALID_OPENING_QUOTE:
    "a quote stands inside a cell that is not quoted, put the whole cell into quotes",
  CSV_MAX_RECORD_SIZE: `a row has more than ${LONGEST_RECORD} characters`,
};

function csvProblem(error: CsvError): Problem {
  const fields = error as unknown as {
    readonly lines?: number;
    readonly columns?: readonly unknown[] | boolean;
    readonly record?: readonly unknown[];
  };
  const { lines = 1, columns, record } = fields;
  const what = error.code === "CSV_RECORD_INCONSISTENT_COLUMNS" &&
      Array.isArray(columns) && record !== undefined
    ? `the row has ${record.length} cells, it must have ${columns.length} as the first line has`
    : `the line is not CSV, ${
      REASONS[error.code] ??
        error.message.replace(/ (?:at|on) line \d+.*$/s, "")
    }`;
  return { line: lines, what };
}
