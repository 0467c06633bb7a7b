/**
 * Rows taken out for evaluation: how many, which, and in what order.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { splitRows } from "../../lib/data/mod.ts";
import { errorOf } from "../formats/temporary.ts";

const ROWS = Array.from({ length: 41 }, (_, at) => at);

Deno.test("splitRows() takes a share or a number of rows, each row into one part, in their order", () => {
  for (
    const [share, count] of [[0.05, 3], [0.5, 21], [7, 7], [1, 1]] as const
  ) {
    const { train, evaluation } = splitRows(ROWS, { share, seed: 42 });
    assert.equal(evaluation.length, count);
    assert.deepEqual([...train, ...evaluation].sort((a, b) => a - b), ROWS);
    for (const part of [train, evaluation]) {
      assert.deepEqual(part, part.toSorted((a, b) => a - b));
    }
  }
});

Deno.test("splitRows() depends on its seed alone, and does not take the first or last rows", () => {
  const taken = (seed: number) =>
    splitRows(ROWS, { share: 7, seed }).evaluation;
  assert.deepEqual(taken(1), taken(1));
  assert.notDeepEqual(taken(1), taken(2));
  assert.notDeepEqual(taken(1), ROWS.slice(0, 7));
  assert.notDeepEqual(taken(1), ROWS.slice(-7));
});

Deno.test("splitRows() leaves rows for training", () => {
  for (const share of [41, 99, 0.99]) {
    assert.equal(
      errorOf(() => splitRows(ROWS, { share, seed: 1 })),
      `Cannot take ${share} of the rows for evaluation: there are 41, at least one must be left for training`,
    );
  }
});
