/**
 * PyTorch's random stream: the numbers here are those of `torch.manual_seed`,
 * `torch.rand`, `torch.randn` and `torch.randperm` from Python, PyTorch 2.13.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  aten,
  manualSeed,
  randomPermutation,
  tensorScope,
} from "../../lib/tensor/mod.ts";

function rounded(values: Iterable<number>): number[] {
  return Array.from(values, (value) => Math.round(value * 1e6) / 1e6);
}

Deno.test("manualSeed gives the numbers of torch.manual_seed", () => {
  using _scope = tensorScope();
  manualSeed(42);
  assert.deepEqual(rounded(aten.rand([3]).toArray()), [
    0.882269,
    0.915004,
    0.382864,
  ]);
  assert.deepEqual(rounded(aten.randn([2]).toArray()), [-0.829319, -1.613707]);
  manualSeed(2n ** 64n - 1n);
  assert.deepEqual(rounded(aten.rand([2]).toArray()), [0.993799, 0.571306]);
});

Deno.test("manualSeed repeats the stream from the start", () => {
  using _scope = tensorScope();
  manualSeed(7);
  const first = [...aten.randn([5]).toArray()];
  const second = [...aten.randn([5]).toArray()];
  assert.notDeepEqual(first, second);
  manualSeed(7);
  assert.deepEqual([...aten.randn([5]).toArray()], first);
});

Deno.test("randomPermutation is torch.randperm of a seeded generator", () => {
  assert.deepEqual(randomPermutation(10, 42), [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]);
  assert.deepEqual(randomPermutation(7, 123456789012), [3, 5, 4, 2, 6, 0, 1]);
  assert.deepEqual(randomPermutation(0, 1), []);
});

Deno.test("randomPermutation of many is a permutation", () => {
  const drawn = randomPermutation(40_000, 0);
  assert.deepEqual(drawn.slice(0, 4), [16044, 31897, 28527, 5740]);
  assert.equal(new Set(drawn).size, 40_000);
});
