/**
 * LoRA on a linear layer (Hu et al., arXiv:2106.09685):
 * `y = W₀x + b + (α/r) · B A dropout(x)`, with `W₀` frozen.
 *
 * @module
 */

import {
  addProductTo,
  dropout,
  dropoutMask,
  linearPlus,
  Projection,
  type ProjectionPullback,
  recordProjection,
} from "../nn/mod.ts";
import type {
  AdapterKind,
  AdapterLayer,
  AdapterParameter,
  AdapterPlace,
  WeightMerge,
} from "./adapter_kinds.ts";
import type { LoraStart } from "../arguments/lora_settings.ts";
import { rankAt, scalingAt } from "./lora_config.ts";
import { drawMatrices, LoraMatrix } from "./lora_matrices.ts";
import {
  changesWeights,
  firstMatrices,
  isComputed,
  ReducedWeight,
} from "./lora_start.ts";
import {
  addProduct,
  addToGradient,
  aten,
  DetachedScope,
  type Device,
  noGrad,
  type Save,
  type Tensor,
  tensor,
  to,
} from "../tensor/mod.ts";

/** Options of one {@linkcode LoraLinear}. */
export interface LoraLinearOptions {
  /** Rows of A and columns of B, r. */
  readonly rank: number;
  /** The factor of the product: α/r, or α/√r with rsLoRA. */
  readonly scaling: number;
  /** Share of the inputs of A that dropout sets to zero in training. */
  readonly dropout: number;
  /** How new matrices are initialised, as in `init_lora_weights`. Default `true`. */
  readonly initialization?: LoraStart;
}

/** LoRA as a kind of adapter: wraps each targeted linear layer. */
export const LORA: AdapterKind = {
  name: "LoRA",
  attach: (place) => {
    const { module, config } = place;
    const isMine = place.targeted && !config.use_dora && !config.lora_bias;
    if (!isMine || !(module instanceof Projection)) return null;
    const layer = new LoraLinear(module, loraLinearOptions(place));
    place.replace(layer);
    return layer;
  },
};

/**
 * The options of a LoRA layer at `place`, patterns of the configuration included.
 *
 * @example
 * ```ts
 * import { type AdapterKind } from "@lorikeet/lorikeet";
 * import { Projection } from "@lorikeet/lorikeet/nn";
 * import { LoraLinear, loraLinearOptions } from "@lorikeet/lorikeet/peft";
 *
 * const kind: AdapterKind = {
 *   name: "LoRA of rank 1",
 *   attach: (place) => {
 *     const { module } = place;
 *     if (!place.targeted || !(module instanceof Projection)) return null;
 *     const layer = new LoraLinear(module, { ...loraLinearOptions(place), rank: 1 });
 *     place.replace(layer);
 *     return layer;
 *   },
 * };
 * if (kind.fields !== undefined) throw new Error("unexpected fields");
 * ```
 */
export function loraLinearOptions(place: AdapterPlace): LoraLinearOptions {
  const { path, config } = place;
  return {
    rank: rankAt(config, path),
    scaling: scalingAt(config, path),
    dropout: config.lora_dropout,
    initialization: config.init_lora_weights,
  };
}

/** A low-rank product as two factors, and its backward formula. */
interface RecordedProduct {
  /** `dropout(x) Aᵀ`, `[rows, r]` */
  readonly low: Tensor;
  /** `s Bᵀ`, `[r, out]` */
  readonly scaled: Tensor;
  /** Adds the gradients of A and B; returns P, `[rows, r]`. */
  readonly pullMatrices: (gradient: Tensor, input: Tensor) => Tensor;
  /**
   * The gradient of the input; `below` gives that of the wrapped layer, added to a
   * sum where it is given one.
   */
  readonly pullInput: (
    p: Tensor,
    below: (sum: Tensor | null) => Tensor,
  ) => Tensor;
}

/** A linear layer plus a trained low-rank product. */
export class LoraLinear extends Projection implements AdapterLayer {
  /** Width of the input. */
  override readonly inFeatures: number;
  /** Width of the output. */
  override readonly outFeatures: number;
  /** Rows of A and columns of B, r. */
  readonly rank: number;
  /** The factor of the product. */
  readonly scaling: number;
  /** Share of the inputs of A that dropout sets to zero in training. */
  readonly dropout: number;
  /** The frozen layer, `W₀` and `b`. */
  readonly base_layer: Projection;
  /** A, `[r, in]`. */
  readonly lora_A: LoraMatrix = new LoraMatrix();
  /** B, `[out, r]`. */
  readonly lora_B: LoraMatrix = new LoraMatrix();
  /** Whether B has a bias. */
  protected readonly hasBias: boolean = false;
  readonly #initialization: LoraStart;
  #reduced: ReducedWeight | null = null;
  #scale: { readonly value: number; readonly tensor: Tensor } | null = null;

