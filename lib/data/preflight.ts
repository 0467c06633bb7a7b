/**
 * Which encoded rows are trained, and what to tell the user before any weights
 * are loaded: tokens, rows left out, and answers cut off by `max_seq_length`.
 * Rows are skipped and counted only here; they have been cut by the prompt
 * format.
 *
 * @module
 */

import type { Feature } from "./batch.ts";
import type { EncodedRow } from "./prompt_format.ts";

/** An encoded row, and whether its answers are all empty. */
export interface PreparedRow extends EncodedRow {
  /** Whether every trained answer is empty, so that only their ends are trained. */
  readonly emptyAnswer: boolean;
  /** Number of ids that are trained. */
  readonly trainedTokens: number;
}

/** The limit on the length of rows. */
export interface RowLimit {
  /** Longest row in ids. */
  readonly maxSeqLength: number;
  /** Leaves out rows that are too long, instead of cutting them. Default false. */
  readonly skipOverlength?: boolean;
}

/** Counts for a dataset. */
export interface Preflight {
  /** Rows of an epoch, with those left out by `skip_overlength`. */
  readonly rowsRead: number;
  /** Number of rows that are trained. */
  readonly rows: number;
  /** Number of ids in those rows. */
  readonly tokens: number;
  /** Number of ids that are trained. */
  readonly trainedTokens: number;
  /** Number of trained ids in answers, without EOS. */
  readonly answerTokens: number;
  /** Rows whose answer is cut off completely. */
  readonly answersCut: number;
  /** Rows whose answer is cut off at the end, with its EOS. */
  readonly answersShortened: number;
  /** Rows that keep their answer and lose only EOS. */
  readonly eosCut: number;
  /** Rows left out by `skip_overlength`. */
  readonly rowsSkipped: number;
  /** Rows whose output is empty. */
  readonly emptyAnswers: number;
  /** Number of ids in the longest trained row. */
  readonly longestRow: number;
  /** The limit on ids per row. */
  readonly maxSeqLength: number;
}

/** The features of `rows` that are trained, and the counts. */
export function selectRows(
  rows: readonly PreparedRow[],
  { maxSeqLength, skipOverlength = false }: RowLimit,
): { readonly features: Feature[]; readonly preflight: Preflight } {
  const kept = skipOverlength
    ? rows.filter(({ length }) => length <= maxSeqLength)
    : rows;
  // not from the lists themselves, which a row from the cache would have to make
  const ids = ({ length }: PreparedRow): number =>
    Math.min(length, maxSeqLength);
  const count = (cut: EncodedRow["cut"]): number =>
    kept.filter((row) => row.cut === cut).length;
  const sum = (value: (row: PreparedRow) => number): number =>
    kept.reduce((total, row) => total + value(row), 0);
  const preflight = {
    rowsRead: rows.length,
    rows: kept.length,
    tokens: sum(ids),
    trainedTokens: sum((row) => row.trainedTokens),
    answerTokens: sum(({ answerTokens }) => answerTokens),
    answersCut: count("answers"),
    answersShortened: count("end"),
    eosCut: count("ending"),
    rowsSkipped: rows.length - kept.length,
    emptyAnswers: kept.filter(({ emptyAnswer }) => emptyAnswer).length,
    longestRow: kept.reduce(
      (longest, row) => Math.max(longest, ids(row)),
      0,
    ),
    maxSeqLength,
  };
  const features = kept.map((row) => {
    // a row from the cache makes its lists only when they are asked for
    if (!Object.hasOwn(row, "input_ids")) return row;
    const { input_ids, labels } = row;
    return { input_ids, labels };
  });
  return { features, preflight };
}

/**
 * Describes the counts in sentences: first what there is, then what to be aware
 * of.
 *
 * @example
 * ```ts
 * import {
 *   AutoTokenizer,
 *   describePreflight,
 *   loadDataset,
 * } from "@lorikeet/lorikeet";
 *
 * const { preflight } = await loadDataset("tests/fixtures/data/rows.jsonl", {
 *   tokenizer: await AutoTokenizer.fromPretrained("tests/fixtures/data/legacy"),
 *   config: { eos_token_id: 2 },
 *   maxSeqLength: 48,
 *   promptFormat: "recipe",
 * });
 * const [numbers, ...warnings] = describePreflight(preflight);
 * if (!numbers?.startsWith("12 rows") || warnings.length === 0) {
 *   throw new Error(numbers);
 * }
 * ```
 */
export function describePreflight(numbers: Preflight): string[] {
  const limit = `max_seq_length ${numbers.maxSeqLength}`;
  const warnings: readonly (readonly [number, string])[] = [
    [numbers.rowsSkipped, `left out by skip_overlength, longer than ${limit}`],
    [numbers.answersCut, `without any answer, the prompt alone fills ${limit}`],
    [numbers.answersShortened, `with a shortened answer, cut at ${limit}`],
    [
      numbers.eosCut,
      `without EOS, one id over ${limit}: the model is not taught to stop there`,
    ],
    [numbers.emptyAnswers, "with an empty output, only EOS is learnt there"],
  ];
  return [
    `${plural(numbers.rows)}, ${format(numbers.tokens)} tokens of which ${
      format(numbers.trainedTokens)
    } are trained, longest row ${format(numbers.longestRow)} of ${
      format(numbers.maxSeqLength)
    }`,
    ...warnings.filter(([count]) => count > 0)
      .map(([count, what]) => `${plural(count)} ${what}`),
  ];
}

function format(count: number): string {
  return count.toLocaleString("en-US");
}

function plural(count: number): string {
  return `${format(count)} ${count === 1 ? "row" : "rows"}`;
}
