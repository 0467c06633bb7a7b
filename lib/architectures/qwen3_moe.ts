/**
 * Qwen3-MoE: Qwen3 with a mixture of experts in the place of most MLPs.
 *
 * @module
 */

import { GatedMlp, MixtureMlp, type MixtureOptions } from "../nn/mod.ts";
import type { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import { Qwen3Attention } from "./qwen3.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Qwen3-MoE. */
export interface Qwen3MoeConfig extends DecoderConfig, MixtureOptions {
  /** How many positions a token sees on all layers, itself included; `null` for all. */
  readonly window: number | null;
  /** For each layer whether it has experts. */
  readonly sparse: readonly boolean[];
}

const MOST_EXPERTS = 1024;

/** How many experts there are, under either name of the field. */
function readExperts(
  reader: ConfigReader,
): Pick<MixtureOptions, "experts" | "expertsPerToken"> {
  const field = reader.value("num_experts") === undefined
    ? "num_local_experts"
    : "num_experts";
  const experts = reader.count(field, 128, MOST_EXPERTS);
  reader.refuse("num_local_experts", (value) => value === experts);
  const expertsPerToken = reader.count("num_experts_per_tok", 8);
  if (expertsPerToken > experts) {
    reader.problems.push(
      `num_experts_per_tok ${expertsPerToken} must be at most ${field} ${experts}`,
    );
  }
  return { experts, expertsPerToken };
}

/** Layers in `mlp_only_layers` have a plain MLP, and of the others all but each `decoder_sparse_step`th. */
function readSparse(reader: ConfigReader, layers: number): boolean[] {
  const step = reader.count("decoder_sparse_step", 1);
  const dense = reader.value("mlp_only_layers") ?? [];
  if (!Array.isArray(dense) || !dense.every(Number.isSafeInteger)) {
    reader.problems.push("mlp_only_layers must be a list of layers");
    return [];
  }
  return Array.from(
    { length: layers },
    (_, index) => !dense.includes(index) && (index + 1) % step === 0,
  );
}

function readWindow(reader: ConfigReader): number | null {
  const window = reader.countOrNull("sliding_window", 4096);
  return reader.flag("use_sliding_window", false) ? window : null;
}

/** Qwen3-MoE among the families. */
export const QWEN3_MOE: ModelFamily<Qwen3MoeConfig> = {
  name: "Qwen3-MoE",
  modelTypes: ["qwen3_moe"],
  architectures: ["Qwen3MoeForCausalLM"],
  parameterTargets: {
    gate: "gate.weight",
    gate_proj: "gate_up_proj",
    up_proj: "gate_up_proj",
    down_proj: "down_proj",
  },
  readConfig(reader): Qwen3MoeConfig {
    // It adds the router's own loss.
    reader.refuse("output_router_logits", (value) => value === false);
    const config = readDecoderConfig(reader, {
      modelType: "qwen3_moe",
      vocabSize: 151936,
      hiddenSize: 2048,
      intermediateSize: 6144,
      layers: 24,
      keyValueHeads: 4,
      maxPositions: 32768,
      eosTokenId: null,
      bosTokenId: null,
    });
    return {
      ...config,
      ...readExperts(reader),
      expertSize: reader.count("moe_intermediate_size", 768),
      normsShares: reader.flag("norm_topk_prob", false),
      window: readWindow(reader),
      sparse: readSparse(reader, config.layers),
    };
  },
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      norm,
      layer: (index) =>
        new PreNormLayer({
          attention: new Qwen3Attention(config, { window: config.window }),
          mlp: config.sparse[index]
            ? new MixtureMlp(config)
            : new GatedMlp(config),
          norm,
        }),
    });
  },
};
