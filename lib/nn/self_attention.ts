/**
 * What the attention layers of all families share: from projected queries, keys
 * and values to attention's output, and the layer with four separate projections.
 *
 * @module
 */

import { aten, type Tensor } from "../tensor/mod.ts";
import { attention, type AttentionForm } from "./attention.ts";
import type { BatchContext } from "./batch_context.ts";
import type { KeyValueCache } from "./key_value_cache.ts";
import { Linear, type Projection } from "./linear.ts";
import { Module } from "./module.ts";
import type { Norm } from "./norms.ts";
import { type Pairing, rotate } from "./rotary_embedding.ts";

/** What an attention layer is given with its input. */
export interface AttentionPlace {
  /** The batch context. */
  readonly context: BatchContext;
  /** Keys and values of earlier positions, for generation. */
  readonly cache?: KeyValueCache | undefined;
}

/** Number and size of the heads. */
export interface HeadSizes {
  /** Number of query heads. */
  readonly heads: number;
  /** Number of key and value heads; divides `heads`. */
  readonly keyValueHeads: number;
  /** Width of one head. */
  readonly headSize: number;
}

/** Norms for the queries and the keys of each head, over the size of a head. */
export interface HeadNorms {
  /** For the queries. */
  readonly query: Norm;
  /** For the keys. */
  readonly key: Norm;
}

/** How heads are normalised, rotated and attended. */
export interface HeadForm extends AttentionForm {
  /**
   * Index of the context's rotary embedding, or `null` for no rotation. Default
   * the first.
   */
  readonly rope?: number | null;
  /** Which elements of a head are rotated together. Default `"halves"`. */
  readonly pairing?: Pairing;
  /** Norms before the rotation. */
  readonly norms?: HeadNorms | undefined;
  /** Norms after the rotation. */
  readonly lateNorms?: HeadNorms | undefined;
  /**
   * Whether the cache holds keys as they were before the rotation, and all of them
   * are rotated at each step: for rotations that change with the length of a text.
   * Default no.
   */
  readonly rotatesCache?: boolean | undefined;
}

/** Queries, keys and values of all heads. */
export interface Projected {
  /** `[tokens, heads·headSize]` */
  readonly query: Tensor;
  /** `[tokens, keyValueHeads·headSize]` */
  readonly key: Tensor;
  /** The same shape as the keys. */
  readonly value: Tensor;
}

/**
 * Splits queries, keys and values into heads, rotates queries and keys by their
 * positions, appends to the cache and computes attention: `[tokens,
 * heads·headSize]`.
 */
export function attendHeads(
  projected: Projected,
  form: HeadSizes & HeadForm,
  place: AttentionPlace,
): Tensor {
  const { context, cache } = place;
  const { rows, length } = context;
  const { heads, keyValueHeads, headSize } = form;
  // [rows, heads, length, headSize]
  const query = turnedHeads(
    projected.query,
    { ...form, which: "query" },
    context,
  );
  const rotatesCache = form.rotatesCache && cache !== undefined;
  const ownKeys = turnedHeads(
    projected.key,
    {
      ...form,
      heads: keyValueHeads,
      which: "key",
      ...(rotatesCache ? { rope: null } : {}),
    },
    context,
  );
  const ownValues = aten.transpose(
    aten.view(projected.value, [rows, length, keyValueHeads, headSize]),
    1,
    2,
  );
  const { keys, values } = cache?.append(ownKeys, ownValues) ??
    { keys: ownKeys, values: ownValues };
  const turned = rotatesCache ? rotatedKeys(keys, form, context) : keys;
  const mixed = aten.transpose(
    attention({ ...form, query, keys: turned, values }, context),
    1,
    2,
  );
  return aten.reshape(mixed, [rows * length, heads * headSize]);
}

/** All keys of a text, `[rows, heads, length, headSize]`, rotated by their positions. */
function rotatedKeys(
  keys: Tensor,
  form: HeadForm,
  context: BatchContext,
): Tensor {
  const [rows = 0, heads = 0, length = 0, headSize = 0] = keys.shape;
  const plain = aten.reshape(aten.transpose(keys, 1, 2), [
    rows * length,
    heads * headSize,
  ]);
  const rotated = rotate(plain, {
    table: context.wholeRotations(form.rope ?? 0),
    shape: { rows, length, heads, headSize },
    pairing: form.pairing ?? "halves",
  });
  return aten.transpose(rotated, 1, 2);
}

