/**
 * Mistral: Llama with a sliding window on all layers. Ministral: with a sliding
 * window on some layers.
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

/** The numbers of one Mistral. */
export interface MistralConfig extends DecoderConfig {
  /** For each layer, how many positions a token sees, itself included; `null` for all. */
  readonly windows: readonly (number | null)[];
}

function readShared(
  reader: ConfigReader,
  modelType: string,
): MistralConfig & { readonly window: number | null } {
  const config = readDecoderConfig(reader, {
    modelType,
    intermediateSize: 14336,
    keyValueHeads: 8,
    maxPositions: 131072,
    attentionBias: null,
  });
  const window = reader.countOrNull("sliding_window", 4096);
  return { ...config, window, windows: Array(config.layers).fill(window) };
}

function create(config: MistralConfig): NamedDecoder {
  const norm = rmsNorms(config);
  return new NamedDecoder(config, {
    ropes: [config.rope],
    norm,
    layer: (index) =>
      new PreNormLayer({
        attention: new SelfAttention(config, {
          window: config.windows[index],
        }),
        mlp: new GatedMlp(config),
        norm,
      }),
  });
}

/** Mistral among the families; all layers slide where there is a window. */
export const MISTRAL: ModelFamily<MistralConfig> = {
  name: "Mistral",
  modelTypes: ["mistral"],
  architectures: ["MistralForCausalLM"],
  defaultTargets: ["q_proj", "v_proj"],
  readConfig: (reader) => readShared(reader, "mistral"),
  create,
};

/** Ministral among the families; `layer_types` says which layers slide. */
export const MINISTRAL: ModelFamily<MistralConfig> = {
  name: "Ministral",
  modelTypes: ["ministral"],
  architectures: ["MinistralForCausalLM"],
  readConfig(reader): MistralConfig {
    const { window, ...config } = readShared(reader, "ministral");
    const usual = window === null ? "full_attention" : "sliding_attention";
    const types = readLayerTypes(reader, config.layers, () => usual);
    return { ...config, windows: slidingWindows(reader, { types, window }) };
  },
  create,
};
