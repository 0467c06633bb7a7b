/**
 * What training would see of a data set, counted before any weights are loaded:
 * rows, tokens, and the answers that `max_seq_length` cuts off.
 *
 * @module
 */

import { trainedTokens } from "./batch.ts";
import { cutFeature, type EncodedRow } from "./preprocess.ts";

/** A row after `preprocess`, before it is cut to `max_seq_length`. */
export interface PreparedRow extends EncodedRow {
  /** Whether the row's output is the empty text. */
  readonly emptyAnswer: boolean;
}

/** Options of {@linkcode preflight}. */
export interface PreflightOptions {
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

/**
 * Counts what training would see of `rows`.
 *
 * @example
 * ```ts
 * import { preflight } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const feature = { input_ids: [1, 5, 6, 7, 2], labels: [-100, -100, 6, 7, 2] };
 * const numbers = preflight([{ feature, promptLength: 3, emptyAnswer: false }], {
 *   maxSeqLength: 4,
 * });
 * assert.equal(numbers.eosCut, 1);
 * ```
 */
export function preflight(
  rows: readonly PreparedRow[],
  options: PreflightOptions,
): Preflight {
  const { maxSeqLength, skipOverlength = false } = options;
  const kept = rows.filter(({ feature }) =>
    !skipOverlength || feature.input_ids.length <= maxSeqLength
  );
  const cuts = kept.map((row) => cutOf(row, maxSeqLength));
  const count = (cut: Cut): number =>
    cuts.filter((found) => found === cut).length;
  const features = kept.map(({ feature }) => cutFeature(feature, maxSeqLength));
  return {
    rowsRead: rows.length,
    rows: kept.length,
    tokens: sum(features.map(({ input_ids }) => input_ids.length)),
    trainedTokens: sum(features.map(trainedTokens)),
    answerTokens: sum(kept.map((row) => answerTokens(row, maxSeqLength))),
    answersCut: count("answer"),
    answersShortened: count("end"),
    eosCut: count("eos"),
    rowsSkipped: rows.length - kept.length,
    emptyAnswers: kept.filter(({ emptyAnswer }) => emptyAnswer).length,
    longestRow: features.reduce(
      (longest, { input_ids }) => Math.max(longest, input_ids.length),
      0,
    ),
    maxSeqLength,
  };
}

/**
 * Says the numbers in sentences: first what there is, then what to mind.
 *
 * @example
 * ```ts
 * import { describePreflight, preflight } from "@lorikeet/lorikeet";
 *
 * const feature = { input_ids: [1, 5, 6, 7, 2], labels: [-100, -100, 6, 7, 2] };
 * const numbers = preflight([{ feature, promptLength: 3, emptyAnswer: false }], {
 *   maxSeqLength: 4,
 * });
 * const [, warning = ""] = describePreflight(numbers);
 * if (!warning.includes("without EOS")) throw new Error(warning);
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

/** What the limit takes from a row. */
type Cut = "nothing" | "eos" | "end" | "answer";

function cutOf(row: PreparedRow, limit: number): Cut {
  const { feature, promptLength, emptyAnswer } = row;
  const length = feature.input_ids.length;
  if (length <= limit) return "nothing";
  if (length === limit + 1) return "eos";
  return promptLength >= limit && !emptyAnswer ? "answer" : "end";
}

/** Ids of the answer that are left, without EOS. */
function answerTokens(row: PreparedRow, limit: number): number {
  const end = Math.min(limit, row.feature.input_ids.length - 1);
  return Math.max(0, end - row.promptLength);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function format(count: number): string {
  return count.toLocaleString("en-US");
}

function plural(count: number): string {
  return `${format(count)} ${count === 1 ? "row" : "rows"}`;
}
