/**
 * Linear layers: sizes, bias and the sum with a residual, against plain numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { Linear, linearPlus } from "../../lib/nn/mod.ts";
import {
  aten,
  autocast,
  CPU,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";

Deno.test("Linear.forward() is x Wᵀ + b + residual, each of the two left out or not", () => {
  using _scope = tensorScope();
  const weight = tensor([[1, 2], [3, 4], [5, 6]]);
  const input = tensor([[1, 10], [2, 20]]);
  const residual = tensor([[100, 200, 300], [400, 500, 600]]);
  const plain = [21, 43, 65, 42, 86, 130];
  const rest = [100, 200, 300, 400, 500, 600];
  for (const bias of [null, [7, 8, 9]]) {
    const layer = new Linear({
      inFeatures: 2,
      outFeatures: 3,
      bias: bias !== null,
    });
    layer.setParameter("weight", weight);
    if (bias !== null) layer.setParameter("bias", tensor(bias));
    const expected = plain.map((each, at) => each + (bias?.[at % 3] ?? 0));
    assert.deepEqual([...layer.forward(input).toArray()], expected);
    assert.deepEqual(
      [...layer.forward(input, residual).toArray()],
      expected.map((each, at) => each + rest[at]!),
    );
  }
});

Deno.test("Linear.forward() passes gradients to input, weight, bias and residual", () => {
  using _scope = tensorScope();
  const layer = new Linear({ inFeatures: 2, outFeatures: 1, bias: true });
  const leaves = {
    weight: tensor([[3, 4]]).requireGrad(),
    bias: tensor([5]).requireGrad(),
    input: tensor([[1, 2], [10, 20]]).requireGrad(),
    residual: tensor([[0], [0]]).requireGrad(),
  };
  layer.setParameter("weight", leaves.weight);
  layer.setParameter("bias", leaves.bias);
  const output = layer.forward(leaves.input, leaves.residual);
  aten.backward(aten.sum(output), Object.values(leaves));
  const gradients = Object.values(leaves).map((each) => [
    ...each.grad!.toArray(),
  ]);
  assert.deepEqual(gradients, [[11, 22], [2], [3, 4, 3, 4], [1, 1]]);
});

Deno.test("linearPlus() keeps a float32 start value whole while autocast is on", () => {
  using _scope = tensorScope();
  const [input, weight] = [tensor([[1, 2]]), tensor([[3, 4]])];
  const start = tensor([[1 / 1024]]);
  const sum = (): { dtype: string; value: number } => {
    const output = linearPlus(input, { weight, start });
    return { dtype: output.dtype, value: output.item() };
  };
  const expected = { dtype: "float32", value: 11 + 1 / 1024 };
  assert.deepEqual(sum(), expected);
  {
    using _half = autocast(CPU, "bfloat16");
    assert.deepEqual(sum(), expected);
    assert.equal(linearPlus(input, { weight, start: null }).dtype, "bfloat16");
  }
  assert.deepEqual(sum(), expected);
});
