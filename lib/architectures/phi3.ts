/**
 * Phi-3, 3.5, 4 and 4-mini: Llama with fused projections, rotation of a part of
 * each head and, for long contexts, a factor for each frequency.
 *
 * @module
 */

import {
  attendHeads,
  type AttentionPlace,
  FusedGatedMlp,
  Linear,
  Module,
  type Projection,
  type RopeParameters,
  splitFused,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";
import { readRope, type RopeSizes } from "./rope_config.ts";

/** The numbers of one Phi-3. */
export interface Phi3Config extends DecoderConfig {
  /** How many positions a token sees on all layers, itself included; `null` for all. */
  readonly window: number | null;
  /** Share of each branch's output that dropout sets to zero in training. */
  readonly residualDropout: number;
}

/** Attention whose queries, keys and values come from one projection. */
class Phi3Attention extends Module {
  /** Combines the heads: `[tokens, heads·headSize]` to `[tokens, hidden]`. */
  o_proj: Projection;
  /** Computes queries, keys and values, in this order, in one projection. */
  qkv_proj: Projection;

  /** Makes the two projections without weights. */
  constructor(readonly config: Phi3Config) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize } = config;
    this.o_proj = new Linear({
      inFeatures: heads * headSize,
      outFeatures: hiddenSize,
    });
    this.qkv_proj = new Linear({
      inFeatures: hiddenSize,
      outFeatures: (heads + 2 * keyValueHeads) * headSize,
    });
  }

  /** `o_proj(attention(input))`, with `residual` added when given; all `[tokens, hidden]`. */
  forward(
    input: Tensor,
    residual: Tensor | null,
    place: AttentionPlace,
  ): Tensor {
    const { config } = this;
    const { heads, keyValueHeads, headSize, window } = config;
    const mixed = attendHeads(
      splitFused(this.qkv_proj.forward(input), config),
      {
        heads,
        keyValueHeads,
        headSize,
        window,
        dropout: this.training ? config.attentionDropout : 0,
      },
      place,
    );
    return this.o_proj.forward(mixed, residual);
  }
}

/** The rotation; its older names "su" and "yarn" mean longrope here. */
function readPhi3Rope(reader: ConfigReader, sizes: RopeSizes): RopeParameters {
  const original = reader.positions("original_max_position_embeddings", 4096);
  const renamed = (field: string): unknown => {
    const given = reader.json[field];
    if (typeof given !== "object" || given === null || Array.isArray(given)) {
      return given;
    }
    const fields = given as Readonly<Record<string, unknown>>;
    const kind = fields.rope_type ?? fields.type;
    return kind === "su" || kind === "yarn"
      ? { ...fields, rope_type: "longrope" }
      : fields;
  };
  const fields = {
    ...reader.json,
    original_max_position_embeddings: original,
    rope_scaling: renamed("rope_scaling"),
    rope_parameters: renamed("rope_parameters"),
  };
  return readRope(
    new ConfigReader(reader.path, fields, reader.problems),
    { ...sizes, roundsOddUp: true },
  );
}

/** Phi-3 among the families. */
export const PHI3: ModelFamily<Phi3Config> = {
  name: "Phi-3",
  modelTypes: ["phi3"],
  architectures: ["Phi3ForCausalLM"],
  readConfig: (reader) => ({
    ...readDecoderConfig(reader, {
      modelType: "phi3",
      vocabSize: 32064,
      hiddenSize: 3072,
      intermediateSize: 8192,
      maxPositions: 4096,
      normEps: 1e-5,
      attentionBias: null,
      partialRotaryFactor: 1,
      eosTokenId: 32000,
      readRope: readPhi3Rope,
    }),
    window: reader.countOrNull("sliding_window", null),
    residualDropout: reader.share("resid_pdrop", 0),
  }),
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    const { residualDropout: dropout } = config;
    return new NamedDecoder(config, {
      ropes: [config.rope],
      recomputesCache: true,
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new Phi3Attention(config),
          mlp: new FusedGatedMlp(config),
          norm,
          ...(dropout > 0 && { residual: { dropout } }),
        }),
    });
  },
};
