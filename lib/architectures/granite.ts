/**
 * Granite: Llama with multipliers on embeddings, scores, branches and logits.
 *
 * @module
 */

import { GatedMlp, SelfAttention } from "../nn/mod.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Granite. */
export interface GraniteConfig extends DecoderConfig {
  /** Whether the MLP's projections have biases. */
  readonly mlpBias: boolean;
  /** The factor of the embeddings. */
  readonly embeddingMultiplier: number;
  /** The factor of products of queries and keys, instead of `1 / √headSize`. */
  readonly attentionMultiplier: number;
  /** The factor of both branches. */
  readonly residualMultiplier: number;
  /** The divisor of the logits. */
  readonly logitsScaling: number;
}

/** Granite among the families. */
export const GRANITE: ModelFamily<GraniteConfig> = {
  name: "Granite",
  modelTypes: ["granite"],
  architectures: ["GraniteForCausalLM"],
  readConfig: (reader) => ({
    ...readDecoderConfig(reader, { modelType: "granite" }),
    mlpBias: reader.flag("mlp_bias", false),
    embeddingMultiplier: reader.number("embedding_multiplier", 1),
    attentionMultiplier: reader.number("attention_multiplier", 1),
    residualMultiplier: reader.number("residual_multiplier", 1),
    logitsScaling: reader.number("logits_scaling", 1, { moreThan: 0 }),
  }),
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      embeddingScale: config.embeddingMultiplier,
      logitScale: 1 / config.logitsScaling,
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new SelfAttention(config, {
            scale: config.attentionMultiplier,
          }),
          mlp: new GatedMlp(config),
          residual: { scale: config.residualMultiplier },
          norm,
        }),
    });
  },
};
