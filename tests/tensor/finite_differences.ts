/**
 * Gradients by central differences in float64, for any function of tensors. It
 * needs no reference implementation.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  aten,
  manualSeed,
  type Tensor,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";

const STEP = 1e-5;
const TOLERANCE = 1e-7;

/** Asserts that autograd's gradient of `run`'s weighted sum is that of differences. */
export function assertGradients(
  shapes: readonly (readonly number[])[],
  run: (...inputs: Tensor[]) => Tensor,
): void {
  using _scope = tensorScope();
  manualSeed(3);
  const inputs = shapes.map((shape) => aten.randn(shape, "float64"));
  const weight = aten.randn(run(...inputs).shape, "float64");
  const value = (): Tensor => aten.sum(aten.mul(run(...inputs), weight));
  for (const each of inputs) each.requireGrad();
  aten.backward(value(), inputs);
  const gradients = inputs.map((each) => each.grad!.toArray());
  for (const each of inputs) each.requireGrad(false);
  inputs.forEach((input, index) => {
    const memory = new Float64Array(
      input.unsafeBytes().buffer,
      0,
      input.size,
    );
    memory.forEach((before, at) => {
      using _inner = tensorScope();
      memory[at] = before + STEP;
      const above = value().item();
      memory[at] = before - STEP;
      const below = value().item();
      memory[at] = before;
      const slope = (above - below) / (2 * STEP);
      const error = Math.abs(slope - gradients[index]![at]!);
      assert.ok(
        error <= TOLERANCE * Math.max(1, Math.abs(slope)),
        `input ${index}, element ${at}: ${
          gradients[index]![at]
        }, by differences ${slope}`,
      );
    });
  });
}

/** A whole-number tensor, for indices. */
export function indices(...values: number[]): Tensor {
  return tensor(values, { dtype: "int64" });
}
