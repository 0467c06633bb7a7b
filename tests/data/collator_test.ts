/**
 * dataCollator: padding, order, and what is trained.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { dataCollator } from "../../lib/data/collator.ts";
import { rowOf } from "../training/tiny_run.ts";

const UNK = { padTokenId: null, unkTokenId: 0 };

Deno.test("dataCollator() keeps the order of rows of the same length", () => {
  const features = [[1, 5], [1, 6, 7], [1, 8], [2, 6, 7]].map((ids) =>
    rowOf(ids, 0)
  );
  const { inputIds, segments, positions, tokens } = dataCollator(features, UNK);
  assert.deepEqual(
    [...inputIds].map(Number),
    [1, 6, 7, 2, 6, 7, 1, 5, 0, 1, 8, 0],
  );
  assert.deepEqual(
    segments,
    [0, 3, 6, 9].map((start) => ({ start, length: 3, parent: null })),
  );
  assert.deepEqual([...positions], [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
  assert.equal(tokens, 10);
});

Deno.test("dataCollator() pads with the pad token before the unknown token", () => {
  const features = [rowOf([1], 0), rowOf([1, 2], 0)];
  const { inputIds } = dataCollator(features, { padTokenId: 9, unkTokenId: 0 });
  assert.equal(inputIds[3], 9n);
  assert.throws(
    () => dataCollator(features, { padTokenId: null, unkTokenId: null }),
    { name: "InputError", message: /neither a pad nor an unknown token/ },
  );
});

Deno.test("dataCollator() trains what has a label and a token before it, and no padding", () => {
  const features = [rowOf([1, 5, 6], 2), rowOf([7, 8], 0), rowOf([9, 5], 2)];
  const { targets } = dataCollator(features, UNK);
  assert.deepEqual([...targets.rows], [1n, 3n]);
  assert.deepEqual([...targets.labels], [6n, 8n]);
});

Deno.test("dataCollator() refuses an empty batch and rows whose labels do not fit", () => {
  assert.throws(
    () => dataCollator([{ input_ids: [1, 5], labels: [5] }], UNK),
    {
      name: "RangeError",
      message:
        "Cannot collate a row: it has 1 labels for 2 ids, one for each is needed",
    },
  );
  assert.throws(() => dataCollator([], UNK), RangeError);
});
