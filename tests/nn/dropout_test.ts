/**
 * Dropout: how often it drops, that it repeats with its seed, and its gradient.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { dropout } from "../../lib/nn/mod.ts";
import { aten, full, manualSeed, tensorScope } from "../../lib/tensor/mod.ts";

const SHAPE = [300, 401];
const COUNT = 300 * 401;

for (const p of [0.001, 0.1, 0.5, 0.97]) {
  Deno.test(`dropout() drops a share of ${p}, and its scale makes up for it`, () => {
    using _scope = tensorScope();
    manualSeed(7);
    const { kept, scale } = dropout(full(SHAPE, { value: 3 }), p);
    const values = kept.toArray();
    assert.deepEqual([...new Set(values)].sort(), [0, 3]);
    const share = values.filter((value) => value === 0).length / COUNT;
    const deviation = Math.sqrt(p * (1 - p) / COUNT);
    assert.ok(Math.abs(share - p) < 5 * deviation + 2 ** -17, `${share}`);
    assert.ok(Math.abs(scale * (1 - p) - 1) < 1e-3, `${scale}`);
  });
}

Deno.test("dropout() repeats its mask with the same seed only", () => {
  using _scope = tensorScope();
  const drawn = (seed: number): string => {
    manualSeed(seed);
    return dropout(full(SHAPE, { value: 1 }), 0.3).kept.toArray().join("");
  };
  const first = drawn(1);
  assert.equal(drawn(1), first);
  assert.notEqual(drawn(2), first);
});

Deno.test("dropout() gives neighbouring elements independent fates", () => {
  using _scope = tensorScope();
  manualSeed(3);
  const values = dropout(full(SHAPE, { value: 1 }), 0.5).kept.toArray();
  for (const distance of [1, 2, 3, 4, 8]) {
    let same = 0;
    for (let at = 0; at + distance < COUNT; at++) {
      if (values[at] === values[at + distance]) same++;
    }
    assert.ok(Math.abs(same / COUNT - 0.5) < 0.01, `${distance}: ${same}`);
  }
});

Deno.test("dropout() lets gradients through where it kept", () => {
  using _scope = tensorScope();
  const input = full([50], { value: 2 }).requireGrad();
  const { kept } = dropout(input, 0.4);
  aten.backward(aten.sum(kept), [input]);
  const expected = kept.toArray().map((value) => value / 2);
  assert.deepEqual(input.grad!.toArray(), expected);
});
