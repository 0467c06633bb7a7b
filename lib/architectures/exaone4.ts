/**
 * EXAONE 4: no norm before a branch but one after it, norms over each head's queries
 * and keys, and windows on most layers; with windows, only layers that slide rotate.
 *
 * @module
 */

import type { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, rmsNorms } from "./decoder.ts";
import {
  type DecoderConfig,
  type LayerType,
  readDecoderConfig,
  readLayerTypes,
  slidingWindows,
} from "./decoder_config.ts";
import { PostNormLayer } from "./olmo2.ts";
import { Qwen3Attention } from "./qwen3.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one EXAONE 4. */
export interface Exaone4Config extends DecoderConfig {
  /** For each layer, how many positions a token sees, itself included; `null` for all. */
  readonly windows: readonly (number | null)[];
  /** For each layer whether it rotates. */
  readonly rotates: readonly boolean[];
}

/** `layer_types`, or every layer but each `sliding_window_pattern`th slides. */
function readTypes(
  reader: ConfigReader,
  layers: number,
  window: number | null,
): readonly LayerType[] {
  // A pattern in letters comes with layer_types.
  const isListed = reader.value("layer_types") !== undefined;
  const pattern = isListed || window === null
    ? null
    : reader.countOrNull("sliding_window_pattern", 4);
  return readLayerTypes(
    reader,
    layers,
    (index) =>
      pattern !== null && (index + 1) % pattern !== 0
        ? "sliding_attention"
        : "full_attention",
  );
}

/** EXAONE 4 among the families. */
export const EXAONE4: ModelFamily<Exaone4Config> = {
  name: "EXAONE 4",
  modelTypes: ["exaone4"],
  architectures: ["Exaone4ForCausalLM"],
  readConfig(reader): Exaone4Config {
    const config = readDecoderConfig(reader, {
      modelType: "exaone4",
      vocabSize: 102400,
      intermediateSize: 16384,
      normEps: 1e-5,
      attentionBias: null,
      bosTokenId: 0,
    });
    const window = reader.countOrNull("sliding_window", 4096);
    const types = readTypes(reader, config.layers, window);
    return {
      ...config,
      windows: slidingWindows(reader, { types, window }),
      rotates: types.map((type) =>
        window === null || type === "sliding_attention"
      ),
    };
  },
  create: (config) =>
    new NamedDecoder(config, {
      ropes: [config.rope],
      norm: rmsNorms(config),
      layer: (index) =>
        new PostNormLayer(
          config,
          new Qwen3Attention(config, {
            rope: config.rotates[index] ? 0 : null,
            window: config.windows[index],
          }),
        ),
    }),
};
