/**
 * dataCollator: padding, order and Python's slices at their edges.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { dataCollator } from "../../lib/data/collator.ts";

const UNK = { padTokenId: null, unkTokenId: 0 };

Deno.test("dataCollator() keeps the order of rows of the same length", () => {
  const features = [[1, 5], [1, 6, 7], [1, 8], [2, 6, 7]].map((input_ids) => ({
    input_ids,
    seq_len: 1,
  }));
  const { inputIds, shape } = dataCollator(features, UNK);
  assert.deepEqual(shape, [4, 3]);
  assert.deepEqual(
    [...inputIds].map(Number),
    [1, 6, 7, 2, 6, 7, 1, 5, 0, 1, 8, 0],
  );
});

Deno.test("dataCollator() pads with the pad token before the unknown token", () => {
  const features = [{ input_ids: [1], seq_len: 1 }, {
    input_ids: [1, 2],
    seq_len: 1,
  }];
  const { inputIds } = dataCollator(features, { padTokenId: 9, unkTokenId: 0 });
  assert.equal(inputIds[3], 9n);
  assert.throws(
    () => dataCollator(features, { padTokenId: null, unkTokenId: null }),
    { name: "InputError", message: /neither a pad nor an unknown token/ },
  );
});

Deno.test("dataCollator() labels a row whose answer is cut away as the recipe does", () => {
  const batch = dataCollator([{ input_ids: [1, 5, 6], seq_len: 3 }], UNK);
  assert.deepEqual([...batch.labels], [-100n, -100n, 6n]);
  assert.equal(batch.trainedTokens, 1);
  const none = dataCollator([{ input_ids: [1, 5], seq_len: 3 }], UNK);
  assert.deepEqual([...none.labels], [-100n, -100n]);
  assert.equal(none.trainedTokens, 0);
});

Deno.test("dataCollator() refuses what PyTorch cannot stack", () => {
  for (const seq_len of [0, 4]) {
    assert.throws(
      () => dataCollator([{ input_ids: [1, 5], seq_len }], UNK),
      {
        name: "RangeError",
        message:
          `Cannot label a row: seq_len is ${seq_len} for 2 ids, it must be 1 to 3`,
      },
    );
  }
  assert.throws(() => dataCollator([], UNK), RangeError);
});
