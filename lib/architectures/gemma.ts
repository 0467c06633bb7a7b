/**
 * Gemma: Llama with norms whose weights are centred on zero, embeddings multiplied
 * by √hidden and a GELU gate.
 *
 * @module
 */

import { CentredRmsNorm, GatedMlp, SelfAttention } from "../nn/mod.ts";
import type { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer } from "./decoder.ts";
import {
  type DecoderConfig,
  type DecoderDefaults,
  readDecoderConfig,
} from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** Reads what all Gemmas share; problems are collected in `reader`. */
export function readGemmaConfig(
  reader: ConfigReader,
  defaults: DecoderDefaults,
): DecoderConfig {
  reader.refuse("use_bidirectional_attention", (value) => value === false);
  return readDecoderConfig(reader, {
    vocabSize: 256000,
    headSize: 256,
    maxPositions: 8192,
    activation: "gelu_pytorch_tanh",
    tieWordEmbeddings: true,
    eosTokenId: 1,
    bosTokenId: 2,
    ...defaults,
  });
}

/** Makes a Gemma's norms over the hidden states, each one new. */
export function gemmaNorms(config: DecoderConfig): () => CentredRmsNorm {
  return () => new CentredRmsNorm(config.hiddenSize, config.normEps);
}

/** Gemma among the families. */
export const GEMMA: ModelFamily<DecoderConfig> = {
  name: "Gemma",
  modelTypes: ["gemma"],
  architectures: ["GemmaForCausalLM"],
  defaultTargets: ["q_proj", "v_proj"],
  readConfig(reader): DecoderConfig {
    const config = readGemmaConfig(reader, {
      modelType: "gemma",
      hiddenSize: 3072,
      intermediateSize: 24576,
      layers: 28,
      heads: 16,
      keyValueHeads: 16,
    });
    // The first releases wrote "gelu" but used its tanh approximation.
    return config.activation === "gelu"
      ? { ...config, activation: "gelu_pytorch_tanh" }
      : config;
  },
  create(config): NamedDecoder {
    const norm = gemmaNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      embeddingScale: Math.sqrt(config.hiddenSize),
      roundsEmbeddingScale: true,
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new SelfAttention(config),
          mlp: new GatedMlp(config),
          norm,
        }),
    });
  },
};
