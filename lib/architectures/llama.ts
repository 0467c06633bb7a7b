/**
 * Llama, the plain decoder: norm, attention with rotary positions and grouped
 * queries, norm, gated MLP. Atom, Yi, DeepSeek-LLM and many others are the same
 * model with other sizes, all of which are in `config.json`.
 *
 * @module
 */

import { GatedMlp, SelfAttention } from "../nn/mod.ts";
import { type ConfigJson, ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Llama. */
export interface LlamaConfig extends DecoderConfig {
  /** Whether the MLP's projections have biases. */
  readonly mlpBias: boolean;
}

/** `LlamaForCausalLM`. */
export class LlamaForCausalLm extends NamedDecoder {
  /** Makes the tree without weights, which is enough to get names and shapes. */
  constructor(config: LlamaConfig) {
    const norm = rmsNorms(config);
    super(config, {
      ropes: [config.rope],
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new SelfAttention(config),
          mlp: new GatedMlp(config),
          norm,
        }),
    });
  }
}

/** Reads the fields of a Llama; problems are collected in `reader`. */
function readLlamaConfig(reader: ConfigReader): LlamaConfig {
  return {
    ...readDecoderConfig(reader, { modelType: "llama" }),
    mlpBias: reader.flag("mlp_bias", false),
  };
}

/**
 * The configuration in `json`, read from the folder `path`.
 *
 * @throws {InputError} naming every field that is invalid or not supported.
 */
export function llamaConfig(path: string, json: ConfigJson): LlamaConfig {
  const reader = new ConfigReader(path, json);
  const config = readLlamaConfig(reader);
  reader.finish();
  return config;
}

/** Llama among the families. */
export const LLAMA: ModelFamily<LlamaConfig> = {
  name: "Llama",
  modelTypes: ["llama", "atom"],
  architectures: ["LlamaForCausalLM"],
  defaultTargets: ["q_proj", "v_proj"],
  readConfig: readLlamaConfig,
  create: (config) => new LlamaForCausalLm(config),
};
