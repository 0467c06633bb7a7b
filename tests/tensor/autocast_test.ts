/**
 * Autocast: matrix products in half precision, and only inside the block.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  aten,
  autocast,
  CPU,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";

Deno.test("autocast runs products in bfloat16 until the block ends", () => {
  using _scope = tensorScope();
  const x = tensor([[1, 2], [3, 4]]);
  {
    using _half = autocast(CPU, "bfloat16");
    assert.equal(aten.linear(x, x).dtype, "bfloat16");
    assert.equal(aten.silu(x).dtype, "float32");
  }
  assert.equal(aten.linear(x, x).dtype, "float32");
});

Deno.test("autocast gives the master weights a float32 gradient", () => {
  using _scope = tensorScope();
  const w = tensor([[1, 2], [3, 4]]).requireGrad();
  {
    using _half = autocast(CPU, "bfloat16");
    const out = aten.linear(tensor([[1, 1]]), w);
    aten.backward(aten.sum(out, "float32"), [w]);
  }
  assert.equal(w.grad?.dtype, "float32");
  assert.deepEqual([...w.grad.toArray()], [1, 1, 1, 1]);
});
