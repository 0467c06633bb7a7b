/**
 * LoRA on a parameter that holds one or more matrices, such as those of experts:
 * `yₑ = Wₑ x + (α/r) · Bₑ Aₑ x` for each matrix e, as peft's ParamWrapper.
 *
 * @module
 */

import { type ModelConfig, parameterTargets } from "../architectures/mod.ts";
import type { LoraStart } from "../arguments/lora_settings.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  type Addition,
  type MatrixStack,
  ParameterLayer,
  type ParameterLayerOptions,
} from "../nn/mod.ts";
import { aten, type Device, type Tensor, tensor } from "../tensor/mod.ts";
import type {
  AdapterKind,
  AdapterLayer,
  AdapterParameter,
  AdapterPlace,
  WeightMerge,
} from "./adapter_kinds.ts";
import { rankAt, scalingAt } from "./lora_config.ts";
import { drawMatrices, LoraMatrix } from "./lora_matrices.ts";
import { isComputed } from "./lora_start.ts";

/** LoRA on parameters as a kind of adapter: wraps a layer once for each of them. */
export const LORA_PARAMETERS: AdapterKind = {
  name: "LoRA on parameters",
  attach(place): LoraParameter | null {
    const { base, module, parameters, config, path } = place;
    if (!(module instanceof ParameterLayer)) return null;
    let layer: LoraParameter | null = null;
    const { init_lora_weights: start } = config;
    if (parameters.length > 0 && isComputed(start)) {
      throw new InputError(
        `Cannot start LoRA on ${
          quoted(path)
        } as ${start}: experts and routers ` +
          "start as true, false or gaussian",
      );
    }
    for (const stack of module.stacks) {
      if (!parameters.includes(stack.name)) continue;
      const full = `${path}.${stack.name}`;
      layer = new LoraParameter(layer ?? module, {
        stack,
        parts: partsOf(base.config, stack.name),
        rank: rankAt(config, full),
        scaling: scalingAt(config, full),
        initialization: config.init_lora_weights,
      });
    }
    if (layer !== null) place.replace(layer);
    return layer;
  },
};

/** The layers of transformers 4 that the parameter `name` holds, in their order. */
function partsOf(config: ModelConfig, name: string): string[] {
  return Object.entries(parameterTargets(config))
    .filter(([, parameter]) => parameter === name).map(([old]) => old);
}

/** Options of one {@linkcode LoraParameter}. */
interface LoraParameterOptions {
  /** The parameter. */
  readonly stack: MatrixStack;
  /** The names of the matrices that are rows of each of its matrices in transformers 4. */
  readonly parts: readonly string[];
  /** Rows of each A, r. */
  readonly rank: number;
  /** The factor of the product. */
  readonly scaling: number;
  /** How new matrices are initialised, as in `init_lora_weights`. */
  readonly initialization: LoraStart;
}

/** A layer of which one parameter has a trained low-rank product. */
class LoraParameter extends ParameterLayer implements AdapterLayer {
  /** The frozen layer, or the wrapper of another of its parameters. */
  readonly base_layer: ParameterLayer;
  /** A of all matrices, one after the other: `[matrices · r, in]`. */
  readonly lora_A: LoraMatrix = new LoraMatrix();
  /** B of all matrices, interleaved: `[out, r · matrices]`. */
  readonly lora_B: LoraMatrix = new LoraMatrix();
  /** The parameters of the frozen layer. */
  override readonly stacks: readonly MatrixStack[];
  /** peft draws adapters of parameters after all others. */
  readonly isDrawnLast = true;
  readonly #options: LoraParameterOptions;

  /** Wraps `base`; the matrices are drawn or loaded later. */
  constructor(base: ParameterLayer, options: LoraParameterOptions) {
    super();
    this.base_layer = base;
    this.stacks = base.stacks;
    this.#options = options;
  }

