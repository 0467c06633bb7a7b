/**
 * What this machine can do at most, to set a step's parts beside: matrix products
 * in a model's own shapes, the fused attention kernel, and memory.
 *
 * @module
 */

import type { DType } from "../lib/formats/dtype.ts";
import {
  aten,
  CPU,
  empty,
  manualSeed,
  noGrad,
  type Tensor,
  tensorScope,
} from "../lib/tensor/mod.ts";

/** Rates of the machine. */
export interface MachineLimits {
  /** Billions of floating-point operations a second in the frozen projections, forward and backward. */
  readonly productGflops: number;
  /** The same in causal attention, forward. */
  readonly attentionGflops: number;
  /** Billions of bytes a second that a copy of a large tensor reads and writes. */
  readonly memoryGbs: number;
}

/** The shapes whose rates are measured. */
export interface LimitShape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly intermediate: number;
  /** Tokens of a batch. */
  readonly tokens: number;
  /** Tokens of a row. */
  readonly length: number;
}

const REPEATS = 3;
const COPIED_BYTES = 2 ** 28;

/** The fewest seconds that `run` takes. */
function fastest(run: () => void): number {
  let best = Infinity;
  for (let repeat = 0; repeat <= REPEATS; repeat++) {
    using _scope = tensorScope();
    const started = performance.now();
    run();
    const took = (performance.now() - started) / 1000;
    if (repeat > 0) best = Math.min(best, took);
  }
  return best;
}

/** Inputs and outputs of the seven projections of a layer. */
function projections(
  { hidden, heads, keyHeads, intermediate }: LimitShape,
): [number, number][] {
  const keys = hidden * keyHeads / heads;
  return [
    [hidden, hidden],
    [hidden, keys],
    [hidden, keys],
    [hidden, hidden],
    [hidden, intermediate],
    [hidden, intermediate],
    [intermediate, hidden],
  ];
}

/** Operations of the frozen projections in a step: each product forward, and once more for the input's gradient. */
export function productFlops(shape: LimitShape): number {
  const weights = projections(shape)
    .reduce((sum, [inputs, outputs]) => sum + inputs * outputs, 0);
  return 4 * shape.tokens * weights * shape.layers;
}

function random(shape: readonly number[], dtype: DType): Tensor {
  return aten.normal_(empty(shape, { dtype }), 0, 0.02);
}

function productRate(shape: LimitShape, dtype: DType): number {
  using _scope = tensorScope();
  const { tokens } = shape;
  const cases = projections(shape).map(([inputs, outputs]) => ({
    input: random([tokens, inputs], dtype),
    weight: random([outputs, inputs], dtype),
    gradient: random([tokens, outputs], dtype),
  }));
  const seconds = fastest(() => {
    for (const { input, weight, gradient } of cases) {
      aten.linear(input, weight);
      aten.mm(gradient, weight);
    }
  });
  return productFlops({ ...shape, layers: 1 }) / seconds / 1e9;
}

function attentionRate(shape: LimitShape, dtype: DType): number {
  using _scope = tensorScope();
  const { heads, hidden, length } = shape;
  const size = hidden / heads;
  const [query, keys, values] = [0, 1, 2].map(() =>
    random([1, heads, length, size], dtype)
  ) as [Tensor, Tensor, Tensor];
  const seconds = fastest(() => {
    aten.flashAttention(query, keys, values, 0, true, null, size ** -0.5);
  });
  // two products of half a square each
  return 2 * heads * length ** 2 * size / seconds / 1e9;
}

function memoryRate(): number {
  using _scope = tensorScope();
  const count = COPIED_BYTES / 4;
  const [from, to] = [empty([count]), empty([count])];
  aten.normal_(from, 0, 1);
  const seconds = fastest(() => void aten.copy_(to, from));
  return 2 * COPIED_BYTES / seconds / 1e9;
}

/** Measures the machine; a second or two for a small model. */
export function machineLimits(shape: LimitShape, dtype: DType): MachineLimits {
  using _frozen = noGrad();
  manualSeed(0, CPU);
  return {
    productGflops: productRate(shape, dtype),
    attentionGflops: attentionRate(shape, dtype),
    memoryGbs: memoryRate(),
  };
}

/**
 * The limits as lines for a terminal, and how long the frozen projections of a step
 * would take at that rate.
 */
export function describeLimits(
  { productGflops, attentionGflops, memoryGbs }: MachineLimits,
  shape: LimitShape,
): string {
  const least = productFlops(shape) / productGflops / 1e6;
  return [
    `the machine: products in these shapes ${productGflops.toFixed(0)} ` +
    `GFLOP/s, causal attention of ${shape.length} tokens ` +
    `${attentionGflops.toFixed(0)} GFLOP/s, memory ${
      memoryGbs.toFixed(1)
    } GB/s`,
    `at that rate the frozen projections of a step of ${shape.tokens} tokens ` +
    `take ${least.toFixed(0)} ms`,
  ].join("\n");
}
