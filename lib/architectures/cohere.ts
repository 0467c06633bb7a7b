/**
 * Cohere's Command R: attention and MLP both read one norm and are added together,
 * heads are rotated in neighbouring pairs, logits are scaled.
 *
 * @module
 */

import {
  type BatchContext,
  GatedMlp,
  type HeadForm,
  type KeyValueCache,
  LayerNorm,
  SelfAttention,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import { NamedDecoder } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Cohere model. */
export interface CohereConfig extends DecoderConfig {
  /** The factor of logits. */
  readonly logitScale: number;
  /** Whether each head's queries and keys are normalised, with weights for each head. */
  readonly normsHeads: boolean;
}

/** A norm without a bias. */
function plainNorm(
  config: CohereConfig,
  shape: number | readonly number[] = config.hiddenSize,
): LayerNorm {
  return new LayerNorm(shape, { eps: config.normEps, bias: false });
}

/** Attention that may norm between projection and rotation. */
class CohereAttention extends SelfAttention {
  /** The norm of each head's queries. */
  declare q_norm: LayerNorm | undefined;
  /** The norm of each head's keys. */
  declare k_norm: LayerNorm | undefined;

  /** Makes projections and norms without weights. */
  constructor(config: CohereConfig) {
    super(config, { pairing: "neighbours" });
    if (!config.normsHeads) return;
    const { heads, keyValueHeads, headSize } = config;
    this.q_norm = plainNorm(config, [heads, headSize]);
    this.k_norm = plainNorm(config, [keyValueHeads, headSize]);
  }

  /** The norms before the rotation, where there are any. */
  protected override headNorms(): Pick<HeadForm, "norms"> {
    const { q_norm: query, k_norm: key } = this;
    return query === undefined || key === undefined
      ? {}
      : { norms: { query, key } };
  }
}

/** `x + attn(norm(x)) + mlp(norm(x))`. */
class CohereLayer extends DecoderLayer {
  /** The first branch. */
  self_attn: CohereAttention;
  /** The second branch. */
  mlp: GatedMlp;
  /** The norm before both. */
  input_layernorm: LayerNorm;

  /** Makes the layer without weights. */
  constructor(config: CohereConfig) {
    super();
    this.self_attn = new CohereAttention(config);
    this.mlp = new GatedMlp(config);
    this.input_layernorm = plainNorm(config);
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const normed = this.input_layernorm.forward(hidden);
    const attended = this.self_attn.forward(normed, hidden, { context, cache });
    return this.mlp.forward(normed, attended);
  }
}

/** Cohere among the families. */
export const COHERE: ModelFamily<CohereConfig> = {
  name: "Cohere",
  modelTypes: ["cohere"],
  architectures: ["CohereForCausalLM"],
  readConfig: (reader) => ({
    ...readDecoderConfig(reader, {
      modelType: "cohere",
      vocabSize: 256000,
      hiddenSize: 8192,
      intermediateSize: 22528,
      layers: 40,
      heads: 64,
      maxPositions: 8192,
      epsField: "layer_norm_eps",
      normEps: 1e-5,
      tieWordEmbeddings: true,
      ropeTheta: 5e5,
      eosTokenId: 255001,
      bosTokenId: 5,
    }),
    logitScale: reader.number("logit_scale", 0.0625),
    normsHeads: reader.flag("use_qk_norm", false),
  }),
  create: (config) =>
    new NamedDecoder(config, {
      ropes: [config.rope],
      logitScale: config.logitScale,
      norm: () => plainNorm(config),
      layer: () => new CohereLayer(config),
    }),
};
