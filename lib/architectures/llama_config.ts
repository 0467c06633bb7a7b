/**
 * Reads the `config.json` of a Llama-architecture model and refuses by name what
 * the model page does not compute.
 *
 * @module
 */

import type { RopeParameters } from "../nn/mod.ts";
import type { ModelConfig } from "./causal_lm.ts";
import { type ConfigJson, ConfigReader } from "./config_reader.ts";
import { readRope } from "./rope_config.ts";

/** The numbers of one Llama. */
export interface LlamaConfig extends ModelConfig {
  /** Width between the MLP's projections. */
  readonly intermediateSize: number;
  /** Query heads of a layer. */
  readonly heads: number;
  /** Key and value heads of a layer; divides `heads`. */
  readonly keyValueHeads: number;
  /** Width of one head, even. */
  readonly headSize: number;
  /** Added to the mean square in every norm. */
  readonly rmsNormEps: number;
  /** Whether the attention's projections have biases. */
  readonly attentionBias: boolean;
  /** Whether the MLP's projections have biases. */
  readonly mlpBias: boolean;
  /** How positions are rotated. */
  readonly rope: RopeParameters;
}

/**
 * The configuration in `json`, read from the folder `path`.
 *
 * @throws {InputError} naming every field that cannot be computed or is wrong.
 */
export function llamaConfig(path: string, json: ConfigJson): LlamaConfig {
  const reader = new ConfigReader(path, json);
  const config = readLlamaConfig(reader);
  reader.finish();
  return config;
}

/** Reads a Llama's fields; what is wrong is noted in `reader`. */
export function readLlamaConfig(reader: ConfigReader): LlamaConfig {
  refuseUnsupported(reader);
  const hiddenSize = reader.count("hidden_size", 4096);
  const heads = reader.count("num_attention_heads", 32);
  const headSize = readHeadSize(reader, { hiddenSize, heads });
  const maxPositions = reader.positions("max_position_embeddings", 2048);
  const config: LlamaConfig = {
    modelType: "llama",
    path: reader.path,
    source: reader.json,
    hiddenSize,
    heads,
    headSize,
    maxPositions,
    vocabSize: reader.count("vocab_size", 32000),
    intermediateSize: reader.count("intermediate_size", 11008),
    layers: reader.layers("num_hidden_layers", 32),
    keyValueHeads: reader.count("num_key_value_heads", heads),
    rmsNormEps: reader.number("rms_norm_eps", 1e-6, { least: 0 }),
    attentionBias: reader.flag("attention_bias", false),
    mlpBias: reader.flag("mlp_bias", false),
    initializerRange: reader.number("initializer_range", 0.02, { least: 0 }),
    tieWordEmbeddings: reader.flag("tie_word_embeddings", false),
    eosTokenIds: reader.ids("eos_token_id", 2),
    bosTokenId: reader.ids("bos_token_id", 1)[0] ?? null,
    rope: readRope(reader, { headSize, maxPositions }),
  };
  if (heads % config.keyValueHeads !== 0) {
    reader.problems.push(
      `num_attention_heads ${heads} must be a multiple of num_key_value_heads ${config.keyValueHeads}`,
    );
  }
  if (headSize % 2 !== 0) {
    reader.problems.push(`head_dim ${headSize} must be even`);
  }
  return config;
}

function readHeadSize(
  reader: ConfigReader,
  sizes: { hiddenSize: number; heads: number },
): number {
  const { hiddenSize, heads } = sizes;
  const size = hiddenSize / heads;
  if (reader.value("head_dim") !== undefined) {
    return reader.count("head_dim", 2);
  }
  if (Number.isInteger(size)) return size;
  reader.problems.push(
    `hidden_size ${hiddenSize} must be a multiple of num_attention_heads ${heads} where head_dim is not given`,
  );
  return 2;
}

/** What the model page does not compute, by name. */
function refuseUnsupported(reader: ConfigReader): void {
  reader.refuse(
    "hidden_act",
    (value) => value === "silu" || value === "swish",
  );
  reader.refuse("attention_dropout", (value) => value === 0);
  reader.refuse("quantization_config", () => false);
  reader.refuse("partial_rotary_factor", (value) => value === 1);
  reader.refuse("sliding_window", () => false);
}
