/**
 * sharedRows: each row can be read back from the tree, and is trained as when padded.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type Batch, type Feature, sharedRows } from "../../lib/data/mod.ts";
import { seeded } from "../formats/temporary.ts";
import { rowOf } from "../training/tiny_run.ts";

/** What each trained label is predicted from: all tokens it sees, with their positions. */
function predictions(batch: Batch): string[] {
  const { segments, inputIds, positions, targets } = batch;
  const seenFrom = (at: number): string[] => {
    const own = segments.findIndex(({ start, length }) =>
      at >= start && at < start + length
    );
    const { start, parent } = segments[own]!;
    const above = parent === null ? null : segments[parent]!;
    const before = above === null
      ? []
      : seenFrom(above.start + above.length - 1);
    return [
      ...before,
      ...Array.from(
        { length: at - start + 1 },
        (_, index) => `${inputIds[start + index]}@${positions[start + index]}`,
      ),
    ];
  };
  return Array.from(
    targets.rows,
    (row, index) =>
      `${seenFrom(Number(row)).join(" ")} -> ${targets.labels[index]}`,
  ).sort();
}

/** The same of the rows themselves. */
function rowPredictions(rows: readonly Feature[]): string[] {
  return rows.flatMap(({ input_ids, labels }) =>
    labels.flatMap((label, at) => {
      if (at === 0 || label < 0) return [];
      const seen = input_ids.slice(0, at).map((id, index) => `${id}@${index}`);
      return [`${seen.join(" ")} -> ${label}`];
    })
  ).sort();
}

Deno.test("sharedRows() has each token of a common prefix once, also of prefixes of prefixes", () => {
  const batch = sharedRows([
    rowOf([1, 2, 3, 4, 5, 9], 4),
    rowOf([1, 2, 3, 4, 6], 4),
    rowOf([1, 2, 3, 4, 5, 8], 4),
  ]);
  assert.deepEqual([...batch.inputIds].map(Number), [1, 2, 3, 4, 5, 8, 9, 6]);
  assert.deepEqual([...batch.positions], [0, 1, 2, 3, 4, 5, 5, 4]);
  assert.deepEqual(batch.segments, [
    { start: 0, length: 4, parent: null },
    { start: 4, length: 1, parent: 0 },
    { start: 5, length: 1, parent: 1 },
    { start: 6, length: 1, parent: 1 },
    { start: 7, length: 1, parent: 0 },
  ]);
  assert.equal(batch.tokens, 17);
});

Deno.test("sharedRows() lays rows without a common prefix end to end, those of one length side by side", () => {
  const rows = [[5, 6], [7, 8, 9], [6, 6], [8, 8, 8, 8]];
  const batch = sharedRows(rows.map((ids) => rowOf(ids, 0)));
  assert.deepEqual(batch.segments.map(({ length }) => length), [4, 3, 2, 2]);
  assert(batch.segments.every(({ parent }) => parent === null));
});

Deno.test("sharedRows() does not share a prefix that is short beside what follows it", () => {
  const rest = Array.from({ length: 40 }, (_, at) => 10 + at);
  const rows = [rowOf([1, ...rest], 0), rowOf([1, 9, ...rest], 0)];
  assert.equal(sharedRows(rows).segments.length, 2);
  assert.equal(sharedRows(rows).inputIds.length, 83);
});

Deno.test("sharedRows() trains equal rows as often as they are there, and a row that others continue", () => {
  const rows = [[1, 2, 3], [1, 2, 3], [1, 2], [1, 2, 3, 4], [1]];
  const features = rows.map((ids) => rowOf(ids, 1));
  const batch = sharedRows(features);
  assert.equal(batch.inputIds.length, 4);
  assert.deepEqual(predictions(batch), rowPredictions(features));
});

Deno.test("sharedRows() trains the predictions of the rows, each from the tokens before it, for random rows", () => {
  const random = seeded(11);
  const below = (limit: number): number =>
    Math.floor(random.next().value * limit);
  let shared = 0;
  for (let round = 0; round < 300; round++) {
    const rows = Array.from({ length: 1 + below(7) }, () => {
      const ids = Array.from({ length: 1 + below(9) }, () => 1 + below(2));
      return rowOf(ids, below(3));
    });
    const batch = sharedRows(rows);
    assert.deepEqual(predictions(batch), rowPredictions(rows));
    assert.equal(
      batch.tokens,
      rows.reduce((sum, row) => sum + row.input_ids.length, 0),
    );
    shared += batch.tokens - batch.inputIds.length;
    batch.segments.forEach(({ parent }, index) =>
      assert(parent === null || parent < index)
    );
  }
  assert(shared > 1000, `${shared} tokens were shared`);
});

Deno.test("sharedRows() refuses an empty batch and rows whose labels do not fit", () => {
  assert.throws(() => sharedRows([]), RangeError);
  assert.throws(() => sharedRows([{ input_ids: [1, 5], labels: [5] }]), {
    name: "RangeError",
    message:
      "Cannot collate a row: it has 1 labels for 2 ids, one for each is needed",
  });
});
