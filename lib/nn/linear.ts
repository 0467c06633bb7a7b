/**
 * `y = x Wᵀ + b`, and `Projection`, the class of layers that adapters can wrap.
 *
 * @module
 */

import {
  addProduct,
  addToGradient,
  aten,
  autocastIsOn,
  recordingTape,
  type Save,
  tapeIsOpen,
  type Tensor,
} from "../tensor/mod.ts";
import { FewRowsProduct, suitsFewRows } from "./few_rows.ts";
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

  /**
   * How `forward` is computed with a backward formula of its own; `null` where it
   * has none, and autograd has to record it.
   */
  pullback(): ProjectionPullback | null {
    return null;
  }
}

/** A projection with a backward formula of its own. */
export interface ProjectionPullback {
  /** The parameters that the projection reads. */
  readonly parameters: readonly Tensor[];
  /** Whether the backward formula needs the input. */
  readonly readsInput: boolean;
  /** Computes what `forward` does. */
  readonly forward: (
    input: Tensor,
    residual: Tensor | null,
    save: Save,
  ) => { readonly output: Tensor; readonly pull: ProjectionPull };
}

/**
 * Adds the gradients of the parameters to theirs, and returns that of the input: `sum`
 * after it was added there in place, or a new tensor without the sum; `null` where it
 * is not `wanted`.
 */
export type ProjectionPull = (
  gradient: Tensor,
  place: {
    /** The input, where the formula needs it. */
    readonly input: Tensor | null;
    /** The gradient that the input has already; it may be changed in place. */
    readonly sum: Tensor | null;
    /** Whether the gradient of the input is needed. */
    readonly wanted: boolean;
  },
) => Tensor | null;

/**
 * `projection.forward(input, residual)` on the tape that is open, or `null` where
 * autograd has to record it: on other devices than a CPU, and with autocast, which
 * sets the types of products.
 */
export function recordProjection(
  projection: Projection,
  input: Tensor,
  residual: Tensor | null,
): Tensor | null {
  const pullback = pullbackOf(projection, input);
  const read = residual === null ? [input] : [input, residual];
  const tape = recordingTape([...read, ...pullback?.parameters ?? []]);
  if (pullback === null || tape === null) return null;
  const wanted = input.isRecorded;
  return tape.record(read, (save) => {
    const kept = pullback.readsInput ? save(input) : null;
    const { output, pull } = pullback.forward(input, residual, save);
    return {
      output,
      pull: (gradient, [sum = null]) => [
        pull(gradient, { input: kept, sum, wanted }),
        ...residual === null ? [] : [gradient],
      ],
    };
  });
}

/** The backward formula of `projection` for rows such as `input`, where it can be used. */
export function pullbackOf(
  projection: Projection,
  input: Tensor,
): ProjectionPullback | null {
  const usable = tapeIsOpen() && !autocastIsOn() &&
    input.device.type === "cpu" &&
    input.shape.length === 2;
  return usable ? projection.pullback() : null;
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
  #fewRows: FewRowsProduct | null = null;

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
    return recordProjection(this, input, residual) ??
      this.#map(input, residual);
  }

  /** `dx = dy W`, `dW = dyᵀ x`, `db = Σ dy`; the last two where they are trained. */
  override pullback(): ProjectionPullback | null {
    // A class with another formula has another gradient.
    if (this.forward !== Linear.prototype.forward) return null;
    const { weight, bias } = this;
    return {
      parameters: bias === undefined ? [weight] : [weight, bias],
      readsInput: weight.isRecorded,
      forward: (input, residual) => ({
        output: this.#map(input, residual),
        pull: (gradient, { input: kept, sum, wanted }) => {
          if (weight.isRecorded) {
            addProductTo(weight, aten.t(gradient), kept!);
          }
          if (bias?.isRecorded) {
            const own = aten.sumDim(gradient, [0]);
            addToGradient(bias, inType(own, bias));
          }
          return wanted
            ? addProduct(sum, gradient, inType(weight, gradient))
            : null;
        },
      }),
    };
  }

  /**
   * Computes few rows in another order, which is faster on a CPU, until what it
   * returns is disposed; the weight must not change meanwhile. `null` where nothing
   * is gained, or where that is so already.
   */
  speedUpFewRows(): FewRowsProduct | null {
    const { weight } = this;
    if (this.#fewRows !== null || !suitsFewRows(weight)) return null;
    return this.#fewRows = new FewRowsProduct(weight, () => {
      this.#fewRows = null;
    });
  }

  /** The faster products of few rows, where they are in use. */
  get fewRows(): FewRowsProduct | null {
    return this.#fewRows;
  }

  /** The formula. */
  #map(input: Tensor, residual: Tensor | null): Tensor {
    const few = this.#fewRows?.multiply(input) ?? null;
    if (few !== null) return addTo(few, [this.bias, residual]);
    const weight = inType(this.weight, input);
    if (this.bias === undefined) {
      return linearPlus(input, { weight, start: residual });
    }
    const output = aten.linear(input, weight, inType(this.bias, input));
    return residual === null ? output : output.add(residual);
  }
}

/** The sum of `product` and the `terms` that there are. */
function addTo(
  product: Tensor,
  terms: readonly (Tensor | null | undefined)[],
): Tensor {
  return terms.reduce<Tensor>(
    (sum, term) => term ? sum.add(term) : sum,
    product,
  );
}

/** `tensor` in the type of `other`: what is trained is held in float32. */
function inType(tensor: Tensor, other: Tensor): Tensor {
  const { dtype } = other;
  return tensor.dtype === dtype ? tensor : aten.toDtype(tensor, dtype);
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

/** Adds `left right` to the gradient of `parameter`, whose type may be wider. */
export function addProductTo(
  parameter: Tensor,
  left: Tensor,
  right: Tensor,
): void {
  const before = parameter.grad;
  if (before !== null && before.dtype === left.dtype) {
    addProduct(before, left, right);
  } else {
    const product = aten.mm(left, right);
    addToGradient(parameter, aten.toDtype(product, parameter.dtype));
  }
}
