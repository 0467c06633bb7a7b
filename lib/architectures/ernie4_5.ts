/**
 * ERNIE 4.5, the dense models: Llama whose heads are rotated in neighbouring pairs,
 * with biases everywhere or nowhere.
 *
 * @module
 */

import { GatedMlp, SelfAttention } from "../nn/mod.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one ERNIE 4.5. */
export interface Ernie45Config extends DecoderConfig {
  /** Whether the MLP's projections have biases. */
  readonly mlpBias: boolean;
}

/** ERNIE 4.5 among the families. */
export const ERNIE4_5: ModelFamily<Ernie45Config> = {
  name: "ERNIE 4.5",
  modelTypes: ["ernie4_5"],
  architectures: ["Ernie4_5ForCausalLM"],
  readConfig(reader): Ernie45Config {
    const bias = reader.flag("use_bias", false);
    return {
      ...readDecoderConfig(reader, {
        modelType: "ernie4_5",
        vocabSize: 103424,
        hiddenSize: 1024,
        intermediateSize: 3072,
        layers: 18,
        heads: 16,
        keyValueHeads: 2,
        headSize: 128,
        maxPositions: 131072,
        normEps: 1e-5,
        attentionBias: null,
        tieWordEmbeddings: true,
        ropeTheta: 5e5,
      }),
      attentionBias: bias,
      mlpBias: bias,
      // transformers does not read the field.
      attentionDropout: 0,
    };
  },
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new SelfAttention(config, { pairing: "neighbours" }),
          mlp: new GatedMlp(config),
          norm,
        }),
    });
  },
};
