/**
 * Normalisation over the last dimension: root mean square (Zhang and Sennrich,
 * arXiv:1910.07467) and layer norm (Ba et al., arXiv:1607.06450).
 *
 * @module
 */

import {
  addToGradient,
  asType,
  aten,
  recordingTape,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { Module, type ParameterSpec } from "./module.ts";

/** A layer that normalises the last dimension. */
export abstract class Norm extends Module {
  /** Normalises the last dimension of `input`. */
  abstract forward(input: Tensor): Tensor;
}

/** `y = w ∘ x / √(mean(x²) + ε)` over the last dimension, computed in `float32`. */
export class RmsNorm extends Norm {
  /** `[size]` */
  declare weight: Tensor;

  /** Makes a norm over `size` elements; the weight is loaded later. */
  constructor(readonly size: number, readonly eps: number) {
    super();
  }

  /** The weight of each element. */
  override parameterSpecs(): readonly ParameterSpec[] {
    return [{ name: "weight", shape: [this.size], init: "ones" }];
  }

  /** Normalises the last dimension of `input`. */
  override forward(input: Tensor): Tensor {
    const tape = recordingTape([input, this.weight]);
    if (tape === null) return this.normalized(input);
    return tape.record([input], (save) => {
      const kept = save(input);
      const wanted = input.isRecorded;
      return {
        output: this.normalized(input),
        pull: (gradient) => [this.#pulled(gradient, { input: kept, wanted })],
      };
    });
  }

  /**
   * With `g = w ∘ dy` and `r = 1 / √(mean(x²) + ε)`: `dx = r g − r³ mean(g ∘ x) x` and
   * `dw = Σ dy ∘ r x`.
   */
  #pulled(
    gradient: Tensor,
    place: { readonly input: Tensor; readonly wanted: boolean },
  ): Tensor | null {
    const wide = aten.toDtype(place.input, "float32");
    const own = aten.toDtype(gradient, "float32");
    const mean = aten.meanDim(aten.mul(wide, wide), [-1], true)
      .add(tensor(this.eps, { device: wide.device }));
    const root = aten.rsqrt(mean);
    // Times 1, or NaN where the mean is infinite: the run then stops, as it would
    // with autograd, and does not go on with gradients of zero.
    const r = aten.mul(root, aten.mul(mean, aten.mul(root, root)));
    if (this.weight.isRecorded) {
      const rows = aten.reshape(aten.mul(own, aten.mul(wide, r)), [
        -1,
        this.size,
      ]);
      const sum = aten.sumDim(rows, [0]);
      addToGradient(this.weight, aten.toDtype(sum, this.weight.dtype));
    }
    if (!place.wanted) return null;
    const scaled = aten.mul(own, this.factors());
    const along = aten.meanDim(aten.mul(scaled, wide), [-1], true);
    const cubed = aten.mul(aten.mul(r, r), r);
    const part = aten.mul(wide, aten.mul(along, cubed));
    const result = aten.mul_(scaled, r).add(part, -1);
    return aten.toDtype(result, gradient.dtype);
  }

  /** What elements are multiplied with, in `float32`. */
  protected factors(): Tensor {
    return aten.toDtype(this.weight, "float32");
  }

  /** The formula. */
  protected normalized(input: Tensor): Tensor {
    // PyTorch's fused kernel needs both in one type.
    const weight = asType(this.weight, input.dtype);
    return aten.rmsNorm(input, [this.size], weight, this.eps);
  }
}

/**
 * `y = (1 + w) ∘ x / √(mean(x²) + ε)`: the stored weight is centred on zero, as
 * in Gemma. Everything is computed in `float32` and rounded once.
 */
export class CentredRmsNorm extends RmsNorm {
  /** The weight of each element, minus one. */
  override parameterSpecs(): readonly ParameterSpec[] {
    return [{ name: "weight", shape: [this.size], init: "zeros" }];
  }

  /** The weight, plus one. */
  protected override factors(): Tensor {
    const { weight } = this;
    return aten.toDtype(weight, "float32")
      .add(tensor(1, { device: weight.device }));
  }

  /** The formula. */
  protected override normalized(input: Tensor): Tensor {
    const weight = this.factors();
    const wide = asType(input, "float32");
    const normed = aten.rmsNorm(wide, [this.size], weight, this.eps);
    return asType(normed, input.dtype);
  }
}

/** Options of a {@linkcode LayerNorm}. */
export interface LayerNormOptions {
  /** Added to the variance. */
  readonly eps: number;
  /** Whether it has a bias. Default yes. */
  readonly bias?: boolean;
}

/** `y = w ∘ (x − mean(x)) / √(var(x) + ε) + b`, computed in `float32`. */
export class LayerNorm extends Norm {
  /** `[size]`, or the shape of the trailing dimensions that have their own weights. */
  declare weight: Tensor;
  /** The same shape as the weight. */
  declare bias: Tensor | undefined;
  /** Shape of the weight; only the last dimension is normalised. */
  readonly shape: readonly number[];

  /**
   * Makes a norm; its weights are loaded later. With a `shape` of two dimensions,
   * `[heads, size]`, each head has its own weights.
   */
  constructor(
    shape: number | readonly number[],
    readonly options: LayerNormOptions,
  ) {
    super();
    this.shape = typeof shape === "number" ? [shape] : shape;
  }

  /** The weight of each element, and the bias where there is one. */
  override parameterSpecs(): readonly ParameterSpec[] {
    const { shape } = this;
    const weight = { name: "weight", shape, init: "ones" } as const;
    return this.options.bias ?? true
      ? [weight, { name: "bias", shape, init: "zeros" }]
      : [weight];
  }

  /** Normalises the last dimension of `input`. */
  override forward(input: Tensor): Tensor {
    const { weight, bias, shape } = this;
    const { eps } = this.options;
    const size = [shape.at(-1)!];
    const like = (parameter: Tensor): Tensor =>
      aten.toDtype(parameter, input.dtype);
    const own = bias === undefined ? null : like(bias);
    if (shape.length === 1) {
      return aten.layerNorm(input, size, like(weight), own, eps);
    }
    const normed = aten.layerNorm(input, size, null, null, eps);
    const scaled = aten.mul(normed, like(weight));
    return own === null ? scaled : scaled.add(own);
  }
}
