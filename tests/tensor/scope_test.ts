/**
 * Scopes: what is freed, what is kept, and that memory stays flat.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  aten,
  currentScope,
  liveTensors,
  type Tensor,
  tensor,
  tensorScope,
  TorchError,
  zeros,
} from "../../lib/tensor/mod.ts";

const MEBIBYTE = 2 ** 20;

Deno.test("tensorScope frees what was made inside, also by operators and grad", () => {
  const before = liveTensors();
  {
    using _scope = tensorScope();
    const w = tensor([1, 2]).requireGrad();
    aten.backward(aten.sum(aten.mul(w, w)), [w]);
    assert.ok(w.grad !== null);
    assert.ok(liveTensors() > before);
  }
  assert.equal(liveTensors(), before);
});

Deno.test("tensorScope frees when the block is left by an error", () => {
  const before = liveTensors();
  assert.throws(() => {
    using _scope = tensorScope();
    tensor([1]);
    throw new RangeError("left");
  }, RangeError);
  assert.equal(liveTensors(), before);
  assert.equal(currentScope(), null);
});

Deno.test("scope.keep hands a tensor to the scope outside", () => {
  const before = liveTensors();
  {
    using _outer = tensorScope();
    let kept: Tensor;
    {
      using inner = tensorScope();
      const x = tensor([1, 2]);
      kept = inner.keep(aten.mul(x, x));
    }
    assert.equal(liveTensors(), before + 1);
    assert.deepEqual([...kept.toArray()], [1, 4]);
  }
  assert.equal(liveTensors(), before);
});

Deno.test("scope.keep without a scope outside leaves the tensor to its holder", () => {
  const before = liveTensors();
  let kept: Tensor;
  {
    using scope = tensorScope();
    kept = scope.keep(tensor([1]));
  }
  assert.equal(liveTensors(), before + 1);
  kept[Symbol.dispose]();
  assert.equal(liveTensors(), before);
});

Deno.test("a tensor freed by hand inside a scope is not freed again", () => {
  const before = liveTensors();
  {
    using _scope = tensorScope();
    using x = tensor([1]);
    assert.equal(x.disposed, false);
  }
  assert.equal(liveTensors(), before);
});

function growth(rounds: number, work: () => void): number {
  work();
  const before = Deno.memoryUsage().rss;
  for (let round = 0; round < rounds; round++) work();
  return (Deno.memoryUsage().rss - before) / MEBIBYTE;
}

Deno.test("1000 tensors of 4 MiB in scopes leave memory flat", () => {
  const grown = growth(1000, () => {
    using _scope = tensorScope();
    zeros([MEBIBYTE]);
  });
  assert.ok(grown < 64, `memory grew by ${grown} MiB`);
});

Deno.test("100 refused calls with a list and an optional leave memory flat", () => {
  const live = liveTensors();
  const grown = growth(100, () => {
    using _scope = tensorScope();
    const big = zeros([1024, 1024]);
    assert.throws(() => aten.cat([big, zeros([3])]), TorchError);
    assert.throws(() => aten.linear(big, zeros([5, 7]), big), TorchError);
  });
  assert.equal(liveTensors(), live);
  assert.ok(grown < 64, `memory grew by ${grown} MiB`);
});
