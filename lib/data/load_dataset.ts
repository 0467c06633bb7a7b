/**
 * Reads files of rows into the features for training: examples, messages, prompt
 * format, ids and labels, with counts. Refuses files in which no answer would be
 * trained.
 *
 * @module
 */

import { isFile } from "../formats/file_info.ts";
import { InputError, quoted } from "../input_error.ts";
import type { Feature } from "./batch.ts";
import {
  type EncodedFiles,
  encodeFiles,
  type EncodingOptions,
  formatOf,
  uncutLengths,
} from "./encoded_files.ts";
import {
  type Preflight,
  type PreparedRow,
  type RowLimit,
  selectRows,
} from "./preflight.ts";
import type { PromptFormat } from "./prompt_format.ts";
import { keepRows, keptRows, type RowCache } from "./row_cache.ts";
import { rowsKey } from "./row_cache_key.ts";
import { weightedRows } from "./row_weights.ts";

/** Options of {@linkcode loadDataset}. */
export interface DatasetOptions extends EncodingOptions, RowLimit {
  /**
   * How often the rows of each file come in an epoch: whole numbers repeat them,
   * a fraction takes that part of them, drawn once by `seed`. Default: each file
   * once.
   */
  readonly weights?: readonly number[] | null;
  /** Determines which rows a fraction takes. Default 0. */
  readonly seed?: number;
  /** Where encoded rows are kept for the next run. Default: nowhere. */
  readonly cache?: RowCache | null;
}

/** Features for training, with their counts. */
export interface Dataset {
  /** The encoded rows, in the order of the files. */
  readonly features: readonly Feature[];
  /** Counts of rows and tokens. */
  readonly preflight: Preflight;
  /** The prompt format of the rows, in which questions are asked too. */
  readonly promptFormat: PromptFormat;
  /** A question from the rows: the first short one. */
  readonly question: string;
  /** The rows' shape, their prompt format and why it is that, as one line. */
  readonly description: string;
}

/**
 * Reads, checks, encodes and counts the rows of the file at `path`, or of several
 * files.
 *
 * @example
 * ```ts
 * import { AutoTokenizer, loadDataset } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/legacy",
 * );
 * const { features, preflight, question } = await loadDataset(
 *   "tests/fixtures/data/rows.jsonl",
 *   { tokenizer, config: { eos_token_id: 2 }, maxSeqLength: 64 },
 * );
 * assert.equal(features.length, preflight.rows);
 * assert.equal(question, "你是谁？");
 * ```
 *
 * @throws {InputError} when rows are wrong, all rows are skipped, or no row has
 *   any token of its answer left.
 */
export async function loadDataset(
  path: string | readonly string[],
  options: DatasetOptions,
): Promise<Dataset> {
  const paths = [path].flat();
  checkOptions(paths, options);
  const { encoded, note } = await encodeOrRecall(paths, options);
  const files = encoded.files.map(({ rows, shape, read }, at) => ({
    path: paths[at]!,
    shape,
    read,
    sequences: rows.length,
    rows: weighted(rows, at, { paths, options }),
  }));
  const { features, preflight } = selectRows(
    files.flatMap(({ rows }) => rows),
    options,
  );
  if (preflight.answerTokens === 0) {
    throw new InputError(await nothingToLearn(paths, options));
  }
  const { system, choice, question } = encoded;
  return {
    features,
    preflight,
    promptFormat: await formatOf(choice.name, { system, options }),
    question,
    description: `${description(files, encoded)}${
      note === null ? "" : `; ${note}`
    }`,
  };
}

/** The rows as an earlier run has kept them, or encoded now and kept; and what to say of that. */
async function encodeOrRecall(
  paths: readonly string[],
  options: DatasetOptions,
): Promise<{ readonly encoded: EncodedFiles; readonly note: string | null }> {
  const { cache = null } = options;
  const keyNow = (): string | null =>
    cache === null || !paths.every((path) => isFile(path))
      ? null
      : rowsKey(paths, { ...options, tokenizerKey: cache.tokenizerKey });
  const key = keyNow();
  const kept = key === null ? null : keptRows(cache!, key);
  if (kept !== null) {
    return { encoded: kept, note: "tokenised in an earlier run" };
  }
  const encoded = await encodeFiles(paths, options);
  // the files may have been written to in the meantime
  const note = key !== null && keyNow() === key
    ? keepRows(cache!, key, encoded)
    : null;
  return { encoded, note };
}

function checkOptions(
  paths: readonly string[],
  { maxSeqLength, weights = null }: DatasetOptions,
): void {
  if (!Number.isSafeInteger(maxSeqLength) || maxSeqLength < 1) {
    throw new InputError(
      `Cannot use max_seq_length ${maxSeqLength}: it must be a whole number from 1`,
    );
  }
  if (paths.length === 0) {
    throw new InputError(
      "Cannot read rows: no file is named, the path of one is needed",
    );
  }
  if (weights !== null && weights.length !== paths.length) {
    throw new InputError(
      `Cannot weight ${paths.length} files of rows with ${weights.length} numbers: one for each file is needed`,
    );
  }
}

function weighted(
  rows: readonly PreparedRow[],
  at: number,
  { paths, options: { weights = null, seed = 0 } }: {
    readonly paths: readonly string[];
    readonly options: DatasetOptions;
  },
): readonly PreparedRow[] {
  if (weights === null) return rows;
  return weightedRows(rows, { weight: weights[at]!, seed, path: paths[at]! });
}

/** What there is of a file, as the description of a dataset says it. */
interface DescribedFile {
  readonly path: string;
  readonly shape: string;
  readonly read: number;
  /** Number of sequences that its rows are encoded as. */
  readonly sequences: number;
  /** Those of them that its weight takes. */
  readonly rows: readonly unknown[];
}

function description(
  files: readonly DescribedFile[],
  { choice: { name, why } }: EncodedFiles,
): string {
  const each = files.map(({ path, shape, read, sequences, rows }) => {
    const count = rows.length === sequences
      ? files.length > 1 || sequences > read ? `${read} ` : ""
      : `${rows.length} of ${sequences} `;
    const divided = sequences === read
      ? ""
      : ` as ${sequences} sequences, one for each answer that the chat template spells otherwise later`;
    return `${path}: ${count}${shape} rows${divided}`;
  });
  const isMixed = new Set(files.map(({ shape }) => shape === "text")).size > 1;
  return `${each.join(", ")}, prompt format ${name} (${why})${
    isMixed ? ", texts as they stand" : ""
  }`;
}

/**
 * The error for files from which nothing is learned, with the limit that would be
 * needed.
 */
async function nothingToLearn(
  paths: readonly string[],
  options: DatasetOptions,
): Promise<string> {
  const needed = await uncutLengths(paths, options);
  const start = `Cannot train on ${paths.map((it) => quoted(it)).join(", ")}:`;
  if (needed.length === 0) {
    return `${start} every answer is empty, answers with text are needed`;
  }
  const shortest = needed.reduce((a, b) => Math.min(a, b), Infinity);
  const longest = needed.reduce((a, b) => Math.max(a, b), 0);
  return `${start} no row has any of its answer left at max_seq_length ${options.maxSeqLength}${
    options.skipOverlength ? " with skip_overlength" : ""
  }, the shortest row needs ${shortest} and all rows need ${longest}`;
}
