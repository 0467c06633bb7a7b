/**
 * Rows, their edges and their lengths, as `deno task inspect` shows them.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  countEdges,
  describeEdges,
  lengthBins,
  renderRow,
} from "../../tasks/inspect_rows.ts";

Deno.test("renderRow() tells trained from masked tokens by colour too, and lets no row steer the terminal", () => {
  const words = ["<s>", "a", "\u001b[2J", "\n", "b"];
  const tokenizer = {
    decode: (ids: readonly number[]): string =>
      ids.map((id) => words[id]).join(""),
  };
  const row = { input_ids: [0, 1, 2, 3, 4], labels: [0, -100, -100, 3, 4] };
  assert.equal(
    renderRow(row, tokenizer, { colour: false, columns: null }),
    "<s>a\\u001b[2J[[\\nb]]",
  );
  assert.equal(
    renderRow(row, tokenizer, { colour: true, columns: null }),
    "\u001b[2m<s>a\\u001b[2J\u001b[0m\u001b[32m\\nb\u001b[0m",
  );
});

Deno.test("countEdges() tells begins and ends that are doubled or missing", () => {
  const rows = [
    { input_ids: [1, 5, 6, 2], labels: [-100, -100, 6, 2] },
    { input_ids: [1, 1, 6, 2], labels: [-100, -100, 6, 2] },
    { input_ids: [5, 1, 2, 2], labels: [-100, -100, 2, 2] },
    { input_ids: [1, 2, 6, 7], labels: [-100, 2, 6, 7] },
  ];
  const counts = countEdges(rows, { bos: 1, eos: [2, 9] });
  assert.deepEqual(counts, {
    bosDoubled: 1,
    bosMissing: 1,
    eosDoubled: 1,
    eosMissing: 1,
  });
  assert.deepEqual(
    describeEdges(counts, { rows: 4, bos: "<s>", eos: "</s>" }),
    [
      "BOS <s>: 1 of 4 rows begin with it twice; 1 of 4 rows begin without it",
      "EOS </s>: 1 of 4 rows end with it twice; 1 of 4 rows end without it, " +
      "the model is not taught to stop there",
    ],
  );
  assert.equal(countEdges(rows, { bos: null, eos: [2] }).bosMissing, 0);
});

Deno.test("countEdges() takes EOS for an end when the template writes a line feed after it, but not the EOS of an earlier answer", () => {
  const rows = [
    { input_ids: [1, 5, 6, 2, 8], labels: [-100, -100, 6, 2, 8] },
    { input_ids: [1, 6, 2, 5, 6, 7], labels: [-100, 6, 2, -100, 6, 7] },
  ];
  const counts = countEdges(rows, { bos: 1, eos: [2] });
  assert.equal(counts.eosMissing, 1);
  assert.equal(counts.eosDoubled, 0);
});

Deno.test("lengthBins() has at most ten bins of one round width", () => {
  assert.deepEqual(lengthBins([1, 1, 3]), [
    { from: 1, to: 1, rows: 2 },
    { from: 2, to: 2, rows: 0 },
    { from: 3, to: 3, rows: 1 },
  ]);
  assert.deepEqual(lengthBins([700, 1000, 801]), [
    { from: 601, to: 700, rows: 1 },
    { from: 701, to: 800, rows: 0 },
    { from: 801, to: 900, rows: 1 },
    { from: 901, to: 1000, rows: 1 },
  ]);
});
