/**
 * MiniCPM 1B and 2B: Llama with multipliers on embeddings, branches and the hidden
 * states before the head.
 *
 * @module
 */

import { GatedMlp, SelfAttention } from "../nn/mod.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";
import { readOlderRope } from "./rope_config.ts";

/** The numbers of one MiniCPM. */
export interface MiniCpmConfig extends DecoderConfig {
  /** The factor of embeddings. */
  readonly embeddingScale: number;
  /** The factor of both branches, before the division by the root of the layers. */
  readonly depthScale: number;
  /** The width at which normalised hidden states would go to the head as they are. */
  readonly baseWidth: number;
}

/** MiniCPM among the families. */
export const MINICPM: ModelFamily<MiniCpmConfig> = {
  name: "MiniCPM",
  modelTypes: ["minicpm"],
  architectures: ["MiniCPMForCausalLM"],
  readConfig(reader): MiniCpmConfig {
    // Later models of the same model_type: experts, and attention that skips.
    reader.refuse("num_experts", (value) => value === 0);
    reader.refuse("sparse_config", () => false);
    return {
      ...readDecoderConfig(reader, {
        modelType: "minicpm",
        tieWordEmbeddings: true,
        readRope: readOlderRope,
      }),
      embeddingScale: reader.number("scale_emb", 1),
      depthScale: reader.number("scale_depth", 1),
      baseWidth: reader.number("dim_model_base", 1, { moreThan: 0 }),
    };
  },
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      embeddingScale: config.embeddingScale,
      headScale: config.baseWidth / config.hiddenSize,
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new SelfAttention(config),
          mlp: new GatedMlp(config),
          residual: { scale: config.depthScale / Math.sqrt(config.layers) },
          norm,
        }),
    });
  },
};
