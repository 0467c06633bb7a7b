/**
 * What families' attention layers share: from projected queries, keys and values to
 * mixed values, and the layer with four separate projections.
 *
 * @module
 */

import { aten, type Tensor } from "../tensor/mod.ts";
import {
  attention,
  type AttentionForm,
  type KeyValueCache,
} from "./attention.ts";
import type { BatchContext } from "./batch_context.ts";
import { Linear, type Projection } from "./linear.ts";
import { Module } from "./module.ts";
import type { Norm } from "./norms.ts";
import { type Pairing, rotate } from "./rotary_embedding.ts";

/** Where a layer's attention stands. */
export interface AttentionPlace {
  /** The batch. */
  readonly context: BatchContext;
  /** Keys and values of earlier positions, when generating. */
  readonly cache?: KeyValueCache | undefined;
}

/** How many heads of which size there are. */
export interface HeadSizes {
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads; divides `heads`. */
  readonly keyValueHeads: number;
  /** Width of one head. */
  readonly headSize: number;
}

/** Norms of each head's queries and keys, over the size of a head. */
export interface HeadNorms {
  /** Of the queries. */
  readonly query: Norm;
  /** Of the keys. */
  readonly key: Norm;
}

/** How heads are turned and mixed. */
export interface HeadForm extends AttentionForm {
  /** Which rotation of the context turns them, `null` for none. Default the first. */
  readonly rope?: number | null;
  /** Which numbers of a head are turned together. Default `"halves"`. */
  readonly pairing?: Pairing;
  /** Norms before the rotation. */
  readonly norms?: HeadNorms | undefined;
  /** Norms after the rotation. */
  readonly lateNorms?: HeadNorms | undefined;
}

/** Projected hidden states. */
export interface Projected {
  /** `[tokens, heads·headSize]` */
  readonly query: Tensor;
  /** `[tokens, keyValueHeads·headSize]` */
  readonly key: Tensor;
  /** Of the shape of the keys. */
  readonly value: Tensor;
}

/**
 * Splits queries, keys and values into heads, turns queries and keys by their
 * positions, appends to the cache and mixes: `[tokens, heads·headSize]`.
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
  const ownKeys = turnedHeads(
    projected.key,
    { ...form, heads: keyValueHeads, which: "key" },
    context,
  );
  const ownValues = aten.transpose(
    aten.view(projected.value, [rows, length, keyValueHeads, headSize]),
    1,
    2,
  );
  const seen = cache?.append(ownKeys, ownValues) ??
    { keys: ownKeys, values: ownValues };
  const mixed = aten.transpose(
    attention({ ...form, query, ...seen }, context),
    1,
    2,
  );
  return aten.reshape(mixed, [rows * length, heads * headSize]);
}

/** Heads of queries or keys, normed and turned: `[rows, heads, length, headSize]`. */
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
      // A norm's weights are in the order of the checkpoint.
      keepsOrder: lateNorms !== undefined,
    });
  }
  if (lateNorms !== undefined) split = lateNorms[which].forward(split);
  return aten.transpose(split, 1, 2);
}

/** Sizes of a {@linkcode SelfAttention} and its biases. */
export interface SelfAttentionOptions extends HeadSizes {
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Share of the attention's weights that is zeroed in training. Default 0. */
  readonly attentionDropout?: number | undefined;
  /** Whether queries, keys and values have biases. Default no. */
  readonly attentionBias?: boolean | undefined;
  /** Whether the output has one. Default as the others. */
  readonly outputBias?: boolean | undefined;
}

/** Attention with one projection each for queries, keys, values and the output. */
export class SelfAttention extends Module {
  /** Makes queries: `[tokens, hidden]` to `[tokens, heads·headSize]`. */
  q_proj: Projection;
  /** Makes keys: `[tokens, hidden]` to `[tokens, keyValueHeads·headSize]`. */
  k_proj: Projection;
  /** Makes values, of the shape of the keys. */
  v_proj: Projection;
  /** Brings the heads together: `[tokens, heads·headSize]` to `[tokens, hidden]`. */
  o_proj: Projection;

  /** Makes the four projections without weights. */
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

  /** The three projections; a family that norms whole projections does it here. */
  protected project(input: Tensor): Projected {
    return {
      query: this.q_proj.forward(input),
      key: this.k_proj.forward(input),
      value: this.v_proj.forward(input),
    };
  }

  /** Norms of single heads, where a family has them. */
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
 * Queries, keys and values out of one fused projection `[tokens, features]` whose
 * rows are all queries, all keys, all values.
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
