/**
 * OLMo 2: a norm after each branch instead of before, and norms over all queries
 * and all keys before they are split into heads.
 *
 * @module
 */

import {
  type BatchContext,
  GatedMlp,
  type KeyValueCache,
  type Projected,
  RmsNorm,
  SelfAttention,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import { type Branch, NamedDecoder, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** Attention that normalises whole projections before heads are split. */
class Olmo2Attention extends SelfAttention {
  /** The norm of all queries. */
  q_norm: RmsNorm;
  /** The norm of all keys. */
  k_norm: RmsNorm;

  /** Makes projections and norms without weights. */
  constructor(config: DecoderConfig) {
    super(config);
    const { heads, keyValueHeads, headSize, normEps } = config;
    this.q_norm = new RmsNorm(heads * headSize, normEps);
    this.k_norm = new RmsNorm(keyValueHeads * headSize, normEps);
  }

  /** The three projections; queries and keys are normalised. */
  protected override project(input: Tensor): Projected {
    const { query, key, value } = super.project(input);
    return {
      query: this.q_norm.forward(query),
      key: this.k_norm.forward(key),
      value,
    };
  }
}

/** A layer that normalises the output of its branches: `x + norm(branch(x))`. */
export class PostNormLayer extends DecoderLayer {
  /** The first branch. */
  self_attn: Branch;
  /** The second branch. */
  mlp: GatedMlp;
  /** The norm after the attention. */
  post_attention_layernorm: RmsNorm;
  /** The norm after the MLP. */
  post_feedforward_layernorm: RmsNorm;

  /** Makes the layer without weights around `attention`. */
  constructor(config: DecoderConfig, attention: Branch) {
    super();
    const norm = rmsNorms(config);
    this.self_attn = attention;
    this.mlp = new GatedMlp(config);
    this.post_attention_layernorm = norm();
    this.post_feedforward_layernorm = norm();
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const mixed = this.self_attn.forward(hidden, null, { context, cache });
    const attended = hidden.add(this.post_attention_layernorm.forward(mixed));
    return attended.add(
      this.post_feedforward_layernorm.forward(this.mlp.forward(attended)),
    );
  }
}

/** OLMo 2 among the families. */
export const OLMO2: ModelFamily<DecoderConfig> = {
  name: "OLMo 2",
  modelTypes: ["olmo2"],
  architectures: ["Olmo2ForCausalLM"],
  readConfig: (reader) =>
    readDecoderConfig(reader, {
      modelType: "olmo2",
      vocabSize: 50304,
      normEps: 1e-5,
      eosTokenId: 50279,
      bosTokenId: null,
    }),
  create: (config) =>
    new NamedDecoder(config, {
      ropes: [config.rope],
      norm: rmsNorms(config),
      layer: () => new PostNormLayer(config, new Olmo2Attention(config)),
    }),
};
