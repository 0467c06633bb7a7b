/**
 * Qwen2 and Qwen2.5: Llama with biases on queries, keys and values, and a window on
 * the upper layers where the config asks for one.
 *
 * @module
 */

import { GatedMlp, SelfAttention } from "../nn/mod.ts";
import type { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import {
  type DecoderConfig,
  type DecoderDefaults,
  readDecoderConfig,
  readLayerTypes,
  slidingWindows,
} from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Qwen2. */
export interface Qwen2Config extends DecoderConfig {
  /** For each layer, how many positions a token sees, itself included; `null` for all. */
  readonly windows: readonly (number | null)[];
}

/** What Qwen2 takes where `config.json` says nothing. */
export const QWEN2_DEFAULTS: Omit<DecoderDefaults, "modelType"> = {
  vocabSize: 151936,
  intermediateSize: 22016,
  keyValueHeads: 32,
  maxPositions: 32768,
  eosTokenId: null,
  bosTokenId: null,
};

/** Reads which layers slide: those from `max_window_layers` on, or as `layer_types` says. */
export function qwenWindows(
  reader: ConfigReader,
  layers: number,
): readonly (number | null)[] {
  const isUsed = reader.flag("use_sliding_window", false);
  const given = reader.countOrNull("sliding_window", 4096);
  const window = isUsed ? given : null;
  const first = reader.number("max_window_layers", 28);
  const types = readLayerTypes(
    reader,
    layers,
    (index) =>
      window !== null && index >= first
        ? "sliding_attention"
        : "full_attention",
  );
  return slidingWindows(reader, { types, window });
}

/** Qwen2 among the families. */
export const QWEN2: ModelFamily<Qwen2Config> = {
  name: "Qwen2",
  modelTypes: ["qwen2"],
  architectures: ["Qwen2ForCausalLM"],
  defaultTargets: ["q_proj", "v_proj"],
  readConfig(reader): Qwen2Config {
    const config = readDecoderConfig(reader, {
      ...QWEN2_DEFAULTS,
      modelType: "qwen2",
      attentionBias: null,
    });
    return { ...config, windows: qwenWindows(reader, config.layers) };
  },
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      norm,
      layer: (index) =>
        new PreNormLayer({
          attention: new SelfAttention(
            { ...config, attentionBias: true, outputBias: false },
            { window: config.windows[index] },
          ),
          mlp: new GatedMlp(config),
          norm,
        }),
    });
  },
};
