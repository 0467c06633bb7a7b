/**
 * Rows of a CSV file whose first line names the columns, as RFC 4180 has it.
 *
 * @module
 */

import { CsvError, parse } from "npm:csv-parse@6.1.0/sync";
import type { Located, Problem } from "./row_text.ts";

/** A cell may not be longer, or an open quote would take in the whole file. */
const LONGEST_RECORD = 50_000_000;

/** A record as the library gives it. */
interface CsvRecord {
  readonly record: Readonly<Record<string, string>>;
  /** `lines` is the line that the record ends on. */
  readonly info: { readonly lines: number };
}

/** The rows of `text` as objects of texts; what is not CSV is added to `problems`. */
export function csvRows(text: string, problems: Problem[]): Located[] {
  try {
    const records = parse(text, {
      bom: true,
      columns: uniqueColumns,
      info: true,
      max_record_size: LONGEST_RECORD,
      skip_empty_lines: true,
    }) as unknown as readonly CsvRecord[];
    return records.map(({ record, info }) => {
      const inner = Object.values(record).reduce(
        (count, cell) => count + cell.split(/\r\n?|\n/).length - 1,
        0,
      );
      return { line: info.lines - inner, value: record };
    });
  } catch (error) {
    if (error instanceof DuplicateColumn) {
      problems.push({ line: 1, what: error.message });
      return [];
    }
    if (!(error instanceof CsvError)) throw error;
    problems.push(csvProblem(error));
    return [];
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
