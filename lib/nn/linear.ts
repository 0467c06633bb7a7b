/**
 * `y = x Wᵀ + b`, and `Projection`, the class of layers that adapters can wrap.
 *
 * @module
 */

import { aten, autocastIsOn, type Tensor } from "../tensor/mod.ts";
import { Module, type ParameterSpec } from "./module.ts";

/** A layer that maps the last dimension, and can add a residual. */
export abstract class Projection extends Module {
  /** Size of the last dimension of the input. */
  abstract readonly inFeatures: number;
  /** Size of the last dimension of the output. */
  abstract readonly outFeatures: number;

  /**
   * Maps `input` of shape `[rows, inFeatures]` to `[rows, outFeatures]` and adds
   * `residual`, which has that shape: a matrix product that starts from a value
   * costs less than a product and a sum.
   */
  abstract forward(input: Tensor, residual?: Tensor | null): Tensor;
}

/** Sizes of a {@linkcode Linear}. */
export interface LinearOptions {
  /** Size of the last dimension of the input. */
  readonly inFeatures: number;
  /** Size of the last dimension of the output. */
  readonly outFeatures: number;
  /** Whether it has a bias. Default no. */
  readonly bias?: boolean;
}

/** `torch.nn.Linear`; weights are set when a checkpoint is loaded. */
export class Linear extends Projection {
  /** Size of the last dimension of the input. */
  override readonly inFeatures: number;
  /** Size of the last dimension of the output. */
  override readonly outFeatures: number;
  /** Whether the layer has a bias. */
  readonly hasBias: boolean;
  /** `[outFeatures, inFeatures]` */
  declare weight: Tensor;
  /** `[outFeatures]` */
  declare bias: Tensor | undefined;

  /** Makes a layer; its weights are loaded later. */
  constructor(options: LinearOptions) {
    super();
    this.inFeatures = options.inFeatures;
    this.outFeatures = options.outFeatures;
    this.hasBias = options.bias ?? false;
  }

  /** The weight, and the bias where there is one. */
  override parameterSpecs(): readonly ParameterSpec[] {
    const { inFeatures, outFeatures } = this;
    const weight = {
      name: "weight",
      shape: [outFeatures, inFeatures],
      init: "normal",
    } as const;
    return this.hasBias
      ? [weight, { name: "bias", shape: [outFeatures], init: "zeros" }]
      : [weight];
  }

  /** Maps `[rows, inFeatures]` to `[rows, outFeatures]`, with `residual` added when given. */
  override forward(input: Tensor, residual: Tensor | null = null): Tensor {
    if (this.bias === undefined) {
      return linearPlus(input, { weight: this.weight, start: residual });
    }
    const output = aten.linear(input, this.weight, this.bias);
    return residual === null ? output : output.add(residual);
  }
}

/**
 * `start + input weightᵀ` in one product. While autocast is on, it is a product
 * and a sum: autocast would round `start`, and so a float32 residual stream, to
 * half precision.
 */
export function linearPlus(
  input: Tensor,
  options: { readonly weight: Tensor; readonly start: Tensor | null },
): Tensor {
  const { weight, start } = options;
  if (start === null || !autocastIsOn()) {
    return aten.linear(input, weight, start);
  }
  return start.add(aten.linear(input, weight));
}
