/**
 * Root mean square norm (Zhang and Sennrich, arXiv:1910.07467).
 *
 * @module
 */

import { aten, type Tensor } from "../tensor/mod.ts";
import { Module, type ParameterSpec } from "./module.ts";

/** `y = w ∘ x / √(mean(x²) + ε)` over the last dimension, in `float32` inside. */
export class RmsNorm extends Module {
  /** `[size]` */
  declare weight: Tensor;

  /** Makes a norm over `size` elements without weights. */
  constructor(readonly size: number, readonly eps: number) {
    super();
  }

  /** The weight of each element. */
  override parameterSpecs(): readonly ParameterSpec[] {
    return [{ name: "weight", shape: [this.size], init: "ones" }];
  }

  /** Normalises the last dimension of `input`. */
  forward(input: Tensor): Tensor {
    // PyTorch's fused kernel wants both in one type.
    const weight = aten.toDtype(this.weight, input.dtype);
    return aten.rmsNorm(input, [this.size], weight, this.eps);
  }
}
