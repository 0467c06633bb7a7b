/**
 * LoRA and DoRA on an embedding: row `w` of a token becomes `w + s B a`, with the
 * column `a` of A that belongs to the token.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { Embedding } from "../nn/mod.ts";
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
  AdapterLayer,
  AdapterParameter,
  AdapterPlace,
  WeightMerge,
} from "./adapter_kinds.ts";
import { loraLinearOptions } from "./lora_linear.ts";

/** LoRA on embeddings as a kind of adapter: wraps each targeted embedding. */
export const LORA_EMBEDDING: AdapterKind = {
  name: "LoRA on embeddings",
  attach: (place) => {
    const { module, config } = place;
    if (!place.targeted || !(module instanceof Embedding)) return null;
    if (config.lora_bias) {
      throw new InputError(
        `Cannot adapt ${
          quoted(place.path)
        } with lora_bias: an embedding has no bias, name only linear layers`,
      );
    }
    const { rank, scaling, initialization } = loraLinearOptions(place);
    const layer = new LoraEmbedding(module, {
      rank,
      scaling,
      isDora: config.use_dora,
      drawsBoth: initialization === false,
    });
    place.replace(layer);
    return layer;
  },
};

/** Options of one {@linkcode LoraEmbedding}. */
interface LoraEmbeddingOptions {
  /** Rows of A and columns of B, r. */
  readonly rank: number;
  /** The factor of the product. */
  readonly scaling: number;
  /** Whether the lengths of the columns are trained too. */
  readonly isDora: boolean;
  /** Whether A is drawn too, where it would be zero. */
  readonly drawsBoth: boolean;
}

/** An embedding plus a trained low-rank product. */
export class LoraEmbedding extends Embedding implements AdapterLayer {
  /** The frozen embedding. */
  readonly base_layer: Embedding;
  /** A, `[r, count]`, float32. */
  declare lora_embedding_A: Tensor;
  /** B, `[size, r]`, float32. */
  declare lora_embedding_B: Tensor;
  /** m of DoRA, `[size]`, float32. */
  declare lora_magnitude_vector: Tensor | undefined;
  readonly #options: LoraEmbeddingOptions;

  /** Wraps `base`; the matrices are drawn or loaded later. */
  constructor(base: Embedding, options: LoraEmbeddingOptions) {
    super(base.count, base.size);
    this.base_layer = base;
    this.#options = options;
  }

  /** The factor of the product. */
  get scaling(): number {
    return this.#options.scaling;
  }

  /** A, B and m of DoRA, under peft's names. */
  trainedParameters(): readonly AdapterParameter[] {
    const { rank, isDora } = this.#options;
    const shapes: [string, readonly number[]][] = [
      ["lora_embedding_A", [rank, this.count]],
      ["lora_embedding_B", [this.size, rank]],
    ];
    if (isDora) shapes.push(["lora_magnitude_vector", [this.size]]);
    return shapes.map(([name, shape]) => ({
      name,
      owner: this,
      field: name,
      shape,
    }));
  }

  /** As peft: both are drawn, then A becomes zero and B is drawn again. */
  initialize(device: Device): void {
    const { rank, isDora, drawsBoth } = this.#options;
    using scope = new DetachedScope();
    const a = aten.randn([rank, this.count]);
    const b = aten.randn([this.size, rank]);
    if (!drawsBoth) {
      a.fill(0);
      aten.normal_(b);
    }
    this.lora_embedding_A = scope.keep(to(a, { device }));
    this.lora_embedding_B = scope.keep(to(b, { device }));
    if (isDora) this.lora_magnitude_vector = scope.keep(this.#lengths());
  }

  /** The wrapped embedding has its own weight only. */
  override parameterSpecs(): [] {
    return [];
  }

  /** Rows for `ids`, with a last dimension added. */
  override forward(ids: Tensor): Tensor {
    const plain = this.base_layer.forward(ids);
    const columns = aten.embedding(aten.t(this.lora_embedding_A), ids);
    const own = aten.linear(columns, this.lora_embedding_B);
    const added = aten.mul(own, tensor(this.#options.scaling));
    if (this.lora_magnitude_vector === undefined) {
      return plain.add(aten.toDtype(added, plain.dtype));
    }
    const ratio = aten.div(this.lora_magnitude_vector, this.#lengths());
    return aten.toDtype(
      aten.mul(aten.toDtype(plain, "float32").add(added), ratio),
      plain.dtype,
    );
  }

  /** The whole table with what is added to it, float32 `[count, size]`. */
  #sum(weight: Tensor): Tensor {
    const product = aten.mm(this.lora_embedding_B, this.lora_embedding_A);
    return weight.add(aten.t(product), this.#options.scaling);
  }

  /** Lengths of the table's columns, `[size]`, float32; constants for gradients. */
  #lengths(): Tensor {
    using scope = tensorScope();
    using _frozen = noGrad();
    const sum = this.#sum(to(this.base_layer.weight, { dtype: "float32" }));
    return scope.keep(aten.sqrt(aten.sumDim(aten.mul(sum, sum), [0])));
  }

  /** Puts the layer around the wrapped one. */
  attach(place: AdapterPlace): void {
    place.replace(this);
  }

  /** Puts the wrapped embedding back into its place. */
  detach(place: AdapterPlace): void {
    place.replace(this.base_layer);
  }

  /** The table plus the product; with DoRA, its columns with their trained lengths. */
  merges(): readonly WeightMerge[] {
    return [{
      name: "weight",
      merged: (weight) => {
        const sum = this.#sum(weight);
        const length = this.lora_magnitude_vector;
        return length === undefined
          ? sum
          : aten.mul(sum, aten.div(length, this.#lengths()));
      },
    }];
  }

  /** Frees the matrices and lengths. */
  [Symbol.dispose](): void {
    this.lora_embedding_A?.[Symbol.dispose]();
    this.lora_embedding_B?.[Symbol.dispose]();
    this.lora_magnitude_vector?.[Symbol.dispose]();
  }
}
