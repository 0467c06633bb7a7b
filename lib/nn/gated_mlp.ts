/**
 * Gated MLPs (Shazeer, arXiv:2002.05202): gate and input are two projections, or
 * fused into one.
 *
 * @module
 */

import { aten, recordingTape, type Tensor } from "../tensor/mod.ts";
import {
  type Activation,
  ACTIVATION_GRADIENTS,
  ACTIVATIONS,
} from "./activations.ts";
import { Linear, type Projection, pullbackOf } from "./linear.ts";
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
  readonly #activation: Activation;

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
    this.#activation = options.activation;
  }

  /** Maps `[tokens, hidden]`, and adds `residual` when given. */
  forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const parts = [this.gate_proj.forward(input), this.up_proj.forward(input)];
    const activation = this.#activation;
    return mapGated(this.down_proj, parts, { activation, residual });
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
    const { activation } = this.#options;
    const both = this.gate_up_proj.forward(input);
    return mapGated(this.down_proj, [both], { activation, residual });
  }
}

/**
 * `residual + down(act(gate) ∘ up)`; `parts` are gate and up, `[tokens, intermediate]`
 * each, or one tensor `[gate | up]` of twice that width.
 *
 * On a tape only the parts are kept: what `down` reads is computed again for the
 * gradient.
 */
export function mapGated(
  down: Projection,
  parts: readonly Tensor[],
  options: {
    readonly activation: Activation;
    readonly residual: Tensor | null;
  },
): Tensor {
  const { activation, residual } = options;
  const act = ACTIVATIONS[activation];
  const backward = ACTIVATION_GRADIENTS[activation];
  const pullback = pullbackOf(down, parts[0]!);
  const read = residual === null ? parts : [...parts, residual];
  const tape = recordingTape([...read, ...pullback?.parameters ?? []]);
  const [gate, up] = halves(parts);
  if (pullback === null || backward === undefined || tape === null) {
    return down.forward(aten.mul(act(gate), up), residual);
  }
  const wanted = parts.some((each) => each.isRecorded);
  return tape.record(read, (save) => {
    const kept = parts.map(save);
    const product = aten.mul(act(gate), up);
    const { output, pull } = pullback.forward(product, residual, save);
    const own = (gradient: Tensor): readonly (Tensor | null)[] => {
      const [gate, up] = halves(kept);
      const opened = act(gate);
      const input = aten.mul(opened, up);
      const inner = pull(gradient, { input, sum: null, wanted });
      if (inner === null) return parts.map(() => null);
      const forUp = aten.mul_(opened, inner);
      const forGate = backward(aten.mul_(inner, up), gate);
      return parts.length === 1
        ? [aten.cat([forGate, forUp], 1)]
        : [forGate, forUp];
    };
    return {
      output,
      pull: (gradient) =>
        residual === null ? own(gradient) : [...own(gradient), gradient],
    };
  });
}

/** Gate and up. */
function halves(parts: readonly Tensor[]): readonly [Tensor, Tensor] {
  const [first, second] = parts as readonly [Tensor, Tensor?];
  if (second !== undefined) return [first, second];
  const size = first.shape[1]! / 2;
  return [aten.slice(first, 1, 0, size), aten.slice(first, 1, size, 2 * size)];
}
