/**
 * SmolLM3: Llama in which some layers have no rotation; these may have a sliding
 * window.
 *
 * @module
 */

import { GatedMlp, SelfAttention } from "../nn/mod.ts";
import type { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import {
  type DecoderConfig,
  readDecoderConfig,
  readLayerTypes,
  slidingWindows,
} from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one SmolLM3. */
export interface SmolLm3Config extends DecoderConfig {
  /** Whether the MLP's projections have biases. */
  readonly mlpBias: boolean;
  /** For each layer, whether it has rotation. */
  readonly rotates: readonly boolean[];
  /** For each layer, how many positions a token sees, itself included; `null` for all. */
  readonly windows: readonly (number | null)[];
}

/**
 * `no_rope_layers`, in which 1 means that a layer has rotation, or a rule for
 * every so many layers.
 */
function readRotates(reader: ConfigReader, layers: number): boolean[] {
  if (reader.value("no_rope_layers") === undefined) {
    const interval = reader.count("no_rope_layer_interval", 4);
    return Array.from({ length: layers }, (_, at) => (at + 1) % interval !== 0);
  }
  return reader.numbers("no_rope_layers", layers).map((each) => each !== 0);
}

/** SmolLM3 among the families. */
export const SMOLLM3: ModelFamily<SmolLm3Config> = {
  name: "SmolLM3",
  modelTypes: ["smollm3"],
  architectures: ["SmolLM3ForCausalLM"],
  readConfig(reader): SmolLm3Config {
    const config = readDecoderConfig(reader, {
      modelType: "smollm3",
      vocabSize: 128256,
      hiddenSize: 2048,
      layers: 36,
      heads: 16,
      keyValueHeads: 4,
      maxPositions: 32768,
      tieWordEmbeddings: true,
      ropeTheta: 2e6,
      eosTokenId: 128001,
      bosTokenId: 128000,
    });
    const rotates = readRotates(reader, config.layers);
    const window = reader.countOrNull("sliding_window", null);
    const slides = reader.flag("use_sliding_window", false) && window !== null;
    const types = readLayerTypes(
      reader,
      config.layers,
      (index) =>
        slides && !rotates[index] ? "sliding_attention" : "full_attention",
    );
    return {
      ...config,
      rotates,
      mlpBias: reader.flag("mlp_bias", false),
      windows: slidingWindows(reader, { types, window }),
    };
  },
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      norm,
      layer: (index) =>
        new PreNormLayer({
          attention: new SelfAttention(config, {
            rope: config.rotates[index] ? 0 : null,
            window: config.windows[index],
          }),
          mlp: new GatedMlp(config),
          norm,
        }),
    });
  },
};
