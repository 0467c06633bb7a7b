/**
 * Makes one padded batch of features, exactly as the recipe's `data_collator`.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import {
  type Batch,
  checkFeatures,
  type Feature,
  IGNORED_LABEL,
  paddedBatch,
} from "./batch.ts";

/** What padding needs of a tokenizer. */
export interface PadTokens {
  /** Id of the padding token. */
  readonly padTokenId: number | null;
  /** Used when there is no padding token. */
  readonly unkTokenId: number | null;
}

/**
 * The recipe's `data_collator`: sorts by length, longest first and stable, and
 * pads on the right with the padding token, else with the unknown token. Padding
 * is not trained.
 *
 * @example
 * ```ts
 * import { dataCollator } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const features = [
 *   { input_ids: [1, 7, 2], labels: [-100, 7, 2] },
 *   { input_ids: [1, 5, 6, 8, 2], labels: [-100, -100, 6, 8, 2] },
 * ];
 * const batch = dataCollator(features, { padTokenId: null, unkTokenId: 0 });
 * assert.deepEqual([...batch.inputIds.slice(5)], [1n, 7n, 2n, 0n, 0n]);
 * assert.deepEqual([...batch.targets.labels], [6n, 8n, 2n, 7n, 2n]);
 * ```
 *
 * @throws {InputError} when there is neither a pad nor an unknown token.
 * @throws {RangeError} when there are no features, or a feature does not have as
 *   many labels as ids.
 */
export function dataCollator(
  features: readonly Feature[],
  tokenizer: PadTokens,
): Batch {
  checkFeatures(features);
  const pad = padTokenId(tokenizer);
  const sorted = features.toSorted((a, b) =>
    b.input_ids.length - a.input_ids.length
  );
  const length = sorted[0]!.input_ids.length;
  const inputIds = new BigInt64Array(sorted.length * length).fill(pad);
  const labels = new BigInt64Array(inputIds.length).fill(BigInt(IGNORED_LABEL));
  let tokens = 0;
  for (const [row, feature] of sorted.entries()) {
    inputIds.set(feature.input_ids.map(BigInt), row * length);
    labels.set(feature.labels.map(BigInt), row * length);
    tokens += feature.input_ids.length;
  }
  return paddedBatch({ inputIds, labels, rows: sorted.length, tokens });
}

/** The id used for padding: the padding token's, else the unknown token's. */
function padTokenId({ padTokenId, unkTokenId }: PadTokens): bigint {
  const id = padTokenId ?? unkTokenId;
  if (id !== null) return BigInt(id);
  throw new InputError(
    'Cannot pad a batch: the tokenizer has neither a pad nor an unknown token, "pad_token" in tokenizer_config.json must name one',
  );
}