  /** Those of the wrapped parameter, if there is one, then A and B. */
  trainedParameters(): readonly AdapterParameter[] {
    const { stack: { count, inFeatures, outFeatures }, rank, parts } =
      this.#options;
    const inner = this.#inner()?.trainedParameters() ?? [];
    const shapes = {
      lora_A: [count * rank, inFeatures],
      lora_B: [outFeatures, rank * count],
    };
    const split = parts.length;
    const partShapes = {
      lora_A: [rank / split, inFeatures],
      lora_B: [outFeatures / split, rank / split],
    };
    const experts = Array.from({ length: count }, (_, expert) => expert);
    return [
      ...inner.map((each) => ({ ...each, name: `base_layer.${each.name}` })),
      ...(["lora_A", "lora_B"] as const).map((matrix) => ({
        name: `${matrix}.weight`,
        owner: this[matrix],
        field: "weight",
        shape: shapes[matrix],
        ...(count > 1 && split > 0 && {
          parts: {
            matrix,
            names: experts.map((expert) =>
              parts.map((part) => `${expert}.${part}.${matrix}.weight`)
            ),
            shape: partShapes[matrix],
          },
        }),
      })),
    ];
  }

  #inner(): LoraParameter | null {
    return this.base_layer instanceof LoraParameter ? this.base_layer : null;
  }

  /** Draws the matrices of the wrapped parameter, then its own. */
  initialize(device: Device): void {
    this.#inner()?.initialize(device);
    const { stack, rank, initialization: kind } = this.#options;
    const { inFeatures, outFeatures } = stack;
    const { lora_A, lora_B } = this;
    drawMatrices({ inFeatures, outFeatures, lora_A, lora_B }, {
      rows: rank * stack.count,
      deviation: 1 / rank,
      kind,
      device,
    });
  }

  /** The frozen layer with this product, and those of adapters around it. */
  override forward(input: Tensor, options: ParameterLayerOptions): Tensor {
    const additions = {
      ...options.additions,
      [this.#options.stack.name]: this.#additions(input),
    };
    return this.base_layer.forward(input, { ...options, additions });
  }

  /** For each matrix its product, computed in the type of `input`. */
  #additions({ dtype }: Tensor): (matrix: number) => Addition {
    const { stack: { count, outFeatures }, rank, scaling } = this.#options;
    const a = aten.toDtype(this.lora_A.weight, dtype);
    const scaled = aten.mul(
      aten.toDtype(this.lora_B.weight, dtype),
      tensor(scaling),
    );
    // [out, r, matrices] → [matrices, out · r]
    const b = aten.contiguous(
      aten.t(aten.reshape(scaled, [outFeatures * rank, count])),
    );
    return (matrix) => {
      const down = aten.slice(a, 0, matrix * rank, (matrix + 1) * rank);
      const up = aten.view(aten.slice(b, 0, matrix, matrix + 1), [
        outFeatures,
        rank,
      ]);
      return (input) => aten.linear(aten.linear(input, down), up);
    };
  }

  /** Puts the layer, and those of other parameters in it, around the frozen one. */
  attach(place: AdapterPlace): void {
    place.replace(this);
  }

  /** Puts the frozen layer back into its place. */
  detach(place: AdapterPlace): void {
    place.replace(this.#frozen());
  }

  /** The layer below all wrappers. */
  #frozen(): ParameterLayer {
    const inner = this.#inner();
    return inner === null ? this.base_layer : inner.#frozen();
  }

  /** `Wₑ + s Bₑ Aₑ` for each matrix, in the parts in which files hold it. */
  merges(): readonly WeightMerge[] {
    const { stack, rank, scaling } = this.#options;
    const matrices = Array.from({ length: stack.count }, (_, each) => each);
    const own = matrices.flatMap((matrix) =>
      stack.parts(matrix).map(({ name, start, end }): WeightMerge => ({
        name,
        merged: (weight) => {
          const down = aten.slice(
            this.lora_A.weight,
            0,
            matrix * rank,
            (matrix + 1) * rank,
          );
          // columns of one matrix lie `count` apart
          const up = aten.slice(
            this.lora_B.weight,
            1,
            matrix,
            rank * stack.count,
            stack.count,
          );
          const rows = aten.slice(up, 0, start, end);
          return weight.add(aten.mm(rows, down), scaling);
        },
      }))
    );
    return [...this.#inner()?.merges() ?? [], ...own];
  }

  /** Frees the matrices, and those of other parameters. */
  [Symbol.dispose](): void {
    this.#inner()?.[Symbol.dispose]();
    this.lora_A.weight?.[Symbol.dispose]();
    this.lora_B.weight?.[Symbol.dispose]();
  }
}
