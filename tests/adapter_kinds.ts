/**
 * Two kinds of adapter as a script would write them, with nothing but `mod.ts`:
 * DoRA wraps linear layers and trains a third parameter; `modules_to_save` trains
 * a whole copy of a module and wraps nothing.
 *
 * @module
 */

import {
  type AdapterKind,
  aten,
  type Device,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
} from "../mod.ts";
import { Linear, type Module } from "../lib/nn/mod.ts";
import {
  type AdapterParameter,
  type AdapterPlace,
  LoraLinear,
  type LoraLinearOptions,
  loraLinearOptions,
} from "../lib/peft/mod.ts";

/** DoRA (Liu et al., arXiv:2402.09353): what `use_dora` asks for. */
export const DORA: AdapterKind = {
  name: "DoRA",
  fields: {
    use_dora: { kind: "bool", default: false, help: "Train magnitudes too" },
  },
  attach: (place) => {
    const { module, config } = place;
    const isMine = place.targeted && config.use_dora === true;
    if (!isMine || !(module instanceof Linear)) return null;
    const layer = new DoraLinear(module, loraLinearOptions(place));
    place.replace(layer);
    return layer;
  },
};

/** `y = m · (W₀ + s B A) x / ‖W₀ + s B A‖ + b`, the norm one per row and without a gradient. */
class DoraLinear extends LoraLinear {
  /** m, `[out]` */
  declare lora_magnitude_vector: Tensor;
  readonly #linear: Linear;

  constructor(linear: Linear, options: LoraLinearOptions) {
    super(linear, options);
    this.#linear = linear;
  }

  override trainedParameters(): readonly AdapterParameter[] {
    const magnitude: AdapterParameter = {
      name: "lora_magnitude_vector",
      owner: this,
      field: "lora_magnitude_vector",
      shape: [this.outFeatures],
    };
    return [...super.trainedParameters(), magnitude];
  }

  override initialize(device: Device): void {
    super.initialize(device);
    this.lora_magnitude_vector = this.#norm();
  }

  override forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const kept = this.training && this.dropout > 0
      ? aten.dropout(input, this.dropout, true)
      : input;
    const base = this.#linear.forward(input, residual);
    const whole = aten.linear(kept, this.#linear.weight);
    const low = aten.linear(
      aten.linear(kept, this.lora_A.weight),
      this.lora_B.weight,
    );
    const share = aten.div(this.lora_magnitude_vector, this.#norm());
    const less = share.add(tensor(-1));
    const scaled = aten.mul(low, tensor(this.scaling));
    return base.add(aten.mul(whole, less)).add(aten.mul(scaled, share));
  }

  /** Norms of the rows of `W₀ + s B A`, `[out]`. */
  #norm(): Tensor {
    using scope = tensorScope();
    using _frozen = noGrad();
    const product = aten.mm(this.lora_B.weight, this.lora_A.weight);
    const weight = this.#linear.weight
      .add(aten.mul(product, tensor(this.scaling)));
    return scope.keep(
      aten.sqrt(aten.sumDim(aten.mul(weight, weight), [1])),
    );
  }

  override [Symbol.dispose](): void {
    this.lora_magnitude_vector?.[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

/** What `modules_to_save` asks for, for modules with one weight: a copy that is trained whole. */
export const MODULES_TO_SAVE: AdapterKind = {
  name: "modules_to_save",
  fields: {
    modules_to_save: {
      kind: "list",
      default: null,
      help: "Modules that are trained whole",
    },
  },
  attach: (place) => {
    const names = [place.config.modules_to_save ?? []].flat();
    const name = place.path.split(".").at(-1)!;
    return names.includes(name) ? new SavedModule(place) : null;
  },
};

class SavedModule {
  readonly #module: Module & { weight: Tensor };
  readonly #original: Tensor;

  constructor(place: AdapterPlace) {
    this.#module = place.module as Module & { weight: Tensor };
    this.#original = this.#module.weight;
  }

  trainedParameters(): readonly AdapterParameter[] {
    return [{
      name: "weight",
      owner: this.#module,
      field: "weight",
      shape: this.#original.shape,
    }];
  }

  initialize(): void {
    this.#module.weight = aten.clone(this.#original);
  }

  remove(): void {
    if (this.#module.weight !== this.#original) {
      this.#module.weight[Symbol.dispose]();
    }
    this.#module.weight = this.#original;
  }
}
