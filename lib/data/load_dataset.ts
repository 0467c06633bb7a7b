/**
 * A file of rows to the features that training takes, with their numbers: one
 * pass, many rows at a time. It gives what `readJsonl` gives, and refuses a file
 * of which no answer would be trained.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import type { Feature } from "./batch.ts";
import { readRows, type Row } from "./jsonl.ts";
import { type Preflight, preflight, type PreparedRow } from "./preflight.ts";
import {
  cutFeature,
  encodeRows,
  promptOf,
  type ReadJsonlOptions,
} from "./preprocess.ts";

/** Features to train on, and what there is to know about them. */
export interface Dataset {
  /** Rows as the recipe prepares them, in the order of the file. */
  readonly features: readonly Feature[];
  /** Their numbers. */
  readonly preflight: Preflight;
  /** The instruction that most rows have, or none where rows have their own. */
  readonly instruction: string;
}

const ROWS_AT_A_TIME = 1024;

/**
 * Reads, checks, encodes and counts the rows of `path`.
 *
 * @example
 * ```ts
 * import { AutoTokenizer, loadDataset } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/legacy",
 * );
 * const { features, preflight } = await loadDataset(
 *   "tests/fixtures/data/rows.jsonl",
 *   { tokenizer, config: { eos_token_id: 2 }, maxSeqLength: 64 },
 * );
 * assert.equal(features.length, preflight.rows);
 * ```
 *
 * @throws {InputError} when rows are wrong, all rows are skipped, or no row has
 * any token of its answer left.
 */
export async function loadDataset(
  path: string,
  options: ReadJsonlOptions,
): Promise<Dataset> {
  const { maxSeqLength, skipOverlength = false } = options;
  if (!Number.isSafeInteger(maxSeqLength) || maxSeqLength < 1) {
    throw new InputError(
      `Cannot use max_seq_length ${maxSeqLength}: it must be a whole number from 1`,
    );
  }
  const rows = readRows(path);
  const prepared = await prepare(rows, options);
  const numbers = preflight(prepared, { maxSeqLength, skipOverlength });
  if (numbers.answerTokens === 0) {
    throw new InputError(await nothingToLearn(path, rows, options));
  }
  const features = prepared
    .filter(({ feature }) =>
      !skipOverlength || feature.input_ids.length <= maxSeqLength
    )
    .map(({ feature }) => cutFeature(feature, maxSeqLength));
  return {
    features,
    preflight: numbers,
    instruction: commonInstruction(rows),
  };
}

function commonInstruction(rows: readonly Row[]): string {
  const counts = new Map<string, number>();
  for (const { instruction } of rows) {
    counts.set(instruction, (counts.get(instruction) ?? 0) + 1);
  }
  const [common, count] = [...counts].reduce((best, each) =>
    each[1] > best[1] ? each : best
  );
  return 2 * count > rows.length ? common : "";
}

async function prepare(
  rows: readonly Row[],
  options: ReadJsonlOptions,
): Promise<PreparedRow[]> {
  const prepared: PreparedRow[] = [];
  for (let start = 0; start < rows.length; start += ROWS_AT_A_TIME) {
    const part = rows.slice(start, start + ROWS_AT_A_TIME);
    const encoded = await encodeRows(part, options);
    for (const [index, row] of encoded.entries()) {
      prepared.push({ ...row, emptyAnswer: part[index]!.output === "" });
    }
  }
  return prepared;
}

/** The sentence for a file that teaches nothing, with the limit it needs. */
async function nothingToLearn(
  path: string,
  rows: readonly Row[],
  options: ReadJsonlOptions,
): Promise<string> {
  const answered = rows.filter(({ output }) => output !== "");
  const start = `Cannot train on "${path}":`;
  if (answered.length === 0) {
    return `${start} every "output" is empty, the answers to learn are needed there`;
  }
  const needed = await neededLengths(answered, options);
  const shortest = needed.reduce((a, b) => Math.min(a, b), Infinity);
  const longest = needed.reduce((a, b) => Math.max(a, b), 0);
  return `${start} no row has any of its answer left at max_seq_length ${options.maxSeqLength}${
    options.skipOverlength ? " with skip_overlength" : ""
  }, the shortest row needs ${shortest} and all rows need ${longest}`;
}

/** Lengths in ids of whole rows, EOS included. */
async function neededLengths(
  rows: readonly Row[],
  { tokenizer }: ReadJsonlOptions,
): Promise<number[]> {
  const lengths: number[] = [];
  for (let start = 0; start < rows.length; start += ROWS_AT_A_TIME) {
    const part = rows.slice(start, start + ROWS_AT_A_TIME);
    const prompts = await tokenizer.encodeBatch(part.map(promptOf), {});
    const answers = await tokenizer.encodeBatch(
      part.map(({ output }) => output),
      { addSpecialTokens: false },
    );
    for (const [index, prompt] of prompts.entries()) {
      lengths.push(prompt.length + answers[index]!.length + 1);
    }
  }
  return lengths;
}
