/**
 * Mixed seeds: a function of all parts and of their order.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { mixSeed } from "../../lib/training/seeds.ts";

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
