/**
 * Sampling order against accelerate's, and how it is cut into micro-batches.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { epochBatches } from "../../lib/training/mod.ts";
import { GOLDEN } from "./tiny_run.ts";

interface Case {
  readonly n: number;
  readonly seed: number;
  readonly epoch: number;
  readonly order: readonly number[];
}

Deno.test("epochBatches() takes rows in accelerate's order, for every golden seed and epoch", () => {
  const cases: readonly Case[] = JSON.parse(
    Deno.readTextFileSync(`${GOLDEN}/sampler.json`),
  );
  assert.equal(cases.length, 21);
  for (const { n, seed, epoch, order } of cases) {
    for (const batchSize of [1, 4]) {
      const batches = epochBatches(n, { seed, epoch, batchSize });
      assert.deepEqual(batches.flat(), order);
      assert.equal(batches.length, Math.ceil(n / batchSize));
      assert(batches.slice(0, -1).every((each) => each.length === batchSize));
    }
  }
});

Deno.test("epochBatches() leaves out a last batch that is not full with dropLast only", () => {
  const options = { seed: 42, epoch: 0, batchSize: 4 };
  const sizes = (count: number, dropLast: boolean): number[] =>
    epochBatches(count, { ...options, dropLast }).map((each) => each.length);
  assert.deepEqual(sizes(10, false), [4, 4, 2]);
  assert.deepEqual(sizes(10, true), [4, 4]);
  assert.deepEqual(sizes(8, true), [4, 4]);
  assert.deepEqual(sizes(3, true), []);
});
