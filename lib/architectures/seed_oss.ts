/**
 * Seed-OSS: Llama with biases on queries, keys and values, and dropout unless the
 * config says otherwise.
 *
 * @module
 */

import { GatedMlp, SelfAttention } from "../nn/mod.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Seed-OSS. */
export interface SeedOssConfig extends DecoderConfig {
  /** Whether the output of the attention has a bias. */
  readonly outputBias: boolean;
  /** Whether the MLP's projections have biases. */
  readonly mlpBias: boolean;
  /** Share of each branch that dropout sets to zero in training. */
  readonly residualDropout: number;
}

/** Seed-OSS among the families. */
export const SEED_OSS: ModelFamily<SeedOssConfig> = {
  name: "Seed-OSS",
  modelTypes: ["seed_oss"],
  architectures: ["SeedOssForCausalLM"],
  readConfig: (reader) => ({
    ...readDecoderConfig(reader, {
      modelType: "seed_oss",
      vocabSize: 155136,
      intermediateSize: 27648,
      layers: 64,
      heads: 80,
      keyValueHeads: 8,
      headSize: 128,
      maxPositions: 524288,
      attentionBias: true,
      attentionDropout: 0.1,
      bosTokenId: 0,
    }),
    outputBias: reader.flag("attention_out_bias", false),
    mlpBias: reader.flag("mlp_bias", false),
    residualDropout: reader.share("residual_dropout", 0.1),
  }),
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    const { residualDropout: dropout } = config;
    return new NamedDecoder(config, {
      ropes: [config.rope],
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new SelfAttention(config),
          mlp: new GatedMlp(config),
          norm,
          ...(dropout > 0 && { residual: { dropout } }),
        }),
    });
  },
};
