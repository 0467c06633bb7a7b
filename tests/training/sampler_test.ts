/**
 * Sampling order against accelerate's, how it is cut into micro-batches, and seeds
 * that are a function of all their parts and of their order.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { epochBatches, mixSeed } from "../../lib/training/sampler.ts";
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

interface GroupedCase {
  readonly lengths: readonly number[];
  readonly batch_size: number;
  readonly accumulation: number;
  readonly seed: number;
  readonly orders: readonly (readonly number[])[];
}

Deno.test("epochBatches() by length takes rows in the order of transformers' Trainer, in every epoch", () => {
  const cases: readonly GroupedCase[] = JSON.parse(
    Deno.readTextFileSync(`${GOLDEN}/grouped_sampler.json`),
  );
  for (const { lengths, batch_size, accumulation, seed, orders } of cases) {
    // the last epoch first: an order does not depend on those made before
    for (const epoch of [2, 0, 1]) {
      const batches = epochBatches(lengths.length, {
        strategy: "group_by_length",
        seed: 5,
        epoch,
        batchSize: batch_size,
        grouping: { lengths, accumulation, seed },
      });
      assert.deepEqual(batches.flat(), orders[epoch]);
    }
  }
});

Deno.test("epochBatches() in sequence takes rows as they stand, in every epoch", () => {
  for (const epoch of [0, 3]) {
    const options = { strategy: "sequential", seed: 1, batchSize: 2 } as const;
    const batches = epochBatches(5, { ...options, epoch });
    assert.deepEqual(batches, [[0, 1], [2, 3], [4]]);
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

Deno.test("mixSeed() differs for all places of a run and fits 64 bits", () => {
  const seeds = new Set<bigint>();
  for (let seed = 0; seed < 3; seed++) {
    for (let step = 0; step < 20; step++) {
      for (let batch = 0; batch < 4; batch++) {
        for (let layer = 0; layer < 4; layer++) {
          seeds.add(mixSeed([seed, step, batch, layer]));
        }
      }
    }
  }
  assert.equal(seeds.size, 3 * 20 * 4 * 4);
  for (const seed of seeds) assert.equal(BigInt.asUintN(64, seed), seed);
});

Deno.test("mixSeed() depends on order and number of its parts and on nothing else", () => {
  assert.equal(mixSeed([1, 2]), mixSeed([1, 2]));
  assert.notEqual(mixSeed([1, 2]), mixSeed([2, 1]));
  assert.notEqual(mixSeed([1]), mixSeed([1, 0]));
});
