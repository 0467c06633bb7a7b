/**
 * GLM-4 in transformers' form, and GLM-4-0414, which adds a norm after each
 * branch. A part of each head is rotated, in pairs of neighbours; gate and input
 * of the MLP are fused.
 *
 * @module
 */

import {
  type BatchContext,
  FusedGatedMlp,
  type KeyValueCache,
  type RmsNorm,
  SelfAttention,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import type { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";
import { readRope } from "./rope_config.ts";

function readGlmConfig(
  reader: ConfigReader,
  modelType: string,
): DecoderConfig {
  return readDecoderConfig(reader, {
    modelType,
    vocabSize: 151552,
    intermediateSize: 13696,
    layers: 40,
    keyValueHeads: 2,
    headSize: 128,
    maxPositions: 131072,
    normEps: 1.5625e-7,
    attentionBias: true,
    partialRotaryFactor: 0.5,
    readRope: (rope, sizes) => readRope(rope, { ...sizes, roundsOddUp: true }),
    eosTokenId: [151329, 151336, 151338],
    bosTokenId: null,
  });
}

function glmAttention(config: DecoderConfig): SelfAttention {
  return new SelfAttention({ ...config, outputBias: false }, {
    pairing: "neighbours",
  });
}

/** GLM-4 among the families. */
export const GLM: ModelFamily<DecoderConfig> = {
  name: "GLM-4",
  modelTypes: ["glm"],
  architectures: ["GlmForCausalLM"],
  readConfig: (reader) => readGlmConfig(reader, "glm"),
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      norm,
      layer: () =>
        new PreNormLayer({
          attention: glmAttention(config),
          mlp: new FusedGatedMlp(config),
          norm,
        }),
    });
  },
};

/** A layer with norms before and after each branch: `x + post(branch(pre(x)))`. */
class Glm4Layer extends DecoderLayer {
  /** The first branch. */
  self_attn: SelfAttention;
  /** The second branch. */
  mlp: FusedGatedMlp;
  /** The norm before the attention. */
  input_layernorm: RmsNorm;
  /** The norm before the MLP. */
  post_attention_layernorm: RmsNorm;
  /** The norm after the attention. */
  post_self_attn_layernorm: RmsNorm;
  /** The norm after the MLP. */
  post_mlp_layernorm: RmsNorm;

  /** Makes the layer without weights. */
  constructor(config: DecoderConfig) {
    super();
    const norm = rmsNorms(config);
    this.self_attn = glmAttention(config);
    this.mlp = new FusedGatedMlp(config);
    this.input_layernorm = norm();
    this.post_attention_layernorm = norm();
    this.post_self_attn_layernorm = norm();
    this.post_mlp_layernorm = norm();
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const place = { context, cache };
    const normed = this.input_layernorm.forward(hidden);
    const mixed = this.self_attn.forward(normed, null, place);
    const attended = hidden.add(this.post_self_attn_layernorm.forward(mixed));
    const again = this.post_attention_layernorm.forward(attended);
    return attended.add(
      this.post_mlp_layernorm.forward(this.mlp.forward(again)),
    );
  }
}

/** GLM-4-0414 among the families. */
export const GLM4: ModelFamily<DecoderConfig> = {
  name: "GLM-4-0414",
  modelTypes: ["glm4"],
  architectures: ["Glm4ForCausalLM"],
  readConfig: (reader) => readGlmConfig(reader, "glm4"),
  create: (config) =>
    new NamedDecoder(config, {
      ropes: [config.rope],
      norm: rmsNorms(config),
      layer: () => new Glm4Layer(config),
    }),
};
