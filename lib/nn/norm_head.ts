/**
 * The output layer whose rows are normalised to length 1, so that the length of a
 * token's vector has no influence on its logit.
 *
 * @module
 */

import {
  aten,
  DetachedScope,
  noGrad,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { Module, type ParameterSpec } from "./module.ts";

/** Sizes of a {@linkcode NormHead}. */
export interface NormHeadOptions {
  /** Width of the hidden states. */
  readonly inFeatures: number;
  /** Words of the vocabulary. */
  readonly outFeatures: number;
}

/** Rows whose lengths are computed at a time: the squares of all rows would need as much memory as the layer. */
const ROWS = 8192;
/** A row is divided by at least this length, as in `torch.nn.functional.normalize`. */
const SHORTEST = 1e-12;

/**
 * `y = x (W / ‖W‖)ᵀ` with the length of each row of `W`. It is not a `Projection`,
 * because peft does not treat it as a linear layer.
 */
export class NormHead extends Module {
  /** `[outFeatures, inFeatures]` */
  declare weight: Tensor;
  #known: { readonly weight: Tensor; readonly scales: Tensor } | null = null;

  /** Makes the layer; its weights are loaded later. */
  constructor(readonly options: NormHeadOptions) {
    super();
  }

  /** The weight. */
  override parameterSpecs(): readonly ParameterSpec[] {
    const { inFeatures, outFeatures } = this.options;
    return [{
      name: "weight",
      shape: [outFeatures, inFeatures],
      init: "normal",
    }];
  }

  /** Maps `[rows, inFeatures]` to `[rows, outFeatures]`. */
  forward(input: Tensor): Tensor {
    const plain = aten.linear(input, aten.toDtype(this.weight, input.dtype));
    return aten.toDtype(aten.mul(plain, this.#scales()), plain.dtype);
  }

  /** One over the length of each row, `float32` `[outFeatures]`; kept while the weight is frozen. */
  #scales(): Tensor {
    const { weight } = this;
    if (weight.requiresGrad) return this.#computed();
    if (this.#known?.weight === weight) return this.#known.scales;
    this.release();
    using scope = new DetachedScope();
    using _frozen = noGrad();
    const scales = scope.keep(this.#computed());
    this.#known = { weight, scales };
    return scales;
  }

  #computed(): Tensor {
    const { weight } = this;
    const { outFeatures } = this.options;
    const least = tensor(SHORTEST ** 2, { device: weight.device });
    const parts: Tensor[] = [];
    for (let start = 0; start < outFeatures; start += ROWS) {
      const end = Math.min(start + ROWS, outFeatures);
      const rows = aten.toDtype(aten.slice(weight, 0, start, end), "float32");
      const squares = aten.sumDim(aten.mul(rows, rows), [1]);
      parts.push(aten.rsqrt(squares.add(least)));
    }
    return aten.cat(parts, 0);
  }

  /** Frees what is kept besides the weight. */
  release(): void {
    this.#known?.scales[Symbol.dispose]();
    this.#known = null;
  }
}