  /**
   * Wraps `base`; the matrices are set by {@linkcode LoraLinear.initialize} or
   * loaded from a file.
   */
  constructor(base: Projection, options: LoraLinearOptions) {
    super();
    this.base_layer = base;
    this.inFeatures = base.inFeatures;
    this.outFeatures = base.outFeatures;
    this.rank = options.rank;
    this.scaling = options.scaling;
    this.dropout = options.dropout;
    this.#initialization = options.initialization ?? true;
  }

  /** A and B, under peft's names. */
  trainedParameters(): readonly AdapterParameter[] {
    const shapes = {
      lora_A: [this.rank, this.inFeatures],
      lora_B: [this.outFeatures, this.rank],
    };
    return (["lora_A", "lora_B"] as const).map((matrix) => ({
      name: `${matrix}.weight`,
      owner: this[matrix],
      field: "weight",
      shape: shapes[matrix],
    }));
  }

  /**
   * Draws new matrices from the CPU's default generator in peft's order: the
   * constructors of both layers draw first, then A is drawn again and B is set to
   * zero.
   */
  initialize(device: Device): void {
    const kind = this.#initialization;
    drawMatrices(this, {
      rows: this.rank,
      deviation: 1 / this.rank,
      kind: isComputed(kind) ? false : kind,
      hasBias: this.hasBias,
      device,
    });
    if (isComputed(kind)) this.#startFrom(kind, device);
  }

