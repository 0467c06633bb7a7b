/**
 * Numbers in and out of tensors, in every element type.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type DType, DTYPE_BYTES } from "../../lib/formats/dtype.ts";
import {
  asType,
  CPU,
  fromData,
  tensor,
  tensorScope,
  to,
  toData,
} from "../../lib/tensor/mod.ts";

Deno.test("tensor holds small whole numbers exactly in every dtype", () => {
  using _scope = tensorScope();
  for (const dtype of Object.keys(DTYPE_BYTES) as DType[]) {
    const values = dtype === "bool" ? [0, 1, 1] : [0, 1, 96];
    const made = tensor([values], { dtype });
    assert.equal(made.dtype, dtype);
    assert.deepEqual([...made.shape], [1, 3]);
    assert.deepEqual([...made.toArray()], values, dtype);
  }
});

Deno.test("tensor keeps int64 beyond 32 bits", () => {
  using ids = tensor([2 ** 53 - 1, -5], { dtype: "int64" });
  assert.deepEqual([...ids.toArray()], [2 ** 53 - 1, -5]);
});

Deno.test("to rounds to bfloat16 and float16 to the nearest even", () => {
  using _scope = tensorScope();
  // bfloat16 has 8 significant bits, float16 11
  const x = tensor([1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.14159, 65504]);
  const brain = to(x, { dtype: "bfloat16" });
  assert.deepEqual([...brain.toArray()], [1, 1 + 2 ** -6, 3.140625, 65536]);
  const half = to(x, { dtype: "float16" });
  assert.deepEqual([...half.toArray()], [
    1 + 2 ** -8,
    1 + 3 * 2 ** -8,
    3.140625,
    65504,
  ]);
});

Deno.test("to truncates towards zero for whole numbers, bool is not zero", () => {
  using _scope = tensorScope();
  const x = tensor([-1.9, 0, 2.9]);
  assert.deepEqual([...to(x, { dtype: "int64" }).toArray()], [-1, 0, 2]);
  assert.deepEqual([...to(x, { dtype: "bool" }).toArray()], [1, 0, 1]);
});

Deno.test("to gives a new handle of the same memory when nothing changes", () => {
  using _scope = tensorScope();
  const x = tensor([1, 2]);
  const same = to(x, { dtype: "float32", device: CPU });
  assert.notEqual(same, x);
  x.fill(9);
  assert.deepEqual([...same.toArray()], [9, 9]);
});

Deno.test("toData and fromData turn each other around, bit by bit", () => {
  using _scope = tensorScope();
  for (const dtype of Object.keys(DTYPE_BYTES) as DType[]) {
    const data = toData(tensor([[1, 0], [1, 1]], { dtype }));
    assert.equal(data.bytes.length, 4 * DTYPE_BYTES[dtype]);
    assert.deepEqual(toData(fromData(data)), data);
  }
});

Deno.test("tensor refuses rows of different length", () => {
  assert.throws(() => tensor([[1, 2], [3]]), {
    name: "RangeError",
    message: "Cannot make tensor: rows differ in length",
  });
});

Deno.test("asType() returns the tensor itself where it has the type, else a converted one", () => {
  using _scope = tensorScope();
  const x = tensor([1.5, 2]);
  assert.equal(asType(x, "float32"), x);
  const half = asType(x, "bfloat16");
  assert.equal(half.dtype, "bfloat16");
  assert.deepEqual([...half.toArray()], [1.5, 2]);
});
