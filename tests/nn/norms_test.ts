/**
 * Norms and activations against their formulas in plain numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { DType } from "../../lib/formats/dtype.ts";
import {
  ACTIVATION_NAMES,
  ACTIVATIONS,
  CentredRmsNorm,
  LayerNorm,
  RmsNorm,
} from "../../lib/nn/mod.ts";
import {
  aten,
  manualSeed,
  type Tensor,
  tensor,
  tensorScope,
  to,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

const SIZE = 6;
const EPS = 0.01;

/** Each row of `SIZE` numbers of `input` through `norm`. */
function byRow(input: Tensor, norm: (row: number[]) => number[]): number[] {
  const numbers = [...input.toArray()];
  return Array.from(
    { length: numbers.length / SIZE },
    (_, row) => norm(numbers.slice(row * SIZE, (row + 1) * SIZE)),
  ).flat();
}

function mean(row: readonly number[]): number {
  return row.reduce((sum, each) => sum + each, 0) / row.length;
}

function rms(row: readonly number[]): number {
  return Math.sqrt(mean(row.map((each) => each * each)) + EPS);
}

function random(shape: readonly number[], dtype: DType): Tensor {
  return to(aten.randn(shape), { dtype });
}

/** How far one rounding to `dtype` may be, relative to the largest number. */
const ROUNDING = { float32: 1e-6, bfloat16: 2 ** -8 } as const;

for (const dtype of ["float32", "bfloat16"] as const) {
  Deno.test(`RmsNorm and CentredRmsNorm of ${dtype} are their formulas, rounded once`, () => {
    using _scope = tensorScope();
    manualSeed(1);
    const input = random([4, SIZE], dtype);
    for (
      const [norm, offset] of [
        [new RmsNorm(SIZE, EPS), 0],
        [new CentredRmsNorm(SIZE, EPS), 1],
      ] as const
    ) {
      norm.weight = random([SIZE], dtype);
      const weight = norm.weight.toArray();
      const normed = norm.forward(input);
      assert.equal(normed.dtype, dtype);
      const expected = byRow(
        input,
        (row) => row.map((x, i) => x / rms(row) * (weight[i]! + offset)),
      );
      assertClose(normed.toArray(), expected, { limit: ROUNDING[dtype] });
    }
  });

  Deno.test(`LayerNorm of ${dtype} is its formula, with a bias and without, for all heads or each its own`, () => {
    using _scope = tensorScope();
    manualSeed(1);
    const input = random([2, 3, SIZE], dtype);
    for (const shape of [[SIZE], [3, SIZE]]) {
      for (const bias of [true, false]) {
        const norm = new LayerNorm(shape, { eps: EPS, bias });
        const names = norm.parameterSpecs().map(({ name }) => name);
        assert.deepEqual(names, bias ? ["weight", "bias"] : ["weight"]);
        norm.weight = random(shape, dtype);
        if (bias) norm.bias = random(shape, dtype);
        const [weight, added] = [norm.weight, norm.bias].map((each) =>
          each?.toArray()
        );
        let at = -SIZE;
        const expected = byRow(input, (row) => {
          at = shape.length === 1 ? 0 : (at + SIZE) % weight!.length;
          const centred = row.map((x) => x - mean(row));
          return centred.map((x, i) =>
            x / rms(centred) * weight![at + i]! + (added?.[at + i] ?? 0)
          );
        });
        const normed = norm.forward(input);
        assert.equal(normed.dtype, dtype);
        assertClose(normed.toArray(), expected, {
          limit: 3 * ROUNDING[dtype],
          what: `${shape} ${bias}`,
        });
      }
    }
  });
}

Deno.test("CentredRmsNorm of bfloat16 rounds each number once", () => {
  using _scope = tensorScope();
  manualSeed(1);
  const input = random([500, SIZE], "bfloat16");
  const norm = new CentredRmsNorm(SIZE, EPS);
  norm.weight = random([SIZE], "bfloat16");
  const weight = norm.weight.toArray();
  const expected = byRow(
    input,
    (row) => row.map((x, i) => x / rms(row) * (1 + weight[i]!)),
  );
  norm.forward(input).toArray().forEach((made, at) => {
    const error = Math.abs(made / expected[at]! - 1);
    assert(error < 1.001 * 2 ** -8, `${made} is not ${expected[at]}`);
  });
});

/** The tanh form of GELU. */
function tanhGelu(x: number): number {
  const inner = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
  return 0.5 * x * (1 + Math.tanh(inner));
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** What each activation makes of 1.5 and −0.7, by name. */
const FORMULAS: Readonly<Record<string, (x: number) => number>> = {
  silu: (x) => x * sigmoid(x),
  swish: (x) => x * sigmoid(x),
  gelu_pytorch_tanh: tanhGelu,
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  quick_gelu: (x) => x * sigmoid(1.702 * x),
  relu: (x) => Math.max(x, 0),
  relu2: (x) => Math.max(x, 0) ** 2,
  sigmoid,
  tanh: Math.tanh,
};

/** x·Φ(x) of 1.5 and −0.7, from a table of the normal distribution. */
const EXACT_GELU = [1.5 * 0.9331928, -0.7 * 0.2419637];

Deno.test("ACTIVATIONS are what transformers means by their names", () => {
  using _scope = tensorScope();
  const input = [1.5, -0.7];
  for (const name of ACTIVATION_NAMES) {
    const formula = FORMULAS[name];
    const expected = formula === undefined ? EXACT_GELU : input.map(formula);
    const made = ACTIVATIONS[name](tensor(input)).toArray();
    assertClose(made, expected, { limit: 1e-6, what: name });
  }
});
