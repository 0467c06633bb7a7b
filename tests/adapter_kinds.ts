/**
 * Two kinds of adapter as a script would write them, with nothing but what the package
 * exports: one wraps linear layers and trains a factor for each of their outputs, the
 * other trains a whole copy of a module's weight and wraps nothing.
 *
 * @module
 */

import { type AdapterKind, aten, type Device, type Tensor } from "../mod.ts";
import { type Module, Projection } from "../lib/nn/mod.ts";
import type {
  AdapterLayer,
  AdapterParameter,
  AdapterPlace,
  WeightMerge,
} from "../lib/peft/mod.ts";
import { DetachedScope, full } from "../lib/tensor/mod.ts";

/** (IA)³ (Liu et al., arXiv:2205.05638), for linear layers: `y = l ∘ (W x + b)`. */
export const FACTORS: AdapterKind = {
  name: "factors",
  fields: {
    use_factors: { kind: "bool", default: false, help: "Train factors" },
  },
  attach: (place) => {
    const { module, config } = place;
    const isMine = place.targeted && "use_factors" in config &&
      config.use_factors === true;
    if (!isMine || !(module instanceof Projection)) return null;
    const layer = new Factors(module);
    place.replace(layer);
    return layer;
  },
};

class Factors extends Projection implements AdapterLayer {
  override readonly inFeatures: number;
  override readonly outFeatures: number;
  readonly base_layer: Projection;
  /** l, `[out]` */
  declare factors: Tensor;

  constructor(base: Projection) {
    super();
    this.base_layer = base;
    this.inFeatures = base.inFeatures;
    this.outFeatures = base.outFeatures;
  }

  trainedParameters(): readonly AdapterParameter[] {
    return [{
      name: "factors",
      owner: this,
      field: "factors",
      shape: [this.outFeatures],
    }];
  }

  initialize(device: Device): void {
    using scope = new DetachedScope();
    this.factors = scope.keep(full([this.outFeatures], { value: 1, device }));
  }

  override forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const scaled = aten.mul(this.base_layer.forward(input), this.factors);
    return residual === null ? scaled : residual.add(scaled);
  }

  attach(place: AdapterPlace): void {
    place.replace(this);
  }

  detach(place: AdapterPlace): void {
    place.replace(this.base_layer);
  }

  merges(): readonly WeightMerge[] {
    return [{
      name: "weight",
      merged: (weight) => aten.mul(weight, aten.unsqueeze(this.factors, 1)),
    }];
  }

  [Symbol.dispose](): void {
    this.factors?.[Symbol.dispose]();
  }
}

/** Trains a copy of the weights of the modules with certain names. */
export const WHOLE_WEIGHTS: AdapterKind = {
  name: "whole weights",
  fields: {
    trained_weights: {
      kind: "list",
      default: null,
      help: "Modules whose weight is trained",
    },
  },
  attach: (place) => {
    const { config } = place;
    const names = "trained_weights" in config ? config.trained_weights : null;
    const name = place.path.split(".").at(-1)!;
    return Array.isArray(names) && names.includes(name)
      ? new SavedModule(place)
      : null;
  },
};

class SavedModule implements AdapterLayer {
  readonly #module: Module & { weight: Tensor };
  readonly #original: Tensor;
  #own: Tensor | null = null;

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

  attach(): void {
    if (this.#own !== null) this.#module.weight = this.#own;
  }

  detach(): void {
    const { weight } = this.#module;
    this.#own = weight === this.#original ? null : weight;
    this.#module.weight = this.#original;
  }

  merges(): readonly WeightMerge[] {
    const own = this.#own ?? this.#module.weight;
    return [{ name: "weight", merged: () => aten.clone(own) }];
  }

  [Symbol.dispose](): void {
    this.#own?.[Symbol.dispose]();
  }
}
