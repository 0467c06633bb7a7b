/**
 * Features to one padded batch with labels, exactly as the recipe's
 * `data_collator` does it. It makes typed arrays, no tensors.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import type { Feature } from "./preprocess.ts";

/** Label of a position that is not trained, as in PyTorch's cross entropy. */
export const IGNORED_LABEL = -100;

/** What is needed of a tokenizer to pad. */
export interface PadTokens {
  /** Id that fills up rows. */
  readonly padTokenId: number | null;
  /** Taken where there is no pad token. */
  readonly unkTokenId: number | null;
}

/** A padded batch, rows longest first. */
export interface Batch {
  /** Token ids, `[batch, length]` row by row. */
  readonly inputIds: BigInt64Array;
  /** Labels, -100 where not trained, `[batch, length]` row by row. */
  readonly labels: BigInt64Array;
  /** Rows and columns. */
  readonly shape: readonly [batch: number, length: number];
  /** Number of labels that are trained: those after column 0 that count. */
  readonly trainedTokens: number;
  /** Number of ids that are no padding. */
  readonly tokens: number;
}

/**
 * The recipe's `data_collator`: sorts by length, longest first and stable, pads
 * on the right with the pad or else the unknown token, and trains from the last
 * prompt token on: labels `[-100]*(seq_len-1) + ids[seq_len-1:] + [-100]*rest`.
 *
 * @example
 * ```ts
 * import { dataCollator } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const features = [
 *   { input_ids: [1, 7, 2], seq_len: 2 },
 *   { input_ids: [1, 5, 6, 8, 2], seq_len: 3 },
 * ];
 * const batch = dataCollator(features, { padTokenId: null, unkTokenId: 0 });
 * assert.deepEqual(batch.shape, [2, 5]);
 * assert.deepEqual([...batch.labels.slice(5)], [-100n, 7n, 2n, -100n, -100n]);
 * ```
 *
 * @throws {InputError} when there is neither a pad nor an unknown token.
 * @throws {RangeError} when there are no features, or a label row would not
 * be as long as the batch, where PyTorch's `stack` fails.
 */
export function dataCollator(
  features: readonly Feature[],
  tokenizer: PadTokens,
): Batch {
  if (features.length === 0) {
    throw new RangeError("Cannot collate a batch: it has no rows");
  }
  const pad = padTokenId(tokenizer);
  const sorted = features.toSorted((a, b) =>
    b.input_ids.length - a.input_ids.length
  );
  const length = sorted[0]!.input_ids.length;
  const inputIds = new BigInt64Array(sorted.length * length).fill(pad);
  const labels = new BigInt64Array(inputIds.length).fill(BigInt(IGNORED_LABEL));
  let tokens = 0;
  for (const [index, { input_ids, seq_len }] of sorted.entries()) {
    const start = labelStart(input_ids.length, seq_len);
    const row = index * length;
    for (let at = 0; at < input_ids.length; at++) {
      const id = BigInt(input_ids[at]!);
      inputIds[row + at] = id;
      if (at >= start) labels[row + at] = id;
    }
    tokens += input_ids.length;
  }
  return {
    inputIds,
    labels,
    shape: [sorted.length, length],
    trainedTokens: features.reduce((sum, row) => sum + trainedTokens(row), 0),
    tokens,
  };
}

/** Number of ids of a feature that are trained, after the shift by one. */
export function trainedTokens({ input_ids, seq_len }: Feature): number {
  return Math.max(0, input_ids.length - Math.max(1, seq_len - 1));
}

/** The id that fills up rows: pad, or else unknown. */
function padTokenId({ padTokenId, unkTokenId }: PadTokens): bigint {
  const id = padTokenId ?? unkTokenId;
  if (id !== null) return BigInt(id);
  throw new InputError(
    'Cannot pad a batch: the tokenizer has neither a pad nor an unknown token, "pad_token" in tokenizer_config.json must name one',
  );
}

/** First trained position; outside of these bounds the rows do not line up. */
function labelStart(length: number, seqLen: number): number {
  if (seqLen >= 1 && seqLen - 1 <= length) return seqLen - 1;
  throw new RangeError(
    `Cannot label a row: seq_len is ${seqLen} for ${length} ids, it must be 1 to ${
      length + 1
    }`,
  );
}
