/**
 * AdamW (Loshchilov and Hutter, arXiv:1711.05101) with PyTorch's fused kernel:
 * `p ← p(1 − ηλ)`, `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`,
 * `p ← p − η/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)`.
 *
 * @module
 */

import {
  aten,
  DetachedScope,
  type Tensor,
  tensorScope,
  zeros,
} from "../tensor/mod.ts";
import type { FlatParameters } from "./flat_parameters.ts";

/** Numbers of {@linkcode AdamW}, with PyTorch's names and defaults. */
export interface AdamWOptions {
  /** `(β₁, β₂)`. Default `(0.9, 0.999)`. */
  readonly betas?: readonly [number, number];
  /** `ε`. Default 1e-8. */
  readonly eps?: number;
  /** `λ`. Default 0. */
  readonly weightDecay?: number;
}

/** The optimizer of flat parameters. */
export class AdamW implements Disposable {
  /** First moments `m`, flat as the parameters are. */
  readonly firstMoments: Tensor;
  /** Second moments `v`. */
  readonly secondMoments: Tensor;
  /** Steps taken so far. */
  steps = 0;
  readonly #parameters: FlatParameters;
  readonly #options: Required<AdamWOptions>;
  readonly #stepTensor: Tensor;

  /** Makes an optimizer with zero moments. */
  constructor(parameters: FlatParameters, options: AdamWOptions = {}) {
    using scope = new DetachedScope();
    const { device, shape } = parameters.values;
    this.#parameters = parameters;
    this.#options = {
      betas: options.betas ?? [0.9, 0.999],
      eps: options.eps ?? 1e-8,
      weightDecay: options.weightDecay ?? 0,
    };
    this.firstMoments = scope.keep(zeros(shape, { device }));
    this.secondMoments = scope.keep(zeros(shape, { device }));
    this.#stepTensor = scope.keep(zeros([], { device }));
  }

  /** Takes one step with the gradients as they are. */
  step(learningRate: number): void {
    using _scope = tensorScope();
    const { groups, values, gradients } = this.#parameters;
    const { betas, eps, weightDecay } = this.#options;
    this.steps++;
    this.#stepTensor.fill(this.steps);
    for (const { decays, start, end } of groups) {
      const part = (flat: Tensor): [Tensor] => [
        aten.slice(flat, 0, start, end),
      ];
      aten.fusedAdamW_(
        part(values),
        part(gradients),
        part(this.firstMoments),
        part(this.secondMoments),
        [],
        [this.#stepTensor],
        learningRate,
        betas[0],
        betas[1],
        decays ? weightDecay : 0,
        eps,
        false,
        false,
      );
    }
  }

  /** Frees the moments. */
  [Symbol.dispose](): void {
    this.firstMoments[Symbol.dispose]();
    this.secondMoments[Symbol.dispose]();
    this.#stepTensor[Symbol.dispose]();
  }
}
