/**
 * Which encoded rows are trained, and what there is to say about them before any
 * weights are loaded: tokens, rows left out, and the answers that `max_seq_length`
 * cuts off. Here and nowhere else rows are skipped and counted; the prompt format
 * has cut them.
 *
 * @module
 */

import { type Feature, trainedTokens } from "./batch.ts";
import type { EncodedRow } from "./prompt_format.ts";

/** An encoded row, and whether all it teaches is to stop. */
export interface PreparedRow extends EncodedRow {
  /** Whether every trained answer is the empty text. */
  readonly emptyAnswer: boolean;
}

/** How long rows may be. */
export interface RowLimit {
  /** Longest row in ids. */
  readonly maxSeqLength: number;
  /** Leaves out rows that are too long instead of cutting them. Default false. */
  readonly skipOverlength?: boolean;
}

/** The numbers of a data set. */
export interface Preflight {
  /** Rows in the file. */
  readonly rowsRead: number;
  /** Rows that are trained. */
  readonly rows: number;
  /** Ids in those rows. */
  readonly tokens: number;
  /** Ids that count in the loss. */
  readonly trainedTokens: number;
  /** Of the trained ids, those of answers, without EOS. */
  readonly answerTokens: number;
  /** Rows with an answer of which nothing is left. */
  readonly answersCut: number;
  /** Rows of which the answer's end is cut off, EOS with it. */
  readonly answersShortened: number;
  /** Rows that keep their answer and lose only EOS. */
  readonly eosCut: number;
  /** Rows left out by `skip_overlength`. */
  readonly rowsSkipped: number;
  /** Rows whose output is the empty text. */
  readonly emptyAnswers: number;
  /** Ids of the longest trained row. */
  readonly longestRow: number;
  /** The limit in ids. */
  readonly maxSeqLength: number;
}

/** The features to train on of `rows`, and their numbers. */
export function selectRows(
  rows: readonly PreparedRow[],
  { maxSeqLength, skipOverlength = false }: RowLimit,
): { readonly features: Feature[]; readonly preflight: Preflight } {
  const kept = skipOverlength
    ? rows.filter(({ length }) => length <= maxSeqLength)
    : rows;
  const count = (cut: EncodedRow["cut"]): number =>
    kept.filter((row) => row.cut === cut).length;
  const sum = (value: (row: PreparedRow) => number): number =>
    kept.reduce((total, row) => total + value(row), 0);
  const preflight = {
    rowsRead: rows.length,
    rows: kept.length,
    tokens: sum(({ input_ids }) => input_ids.length),
    trainedTokens: sum(trainedTokens),
    answerTokens: sum(({ answerTokens }) => answerTokens),
    answersCut: count("answers"),
    answersShortened: count("end"),
    eosCut: count("ending"),
    rowsSkipped: rows.length - kept.length,
    emptyAnswers: kept.filter(({ emptyAnswer }) => emptyAnswer).length,
    longestRow: kept.reduce(
      (longest, { input_ids }) => Math.max(longest, input_ids.length),
      0,
    ),
    maxSeqLength,
  };
  const features = kept.map(({ input_ids, labels }) => ({ input_ids, labels }));
  return { features, preflight };
}

/**
 * Says the numbers in sentences: first what there is, then what to mind.
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
