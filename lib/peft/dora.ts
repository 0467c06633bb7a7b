/**
 * DoRA, weight-decomposed adaptation (Liu et al., arXiv:2402.09353), on a linear
 * layer: `y = m ∘ (W₀ + s B A) x / ‖W₀ + s B A‖ + b`, with a trained length m for each
 * row of the weight.
 *
 * @module
 */

import { dropout, Linear } from "../nn/mod.ts";
import {
  aten,
  DetachedScope,
  type Device,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
  to,
} from "../tensor/mod.ts";
import type {
  AdapterKind,
  AdapterParameter,
  WeightMerge,
} from "./adapter_kinds.ts";
import {
  LoraLinear,
  type LoraLinearOptions,
  loraLinearOptions,
} from "./lora_linear.ts";

/** DoRA as a kind of adapter: wraps each targeted linear layer. */
export const DORA: AdapterKind = {
  name: "DoRA",
  attach: (place) => {
    const { module, config } = place;
    const isMine = place.targeted && config.use_dora;
    if (!isMine || !(module instanceof Linear)) return null;
    const layer = new DoraLinear(module, loraLinearOptions(place));
    place.replace(layer);
    return layer;
  },
};

/** A linear layer whose rows get a trained length and a trained direction. */
class DoraLinear extends LoraLinear {
  /** m, `[out]`, float32. */
  declare lora_magnitude_vector: Tensor;
  readonly #linear: Linear;
  #squares: { readonly weight: Tensor; readonly sums: Tensor } | null = null;

  /** Wraps `linear`; the trained parameters are set later. */
  constructor(linear: Linear, options: LoraLinearOptions) {
    super(linear, options);
    this.#linear = linear;
  }

  /** A, B and m, under peft's names. */
  override trainedParameters(): readonly AdapterParameter[] {
    return [...super.trainedParameters(), {
      name: "lora_magnitude_vector",
      owner: this,
      field: "lora_magnitude_vector",
      shape: [this.outFeatures],
    }];
  }

  /** A and B as in LoRA, and m the length of each row of `W₀ + s B A`. */
  override initialize(device: Device): void {
    super.initialize(device);
    using scope = new DetachedScope();
    this.lora_magnitude_vector = scope.keep(this.#lengths());
  }

  /**
   * `[rows, in]` to `[rows, out]`, with `residual` added when given. As in peft,
   * lengths are constants for gradients, and with dropout only what the adapter adds
   * to the frozen layer reads the dropped input.
   */
  override forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const { weight, bias } = this.#linear;
    const drops = this.training && this.dropout > 0;
    const { kept, scale } = drops
      ? dropout(input, this.dropout)
      : { kept: input, scale: 1 };
    const like = (parameter: Tensor): Tensor =>
      aten.toDtype(parameter, input.dtype);
    const ratio = aten.div(this.lora_magnitude_vector, this.#lengths());
    // A scalar on the CPU does not change the type of a product.
    const read = drops ? aten.mul(kept, tensor(scale)) : kept;
    const low = aten.linear(read, like(this.lora_A.weight));
    const added = aten.mul(
      aten.linear(low, like(this.lora_B.weight)),
      tensor(this.scaling),
    );
    const plain = aten.linear(read, weight);
    const scaled = aten.mul(added, like(ratio));
    if (drops) {
      const less = ratio.add(tensor(-1));
      return this.#linear.forward(input, residual)
        .add(aten.mul(plain, like(less))).add(scaled);
    }
    const whole = aten.mul(plain, like(ratio)).add(scaled);
    const biased = bias === undefined ? whole : whole.add(like(bias));
    return residual === null ? biased : residual.add(biased);
  }

  /**
   * Lengths of the rows of `W₀ + s B A`, `[out]`, float32: the root of `‖w‖² + 2 s b·A w
   * + s² b·(A Aᵀ) b` for each row, so that the sum of the matrices is never made.
   */
  #lengths(): Tensor {
    using scope = tensorScope();
    using _frozen = noGrad();
    const { scaling } = this;
    const [a, b] = [this.lora_A.weight, this.lora_B.weight];
    const weight = to(this.#linear.weight, { dtype: "float32" });
    const cross = aten.mul(b, aten.linear(weight, a));
    const own = aten.mul(b, aten.mm(b, aten.linear(a, a)));
    const sum = this.#squareSums(weight)
      .add(aten.sumDim(cross, [1]), 2 * scaling)
      .add(aten.sumDim(own, [1]), scaling ** 2);
    return scope.keep(aten.sqrt(sum));
  }

  /** `‖w‖²` of the rows of the frozen weight, `[out]`; made again when another is put there. */
  #squareSums(wide: Tensor): Tensor {
    const { weight } = this.#linear;
    if (this.#squares?.weight !== weight) {
      this.#squares?.sums[Symbol.dispose]();
      using scope = new DetachedScope();
      const sums = scope.keep(aten.sumDim(aten.mul(wide, wide), [1]));
      this.#squares = { weight, sums };
    }
    return this.#squares.sums;
  }

  /** `m ∘ (W₀ + s B A) / ‖W₀ + s B A‖` */
  override merges(): readonly WeightMerge[] {
    return [{
      name: "weight",
      merged: (weight) => {
        const sum = this.sum(weight);
        const lengths = aten.sqrt(aten.sumDim(aten.mul(sum, sum), [1]));
        const ratio = aten.div(this.lora_magnitude_vector, lengths);
        return aten.mul(sum, aten.unsqueeze(ratio, 1));
      },
    }];
  }

  /** Frees the trained parameters and what is kept of the frozen weight. */
  override [Symbol.dispose](): void {
    this.#squares?.sums[Symbol.dispose]();
    this.lora_magnitude_vector?.[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}
