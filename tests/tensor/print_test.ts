/**
 * Tensors as text: values, shortening, and no tensor left behind.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  aten,
  fromData,
  full,
  liveTensors,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";

Deno.test("Tensor prints its type, shape and values", () => {
  using _scope = tensorScope();
  assert.equal(String(tensor(2.5)), "Tensor(float32[]) 2.5");
  assert.equal(
    Deno.inspect(tensor([[1, 2], [3, 4]], { dtype: "int64" })),
    "Tensor(int64[2, 2]) [[1, 2], [3, 4]]",
  );
  assert.equal(
    String(tensor([1 / 3, -Infinity, NaN, 1e-9])),
    "Tensor(float32[4]) [0.33333, -Infinity, NaN, 1e-9]",
  );
  assert.equal(String(tensor([[], []])), "Tensor(float32[2, 0]) [[], []]");
  const turned = aten.t(tensor([[1, 2, 3], [4, 5, 6]]));
  assert.equal(
    String(turned),
    "Tensor(float32[3, 2]) [[1, 4], [2, 5], [3, 6]]",
  );
});

Deno.test("Tensor prints the ends of a large tensor, and leaves nothing behind", () => {
  const values = Float32Array.from({ length: 7 * 2000 }, (_, index) => index);
  using large = fromData({
    dtype: "float32",
    shape: [7, 2000],
    bytes: new Uint8Array(values.buffer),
  });
  const before = liveTensors();
  const text = String(large);
  assert.equal(liveTensors(), before);
  assert(
    text.startsWith(
      "Tensor(float32[7, 2000]) [[0, 1, 2, ..., 1997, 1998, 1999], [2000, 2001, 2002,",
    ),
    text,
  );
  assert(text.endsWith("..., 13997, 13998, 13999]]"), text);
  assert.equal(text.split("...").length - 1, 7, text);
  using longest = full([1000], { value: 1 });
  assert.equal(String(longest).split("1, ").length, 1000);
  assert(!String(longest).includes("..."));
  using row = full([1001], { value: 1 });
  assert.equal(String(row), "Tensor(float32[1001]) [1, 1, 1, ..., 1, 1, 1]");
});

Deno.test("Tensor prints what it is after it was freed", () => {
  const x = tensor([1]);
  x[Symbol.dispose]();
  assert.equal(String(x), "Tensor(freed)");
});
