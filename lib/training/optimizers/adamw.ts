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
} from "../../tensor/mod.ts";
import {
  type FlatEntry,
  type FlatParameters,
  viewOf,
} from "../flat_parameters.ts";
import {
  type Optimizer,
  type OptimizerDefinition,
  type OptimizerSetting,
  optimSettings,
} from "../optimizer.ts";

/** `--optim adamw_torch_fused`, the default. */
export const ADAMW: OptimizerDefinition = {
  names: ["adamw_torch_fused", "adamw_torch"],
  create: (parameters, args) => {
    optimSettings({}, args);
    return new AdamW(parameters, {
      betas: [args.adam_beta1, args.adam_beta2],
      eps: args.adam_epsilon,
      weightDecay: args.weight_decay,
    });
  },
};

/** Options of {@linkcode AdamW}, with PyTorch's names and defaults. */
export interface AdamWOptions {
  /** `(β₁, β₂)`. Default `(0.9, 0.999)`. */
  readonly betas?: readonly [number, number];
  /** `ε`. Default 1e-8. */
  readonly eps?: number;
  /** `λ`. Default 0. */
  readonly weightDecay?: number;
}

/** AdamW on flat parameters. */
export class AdamW implements Optimizer {
  readonly scalars = { step: 0 };
  readonly settings: Readonly<Record<string, OptimizerSetting>>;
  readonly weightDecay: number;
  readonly #parameters: FlatParameters;
  readonly #betas: readonly [number, number];
  readonly #eps: number;
  /** `m` and `v`, as flat tensors like the parameters. */
  readonly #firstMoments: Tensor;
  readonly #secondMoments: Tensor;
  readonly #stepTensor: Tensor;

  /** Makes an optimizer whose moments are zero. */
  constructor(parameters: FlatParameters, options: AdamWOptions = {}) {
    using scope = new DetachedScope();
    const { device, shape } = parameters.values;
    this.#parameters = parameters;
    this.#betas = options.betas ?? [0.9, 0.999];
    this.#eps = options.eps ?? 1e-8;
    this.weightDecay = options.weightDecay ?? 0;
    this.settings = {
      betas: this.#betas,
      eps: this.#eps,
      amsgrad: false,
      maximize: false,
      foreach: null,
      capturable: false,
      differentiable: false,
      fused: true,
      decoupled_weight_decay: true,
    };
    this.#firstMoments = scope.keep(zeros(shape, { device }));
    this.#secondMoments = scope.keep(zeros(shape, { device }));
    this.#stepTensor = scope.keep(zeros([], { device }));
  }

  /** Views of the moments of `parameter`. */
  stateOf(parameter: FlatEntry): Readonly<Record<string, Tensor>> {
    return {
      exp_avg: viewOf(this.#firstMoments, parameter),
      exp_avg_sq: viewOf(this.#secondMoments, parameter),
    };
  }

  /** Takes one step with the present gradients. */
  step(learningRate: number): void {
    using _scope = tensorScope();
    const { groups, values, gradients } = this.#parameters;
    this.scalars.step++;
    this.#stepTensor.fill(this.scalars.step);
    for (const { decays, rate, start, end } of groups) {
      const part = (flat: Tensor): [Tensor] => [
        aten.slice(flat, 0, start, end),
      ];
      aten.fusedAdamW_(
        part(values),
        part(gradients),
        part(this.#firstMoments),
        part(this.#secondMoments),
        [],
        [this.#stepTensor],
        learningRate * rate,
        this.#betas[0],
        this.#betas[1],
        decays ? this.weightDecay : 0,
        this.#eps,
        false,
        false,
      );
    }
  }

  /** Frees the moments. */
  [Symbol.dispose](): void {
    this.#firstMoments[Symbol.dispose]();
    this.#secondMoments[Symbol.dispose]();
    this.#stepTensor[Symbol.dispose]();
  }
}
