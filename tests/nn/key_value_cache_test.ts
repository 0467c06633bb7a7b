/**
 * `KeyValueCache`: what it holds, where, and how much memory it takes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { KeyValueCache } from "../../lib/nn/mod.ts";
import {
  aten,
  full,
  liveTensors,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";

/** Keys `[1, 1, values, 1]`. */
function column(...values: readonly number[]): Tensor {
  return tensor([[values.map((value) => [value])]]);
}

Deno.test("KeyValueCache keeps the order of what is appended while its memory grows", () => {
  const before = liveTensors();
  {
    using _scope = tensorScope();
    using cache = new KeyValueCache();
    const expected: number[] = [];
    for (let at = 0; at < 200; at++) {
      expected.push(at);
      const { keys, values } = cache.append(column(at), column(-at));
      assert.equal(cache.length, at + 1);
      assert.deepEqual([...keys.toArray()], expected);
      assert.deepEqual(
        [...values.toArray()],
        expected.map((each) => -each),
      );
    }
  }
  assert.equal(liveTensors(), before);
});

Deno.test("KeyValueCache writes a token in place, beside those before it", () => {
  using _scope = tensorScope();
  using cache = new KeyValueCache();
  cache.append(column(1), column(1));
  const earlier = cache.append(column(2), column(2));
  const later = cache.append(column(3), column(3));
  earlier.keys.fill(7);
  earlier.values.fill(8);
  assert.deepEqual([...later.keys.toArray()], [7, 7, 3]);
  assert.deepEqual([...later.values.toArray()], [8, 8, 3]);
});

Deno.test("KeyValueCache copies what is appended, and records no gradient", () => {
  using _scope = tensorScope();
  using cache = new KeyValueCache();
  const keys = column(1).requireGrad();
  cache.append(keys, column(1));
  const all = cache.append(column(2), column(2));
  assert.equal(all.keys.isRecorded, false);
  {
    using _off = noGrad();
    keys.fill(9);
  }
  assert.deepEqual([...all.keys.toArray()], [1, 2]);
});

Deno.test("KeyValueCache.join() ends rows together, with zeros in front of the shorter", () => {
  const before = liveTensors();
  {
    using _scope = tensorScope();
    using long = new KeyValueCache();
    using short = new KeyValueCache();
    using cache = new KeyValueCache(4);
    long.append(column(1, 2, 3), column(1, 2, 3));
    short.append(column(4), column(4));
    for (const each of [1, 2]) {
      // memory that may be given out again
      full([2, 1, 4, each], { value: NaN })[Symbol.dispose]();
    }
    cache.join([long, short]);
    assert.equal(cache.length, 3);
    assert.deepEqual(cache.skipped, [0, 2]);
    const next = aten.cat([column(5), column(6)], 0);
    const { keys, values } = cache.append(next, next);
    assert.deepEqual(keys.shape, [2, 1, 4, 1]);
    for (const each of [keys, values]) {
      assert.deepEqual([...each.toArray()], [1, 2, 3, 5, 0, 0, 4, 6]);
      // all places that `limit` allows, and no more
      assert.equal(each.contiguous, true);
    }
    long[Symbol.dispose]();
    assert.equal(cache.length, 4);
    cache[Symbol.dispose]();
    assert.equal(cache.skipped, null);
  }
  assert.equal(liveTensors(), before);
});
