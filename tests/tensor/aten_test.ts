/**
 * Autograd through the operators: against differences, into given buffers, off
 * and on.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries } from "../../ffi/mod.ts";
import {
  aten,
  enableGrad,
  full,
  noGrad,
  tensor,
  tensorScope,
  TorchError,
  zeros,
} from "../../lib/tensor/mod.ts";
import { assertGradients, indices } from "./finite_differences.ts";

/** libtorch hands out the words of its errors since 2.13. */
const givesWords =
  libraries().torch.torch_exception_get_what_without_backtrace !== null;

Deno.test("aten.mul has the gradient of differences, broadcast too", () => {
  assertGradients([[2, 3], [3]], (a, b) => aten.mul(a, b));
});

Deno.test("Tensor.add with alpha has the gradient of differences", () => {
  assertGradients([[2, 3], [3]], (a, b) => a.add(b, -2.5));
});

Deno.test("aten.linear has the gradient of differences", () => {
  assertGradients([[2, 3], [4, 3]], (x, w) => aten.linear(x, w));
});

Deno.test("aten.linear with a bias of the result's shape is a product and a sum in one", () => {
  assertGradients([[2, 3], [4, 3], [2, 4]], (x, w, b) => aten.linear(x, w, b));
  using _scope = tensorScope();
  const x = tensor([[1, 2]]);
  const w = tensor([[3, 4], [5, 6]]);
  const sum = aten.linear(x, w, tensor([[100, 200]]));
  assert.deepEqual([...sum.toArray()], [111, 217]);
});

Deno.test("aten.silu has the gradient of differences", () => {
  assertGradients([[5]], (x) => aten.silu(x));
});

Deno.test("aten.rmsNorm has the gradient of differences", () => {
  assertGradients([[2, 4], [4]], (x, w) => aten.rmsNorm(x, [4], w, 1e-5));
});

Deno.test("aten.scaledDotProductAttention has the gradient of differences", () => {
  const shape = [1, 2, 3, 4];
  assertGradients(
    [shape, shape, shape],
    (q, k, v) => aten.scaledDotProductAttention(q, k, v, null, 0, true),
  );
});

Deno.test("aten.crossEntropyLoss has the gradient of differences and skips -100", () => {
  assertGradients(
    [[4, 5]],
    (x) => aten.crossEntropyLoss(x, indices(1, -100, 4, 0)),
  );
});

Deno.test("aten.embedding has the gradient of differences", () => {
  assertGradients([[5, 3]], (w) => aten.embedding(w, indices(4, 0, 4)));
});

Deno.test("a complex product has the gradient of differences", () => {
  assertGradients([[3, 2], [3, 2]], (a, b) => {
    const product = aten.mul(aten.viewAsComplex(a), aten.viewAsComplex(b));
    return aten.viewAsReal(product);
  });
});

Deno.test("aten.backward adds gradients up and takes an incoming one", () => {
  using _scope = tensorScope();
  const w = tensor([1, 2]).requireGrad();
  const run = (): void => aten.backward(aten.mul(w, w), [w], tensor([1, 10]));
  run();
  assert.deepEqual([...w.grad!.toArray()], [2, 40]);
  run();
  assert.deepEqual([...w.grad!.toArray()], [4, 80]);
});

Deno.test("Tensor.setGrad makes autograd add into a view of one flat buffer", () => {
  using _scope = tensorScope();
  const flat = zeros([6]);
  const a = full([2], { value: 3 }).requireGrad();
  const b = full([2, 2], { value: 2 }).requireGrad();
  a.setGrad(aten.slice(flat, 0, 0, 2));
  b.setGrad(aten.view(aten.slice(flat, 0, 2, 6), [2, 2]));
  const run = (): void =>
    aten.backward(aten.sum(aten.mul(aten.mul(a, b), b)), [a, b]);
  run();
  assert.deepEqual([...flat.toArray()], [8, 8, 12, 12, 12, 12]);
  run();
  assert.deepEqual([...flat.toArray()], [16, 16, 24, 24, 24, 24]);
  aten.zero_(flat);
  assert.deepEqual([...a.grad!.toArray()], [0, 0]);
});

Deno.test("noGrad stops recording, enableGrad starts it again, blocks restore", () => {
  using _scope = tensorScope();
  const w = tensor([2]).requireGrad();
  const records = (): boolean => {
    try {
      aten.backward(aten.mul(w, w), [w]);
      return true;
    } catch (error) {
      assert.ok(error instanceof TorchError);
      return false;
    }
  };
  assert.equal(records(), true);
  {
    using _off = noGrad();
    assert.equal(records(), false);
    {
      using _on = enableGrad();
      assert.equal(records(), true);
    }
    assert.equal(records(), false);
  }
  assert.equal(records(), true);
});

Deno.test(
  "an operator that libtorch refuses throws TorchError with libtorch's own words",
  { ignore: !givesWords },
  () => {
    using _scope = tensorScope();
    assert.throws(() => aten.mm(zeros([2, 3]), zeros([2, 3])), {
      name: "TorchError",
      call: "aten::mm",
      message:
        "Cannot call aten::mm: mat1 and mat2 shapes cannot be multiplied " +
        "(2x3 and 2x3)",
    });
    assert.throws(() => aten.view(zeros([2, 3]), [4]), {
      name: "TorchError",
      message:
        "Cannot call aten::view: shape '[4]' is invalid for input of size 6",
    });
  },
);