/** Heads of queries or keys, normalised and rotated: `[rows, heads, length, headSize]`. */
function turnedHeads(
  projected: Tensor,
  form: HeadSizes & HeadForm & { readonly which: keyof HeadNorms },
  context: BatchContext,
): Tensor {
  const { heads, headSize, which, norms, lateNorms, rope = 0 } = form;
  const { rows, length } = context;
  const shape = [rows, length, heads, headSize];
  let split = projected;
  if (norms !== undefined) {
    split = norms[which].forward(aten.view(split, shape));
  }
  if (rope === null) split = aten.view(split, shape);
  else {
    split = rotate(split, {
      table: context.rotations[rope]!,
      shape: { rows, length, heads, headSize },
      pairing: form.pairing ?? "halves",
      // The weights of a norm are in the checkpoint's order.
      keepsOrder: lateNorms !== undefined,
    });
  }
  if (lateNorms !== undefined) split = lateNorms[which].forward(split);
  return aten.transpose(split, 1, 2);
}

/** Sizes of a {@linkcode SelfAttention}, and whether it has biases. */
export interface SelfAttentionOptions extends HeadSizes {
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Share of the attention weights that dropout sets to zero in training. Default 0. */
  readonly attentionDropout?: number | undefined;
  /** Whether queries, keys and values have biases. Default no. */
  readonly attentionBias?: boolean | undefined;
  /** Whether the output projection has a bias. Default as the others. */
  readonly outputBias?: boolean | undefined;
}

/** Attention with one projection each for queries, keys, values and the output. */
export class SelfAttention extends Module {
  /** Computes queries: `[tokens, hidden]` to `[tokens, heads·headSize]`. */
  q_proj: Projection;
  /** Computes keys: `[tokens, hidden]` to `[tokens, keyValueHeads·headSize]`. */
  k_proj: Projection;
  /** Computes values, in the shape of the keys. */
  v_proj: Projection;
  /** Combines the heads: `[tokens, heads·headSize]` to `[tokens, hidden]`. */
  o_proj: Projection;

  /** Makes the four projections; their weights are loaded later. */
  constructor(
    readonly sizes: SelfAttentionOptions,
    readonly form: HeadForm = {},
  ) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize } = sizes;
    const { attentionBias: bias = false, outputBias = bias } = sizes;
    const project = (outFeatures: number): Linear =>
      new Linear({ inFeatures: hiddenSize, outFeatures, bias });
    this.q_proj = project(heads * headSize);
    this.k_proj = project(keyValueHeads * headSize);
    this.v_proj = project(keyValueHeads * headSize);
    this.o_proj = new Linear({
      inFeatures: heads * headSize,
      outFeatures: hiddenSize,
      bias: outputBias,
    });
  }

  /**
   * Queries, keys and values; a family that normalises whole projections
   * overrides this.
   */
  protected project(input: Tensor): Projected {
    return {
      query: this.q_proj.forward(input),
      key: this.k_proj.forward(input),
      value: this.v_proj.forward(input),
    };
  }

  /** Norms of each head, in families that have them. */
  protected headNorms(): Pick<HeadForm, "norms" | "lateNorms"> {
    return {};
  }

  /** `o_proj(attention(input))`, with `residual` added when given; all `[tokens, hidden]`. */
  forward(
    input: Tensor,
    residual: Tensor | null,
    place: AttentionPlace,
  ): Tensor {
    const { heads, keyValueHeads, headSize } = this.sizes;
    const mixed = attendHeads(this.project(input), {
      ...this.form,
      ...this.headNorms(),
      heads,
      keyValueHeads,
      headSize,
      dropout: this.training ? this.sizes.attentionDropout ?? 0 : 0,
    }, place);
    return this.o_proj.forward(mixed, residual);
  }
}

/**
 * Queries, keys and values from one fused projection `[tokens, features]`, whose
 * features are all queries, then all keys, then all values.
 */
export function splitFused(fused: Tensor, sizes: HeadSizes): Projected {
  const { heads, keyValueHeads, headSize } = sizes;
  const [queries, own] = [heads * headSize, keyValueHeads * headSize];
  const part = (start: number, width: number): Tensor =>
    aten.slice(fused, 1, start, start + width);
  return {
    query: part(0, queries),
    key: part(queries, own),
    value: part(queries + own, own),
  };
}