  /** Computes the first matrices, and takes their product out of the weight. */
  #startFrom(kind: LoraStart, device: Device): void {
    using scope = new DetachedScope();
    using _frozen = noGrad();
    const first = firstMatrices(kind, this.base_layer, this);
    for (const [matrix, own] of [["lora_A", "a"], ["lora_B", "b"]] as const) {
      this[matrix].weight[Symbol.dispose]();
      this[matrix].weight = scope.keep(
        aten.clone(to(aten.contiguous(first[own]), { device })),
      );
    }
    if (!changesWeights(kind)) return;
    this.#reduced = new ReducedWeight(this.base_layer, first, this.scaling);
  }

  /**
   * Takes the first product out of the weight, where the matrices will be loaded that
   * have learned on what is left.
   */
  changeBase(device: Device): void {
    if (!changesWeights(this.#initialization)) return;
    this.initialize(device);
    this.lora_A.weight[Symbol.dispose]();
    this.lora_B.weight[Symbol.dispose]();
  }

  /** Takes `weight` for what is left of the frozen one; false where nothing was taken out. */
  replaceReduced(weight: Tensor): boolean {
    this.#reduced?.replace(weight);
    return this.#reduced !== null;
  }

  /** The matrices whose product was taken out of the weight, or `null`. */
  get first(): { readonly a: Tensor; readonly b: Tensor } | null {
    return this.#reduced?.first ?? null;
  }

  /** `[rows, in]` to `[rows, out]`, with `residual` added when given. */
  override forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const recorded = recordProjection(this, input, residual);
    if (recorded !== null) return recorded;
    const base = this.base_layer.forward(input, residual);
    const { kept, scale } = this.#drops
      ? dropout(input, this.dropout)
      : { kept: input, scale: 1 };
    // The matrices are float32; the product is computed in the type of the hidden
    // states.
    const a = aten.toDtype(this.lora_A.weight, input.dtype);
    const low = aten.linear(kept, a);
    const scaled = this.#scaledB(input, scale);
    return linearPlus(low, { weight: aten.t(scaled), start: base });
  }

  /**
   * With `P = s · dy B`, `[rows, r]`: `dA = Pᵀ dropout(x)`, `dB = s · dyᵀ low`, and
   * `dx` is that of the wrapped layer plus the dropout of `P A`.
   */
  override pullback(): ProjectionPullback | null {
    // A class with another formula has another gradient.
    if (this.forward !== LoraLinear.prototype.forward) return null;
    const base = this.base_layer.pullback();
    return base && {
      parameters: [...base.parameters, this.lora_A.weight, this.lora_B.weight],
      readsInput: true,
      forward: (input, residual, save) => {
        const below = base.forward(input, residual, save);
        const own = this.#recordedProduct(input, save);
        const { low, scaled } = own;
        return {
          output: addProduct(below.output, low, scaled),
          pull: (gradient, place) => {
            const p = own.pullMatrices(gradient, place.input!);
            return place.wanted
              ? own.pullInput(
                p,
                (sum) =>
                  below.pull(gradient, { ...place, sum: sum ?? place.sum })!,
              )
              : below.pull(gradient, place);
          },
        };
      },
    };
  }

  /** The low-rank product of `input`, as its two factors, and its backward formula. */
  #recordedProduct(input: Tensor, save: Save): RecordedProduct {
    const drawn = this.#drops ? dropoutMask(input.shape, this.dropout) : null;
    const scale = this.scaling * (drawn?.scale ?? 1);
    const mask = drawn && save(drawn.mask);
    const masked = (tensor: Tensor): Tensor =>
      mask === null ? tensor : aten.mul(tensor, mask);
    const [a, b] = [this.lora_A.weight, this.lora_B.weight];
    const narrowA = save(aten.toDtype(a, input.dtype));
    const scaled = save(this.#scaledB(input, drawn?.scale ?? 1));
    const low = save(aten.linear(masked(input), narrowA));
    return {
      low,
      scaled,
      pullMatrices: (gradient, input) => {
        const p = aten.mm(gradient, aten.t(scaled)); // [rows, r]
        addProductTo(a, aten.t(p), masked(input));
        // Bᵀ is wide, so this product is up to 4 times as fast as that for B
        const wide = aten.mm(aten.t(low), gradient); // [r, out]
        const factor = tensor(scale, { device: input.device });
        const own = aten.mul(aten.toDtype(aten.t(wide), b.dtype), factor);
        addToGradient(b, own);
        return p;
      },
      pullInput: (p, below) => {
        if (mask === null) return addProduct(below(null), p, narrowA);
        return below(aten.mul_(aten.mm(p, narrowA), mask));
      },
    };
  }

  get #drops(): boolean {
    return this.training && this.dropout > 0;
  }

  /**
   * Bᵀ times the factor of the product and `scale`, in the type of `input`: rows of
   * Bᵀ are long, so products with it, and its gradient, are up to 4 times faster.
   */
  #scaledB(input: Tensor, scale: number): Tensor {
    const b = aten.toDtype(this.lora_B.weight, input.dtype);
    return aten.mul(
      aten.contiguous(aten.t(b)),
      this.#factor(this.scaling * scale, input),
    );
  }

  /**
   * `value` as a tensor of the type and on the device of `input`; made again
   * only when one of them changes.
   */
  #factor(value: number, input: Tensor): Tensor {
    if (
      this.#scale?.value !== value || this.#scale.tensor.dtype !== input.dtype
    ) {
      using scope = new DetachedScope();
      const made = tensor(value, { device: input.device });
      this.#scale?.tensor[Symbol.dispose]();
      this.#scale = {
        value,
        tensor: scope.keep(to(made, { dtype: input.dtype })),
      };
    }
    return this.#scale.tensor;
  }

  /** Puts the layer around the wrapped one. */
  attach(place: AdapterPlace): void {
    place.replace(this);
    this.#reduced?.attach();
  }

  /** Puts the wrapped layer back into its place, with the weight it had. */
  detach(place: AdapterPlace): void {
    place.replace(this.base_layer);
    this.#reduced?.detach();
  }

  /** `W₀ + s B A` */
  merges(): readonly WeightMerge[] {
    return [{ name: "weight", merged: (weight) => this.sum(weight) }];
  }

  /** `W₀ + s B A`, `[out, in]`, where `weight` is that of the base model. */
  protected sum(weight: Tensor): Tensor {
    const product = aten.mm(this.lora_B.weight, this.lora_A.weight);
    return (this.#reduced?.wide() ?? weight).add(product, this.scaling);
  }

  /** Frees the matrices. */
  [Symbol.dispose](): void {
    this.#reduced?.[Symbol.dispose]();
    this.#scale?.tensor[Symbol.dispose]();
    this.lora_A.weight?.[Symbol.dispose]();
    this.lora_B.weight?.[Symbol.dispose]();
  }
}
