/**
 * `lora_bias`: LoRA whose matrix B has a bias, `y = W₀x + b + s (B A dropout(x) + β)`.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { Linear, Projection } from "../nn/mod.ts";
import { aten, type Tensor, tensor } from "../tensor/mod.ts";
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

/** LoRA with a bias as a kind of adapter: wraps each targeted linear layer. */
export const LORA_BIAS: AdapterKind = {
  name: "LoRA with a bias",
  attach: (place) => {
    const { module, config, path } = place;
    const isMine = place.targeted && config.lora_bias;
    if (!isMine || !(module instanceof Projection)) return null;
    const layer = new LoraBiasLinear(module, {
      ...loraLinearOptions(place),
      path,
    });
    place.replace(layer);
    return layer;
  },
};

/** A linear layer plus a trained low-rank product and a trained bias. */
class LoraBiasLinear extends LoraLinear {
  /** B has a bias. */
  protected override readonly hasBias: boolean = true;
  readonly #path: string;

  /** Wraps `base`, which stands at `path`. */
  constructor(
    base: Projection,
    options: LoraLinearOptions & { readonly path: string },
  ) {
    super(base, options);
    this.#path = options.path;
  }

  /** A, B and its bias, under peft's names. */
  override trainedParameters(): readonly AdapterParameter[] {
    return [...super.trainedParameters(), {
      name: "lora_B.bias",
      owner: this.lora_B,
      field: "bias",
      shape: [this.outFeatures],
    }];
  }

  /** As in LoRA, plus the scaled bias. */
  override forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const bias = aten.mul(this.lora_B.bias!, tensor(this.scaling));
    return super.forward(input, residual)
      .add(aten.toDtype(bias, input.dtype));
  }

  /** The product into the weight, the bias into that of the layer. */
  override merges(): readonly WeightMerge[] {
    const { base_layer: base } = this;
    if (!(base instanceof Linear) || !base.hasBias) {
      throw new InputError(
        `Cannot merge lora_bias into ${
          quoted(this.#path)
        }: the layer has no bias, keep the adapter beside the model`,
      );
    }
    return [...super.merges(), {
      name: "bias",
      merged: (bias) => bias.add(this.lora_B.bias!, this.scaling),
    }];
  }

  /** Frees the matrices and the bias. */
  override [Symbol.dispose](): void {
    this.lora_B.bias?.[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}
