/**
 * Gated MLPs (Shazeer, arXiv:2002.05202): gate and input are two projections, or
 * fused into one.
 *
 * @module
 */

import { aten, type Tensor } from "../tensor/mod.ts";
import { type Activation, ACTIVATIONS } from "./activations.ts";
import { Linear, type Projection } from "./linear.ts";
import { Module } from "./module.ts";

/** Sizes of an MLP. */
export interface MlpOptions {
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Width of the intermediate layer. */
  readonly intermediateSize: number;
  /** The activation of the gate. */
  readonly activation: Activation;
  /** Whether the projections have biases. Default no. */
  readonly mlpBias?: boolean | undefined;
  /**
   * Whether `down_proj` stands before `up_proj` in the tree, whose order is that
   * in which fresh adapters are drawn. Default no.
   */
  readonly downBeforeUp?: boolean | undefined;
}

/** `residual + down(act(gate(x)) ∘ up(x))`. */
export class GatedMlp extends Module {
  /** Computes the gate: `[tokens, hidden]` to `[tokens, intermediate]`. */
  declare gate_proj: Projection;
  /** Computes what the gate is multiplied with; the same shape as the gate. */
  declare up_proj: Projection;
  /** Maps the product back: `[tokens, intermediate]` to `[tokens, hidden]`. */
  declare down_proj: Projection;
  readonly #activate: (gate: Tensor) => Tensor;

  /** Makes the three projections; their weights are loaded later. */
  constructor(options: MlpOptions) {
    super();
    const { hiddenSize, intermediateSize, mlpBias: bias = false } = options;
    const wide = {
      inFeatures: hiddenSize,
      outFeatures: intermediateSize,
      bias,
    };
    const down = new Linear({
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias,
    });
    this.gate_proj = new Linear(wide);
    // Fields stand in the tree in the order in which they are set.
    if (options.downBeforeUp) this.down_proj = down;
    this.up_proj = new Linear(wide);
    if (!options.downBeforeUp) this.down_proj = down;
    this.#activate = ACTIVATIONS[options.activation];
  }

  /** Maps `[tokens, hidden]`, and adds `residual` when given. */
  forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const gate = this.#activate(this.gate_proj.forward(input));
    return this.down_proj.forward(
      aten.mul(gate, this.up_proj.forward(input)),
      residual,
    );
  }
}

/** `down(act(gate) ∘ up)`, where one projection gives `[gate | up]`. */
export class FusedGatedMlp extends Module {
  /** Computes both: `[tokens, hidden]` to `[tokens, 2·intermediate]`, the gate first. */
  gate_up_proj: Projection;
  /** Maps the product back: `[tokens, intermediate]` to `[tokens, hidden]`. */
  down_proj: Projection;
  readonly #options: MlpOptions;

  /** Makes the two projections; their weights are loaded later. */
  constructor(options: MlpOptions) {
    super();
    const { hiddenSize, intermediateSize, mlpBias: bias = false } = options;
    this.gate_up_proj = new Linear({
      inFeatures: hiddenSize,
      outFeatures: 2 * intermediateSize,
      bias,
    });
    this.down_proj = new Linear({
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias,
    });
    this.#options = options;
  }

  /** Maps `[tokens, hidden]`, and adds `residual` when given. */
  forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const { intermediateSize, activation } = this.#options;
    const both = this.gate_up_proj.forward(input);
    return this.down_proj.forward(
      gated(both, { intermediateSize, activation }),
      residual,
    );
  }
}

/** `act(gate) ∘ up` of `[gate | up]`: `[tokens, 2·intermediate]` to half of it. */
export function gated(
  both: Tensor,
  options: Pick<MlpOptions, "intermediateSize" | "activation">,
): Tensor {
  const { intermediateSize: size, activation } = options;
  const gate = aten.slice(both, 1, 0, size);
  const up = aten.slice(both, 1, size, 2 * size);
  return aten.mul(ACTIVATIONS[activation](gate), up);
}
