/**
 * Tensors as objects: what they say of themselves, their memory and their end.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  aten,
  CPU,
  empty,
  fromData,
  full,
  liveTensors,
  tensor,
  tensorScope,
  zeros,
} from "../../lib/tensor/mod.ts";
import { bytesInUse, CAN_COUNT_BYTES } from "../native_memory.ts";

Deno.test("Tensor says its shape, size, dtype, device and layout", () => {
  using x = empty([2, 3], { dtype: "int32" });
  assert.deepEqual([...x.shape], [2, 3]);
  assert.equal(x.size, 6);
  assert.equal(x.dtype, "int32");
  assert.deepEqual(x.device, CPU);
  assert.equal(x.contiguous, true);
  using turned = aten.t(x);
  assert.deepEqual([...turned.shape], [3, 2]);
  assert.equal(turned.contiguous, false);
});

Deno.test("Tensor of no dimension is a scalar, of a zero dimension empty", () => {
  using scalar = tensor(3.5);
  assert.deepEqual([...scalar.shape], []);
  assert.equal(scalar.item(), 3.5);
  using none = zeros([0, 4]);
  assert.equal(none.size, 0);
  assert.deepEqual([...none.toArray()], []);
});

Deno.test("full and zeros fill every dtype", () => {
  using _scope = tensorScope();
  for (
    const dtype of ["float64", "float32", "bfloat16", "int64", "uint8"] as const
  ) {
    assert.deepEqual([...full([2], { dtype, value: 3 }).toArray()], [3, 3]);
    assert.deepEqual([...zeros([1], { dtype }).toArray()], [0]);
  }
});

Deno.test("Tensor.add adds floats with alpha and whole numbers as they are", () => {
  using _scope = tensorScope();
  assert.deepEqual([...tensor([1, 2]).add(tensor([10]), 0.5).toArray()], [
    6,
    7,
  ]);
  const whole = tensor([1, 2], { dtype: "int64" });
  const sum = whole.add(tensor([2 ** 40], { dtype: "int64" }));
  assert.equal(sum.dtype, "int64");
  assert.deepEqual([...sum.toArray()], [2 ** 40 + 1, 2 ** 40 + 2]);
});

Deno.test("Tensor.item refuses more than one element and shows the shape", () => {
  using x = zeros([2, 1]);
  assert.throws(() => x.item(), {
    name: "TypeError",
    message:
      "Cannot take item of tensor of shape [2, 1]: it must have one element",
  });
});

Deno.test("Tensor.unsafeBytes is the memory itself and refuses gaps", () => {
  using x = zeros([2, 2]);
  new Float32Array(x.unsafeBytes().buffer)[3] = 7;
  assert.deepEqual([...x.toArray()], [0, 0, 0, 7]);
  using turned = aten.t(x);
  assert.throws(() => turned.unsafeBytes(), { name: "TypeError" });
  assert.deepEqual([...turned.toArray()], [0, 0, 0, 7]);
});

Deno.test("fromData copies its bytes", () => {
  const bytes = new Uint8Array(new Float32Array([1, 2]).buffer);
  using x = fromData({ dtype: "float32", shape: [2], bytes });
  bytes.fill(0);
  assert.deepEqual([...x.toArray()], [1, 2]);
});

Deno.test("Tensor cannot be used once freed, freeing twice is harmless", () => {
  const before = liveTensors();
  const x = tensor([1]);
  assert.equal(liveTensors(), before + 1);
  x[Symbol.dispose]();
  x[Symbol.dispose]();
  assert.equal(liveTensors(), before);
  assert.equal(x.disposed, true);
  assert.throws(() => aten.neg(x), {
    name: "TypeError",
    message: "Cannot use tensor: it has been freed",
  });
});

Deno.test("Tensor views keep the memory when their base is freed", () => {
  const base = tensor([[1, 2], [3, 4]]);
  using row = aten.slice(base, 0, 1, 2);
  base[Symbol.dispose]();
  assert.deepEqual([...row.toArray()], [3, 4]);
});

Deno.test("Tensor.grad is null until backward has run", () => {
  using w = tensor([1, 2]).requireGrad();
  assert.equal(w.grad, null);
  using sum = aten.sum(w);
  aten.backward(sum, [w]);
  using gradient = w.grad!;
  assert.deepEqual([...gradient.toArray()], [1, 1]);
});

Deno.test({
  name:
    "Tensor asks libtorch for a gradient, shape and type without memory that waits for the garbage collector",
  ignore: !CAN_COUNT_BYTES,
  fn(): void {
    using x = tensor([1, 2]).requireGrad();
    using gradient = tensor([3, 4]);
    x.setGrad(gradient);
    const grown = Array.from({ length: 9 }, () => {
      const before = bytesInUse();
      for (let time = 0; time < 1000; time++) {
        using own = x.grad!;
        if (own.shape[0] !== 2 || own.dtype !== "float32") throw new Error();
      }
      return bytesInUse() - before;
    });
    // A compiler or collector of V8 may run in some rounds.
    const median = grown.toSorted((a, b) => a - b)[4]!;
    assert.ok(median < 20_000, `${median} bytes more`);
  },
});
