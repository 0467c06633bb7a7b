/**
 * The faster products of few rows, against the plain product.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type FewRowsProduct, Linear } from "../../lib/nn/mod.ts";
import {
  aten,
  liveTensors,
  type Tensor,
  tensorScope,
  to,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

/** A layer with a bias; `shape` is that of its weight. */
function layerOf(shape: readonly [number, number]): Linear {
  const [outFeatures, inFeatures] = shape;
  const layer = new Linear({ inFeatures, outFeatures, bias: true });
  layer.setParameter("weight", aten.randn([...shape]));
  layer.setParameter("bias", aten.randn([outFeatures]));
  return layer;
}

/** How often the columns of a copy are read shows in a copy that differs. */
function speedUp(layer: Linear): FewRowsProduct {
  const product = layer.speedUpFewRows();
  assert.ok(product !== null);
  product.copyColumns();
  return product;
}

for (const rows of [1, 2, 7, 16, 17]) {
  Deno.test(`Linear.speedUpFewRows() changes no value of ${rows} rows, with bias and residual`, () => {
    using _scope = tensorScope();
    const layer = layerOf([24, 8]);
    const input = aten.randn([rows, 8]);
    const residual = aten.randn([rows, 24]);
    const both = (): Tensor[] => [
      layer.forward(input),
      layer.forward(input, residual),
    ];
    const plain = both();
    using _product = speedUp(layer);
    both().forEach((each, index) => {
      assert.deepEqual(each.shape, [rows, 24]);
      assert.ok(each.contiguous);
      assertClose(each.toArray(), [...plain[index]!.toArray()], {
        limit: 1e-5,
      });
    });
  });
}

Deno.test("Linear.speedUpFewRows() reads the copy for one row only, until it is disposed", () => {
  using _scope = tensorScope();
  const layer = layerOf([24, 8]);
  layer.bias!.fill(0);
  const input = aten.randn([3, 8]);
  const one = aten.slice(input, 0, 0, 1);
  const read = (): boolean[] =>
    [one, input].map((each) => layer.forward(each).toArray().some(Boolean));
  {
    using _product = speedUp(layer);
    // The copy does not see that the weight is zero now.
    layer.weight.fill(0);
    assert.deepEqual(read(), [true, false]);
  }
  assert.deepEqual(read(), [false, false]);
  assert.equal(layer.fewRows, null);
});

Deno.test("Linear.speedUpFewRows() refuses what it would not speed up, and a second user", () => {
  using _scope = tensorScope();
  assert.equal(layerOf([8, 24]).speedUpFewRows(), null);
  assert.equal(layerOf([15, 8]).speedUpFewRows(), null);
  const half = layerOf([24, 8]);
  half.setParameter("weight", to(half.weight, { dtype: "bfloat16" }));
  assert.equal(half.speedUpFewRows(), null);
  const layer = layerOf([24, 8]);
  using product = layer.speedUpFewRows();
  assert.equal(layer.speedUpFewRows(), null);
  assert.equal(layer.fewRows, product);
});

Deno.test("FewRowsProduct frees its copy, which is made once", () => {
  using _scope = tensorScope();
  const layer = layerOf([24, 8]);
  const before = liveTensors();
  const inner = tensorScope();
  const product = speedUp(layer);
  product.copyColumns();
  assert.equal(product.copyBytes, 4 * 24 * 8);
  inner[Symbol.dispose]();
  assert.equal(liveTensors(), before + 1);
  product[Symbol.dispose]();
  assert.equal(liveTensors(), before);
});
