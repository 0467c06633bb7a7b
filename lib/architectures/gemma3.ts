/**
 * Gemma 3, the text model: Gemma 2's layers with norms over each head's queries
 * and keys, and different rotary embeddings for full and for sliding-window
 * layers.
 *
 * @module
 */

import {
  CentredRmsNorm,
  type HeadForm,
  type RopeParameters,
  SelfAttention,
} from "../nn/mod.ts";
import { quoted } from "../input_error.ts";
import { ConfigReader } from "./config_reader.ts";
import { NamedDecoder } from "./decoder.ts";
import {
  type DecoderConfig,
  readLayerTypes,
  slidingWindows,
} from "./decoder_config.ts";
import { gemmaNorms, readGemmaConfig } from "./gemma.ts";
import { Gemma2Layer } from "./gemma2.ts";
import type { ModelFamily } from "./registry.ts";
import { readRope, type RopeSizes } from "./rope_config.ts";

/** The numbers of one Gemma 3; `rope` is that of the full layers. */
export interface Gemma3Config extends DecoderConfig {
  /** The rotary embedding of the sliding-window layers. */
  readonly localRope: RopeParameters;
  /** Scores are divided by the square root of this. */
  readonly queryPreAttnScalar: number;
  /** Soft cap of logits, `null` for none. */
  readonly finalLogitSoftcapping: number | null;
  /** For each layer, how many positions a token sees, itself included; `null` for all. */
  readonly windows: readonly (number | null)[];
}

/** Attention with norms between projection and rotation. */
class Gemma3Attention extends SelfAttention {
  /** The norm of each head's queries. */
  q_norm: CentredRmsNorm;
  /** The norm of each head's keys. */
  k_norm: CentredRmsNorm;

  /** Makes projections and norms without weights. */
  constructor(config: DecoderConfig, form: HeadForm) {
    super(config, form);
    this.q_norm = new CentredRmsNorm(config.headSize, config.normEps);
    this.k_norm = new CentredRmsNorm(config.headSize, config.normEps);
  }

  /** The norms before the rotation. */
  protected override headNorms(): Pick<HeadForm, "norms"> {
    return { norms: { query: this.q_norm, key: this.k_norm } };
  }
}

/** Reads a rotation from these fields of a config. */
function readFields(
  reader: ConfigReader,
  fields: Readonly<Record<string, unknown>>,
  sizes: RopeSizes,
): RopeParameters {
  const { path, problems } = reader;
  const own = new ConfigReader(path, fields, problems);
  for (const field of ["rope_scaling", "rope_parameters"]) {
    // transformers 5 passes it over in this family, transformers 4 does not.
    own.section(field).refuse("truncate", (value) => value === true);
  }
  return readRope(own, sizes);
}

/** Refuses a type that only transformers 4 reads under its older name. */
function refuseOlderType(scaling: ConfigReader): void {
  const { rope_type, type = "default" } = scaling.json;
  if (rope_type !== undefined || type === "default") return;
  scaling.problems.push(
    `rope_scaling has type ${
      quoted(type, 60)
    } without rope_type, which transformers 4 and 5 read differently; its name must be rope_type`,
  );
}

/**
 * The rotation of full layers: in transformers 5 a part of `rope_parameters`, in
 * transformers 4 `rope_theta` and `rope_scaling`.
 */
function readFullRope(reader: ConfigReader, sizes: RopeSizes): RopeParameters {
  const { rope_theta, rope_scaling } = reader.json;
  const { full_attention } = reader.section("rope_parameters").json;
  refuseOlderType(reader.section("rope_scaling"));
  const fields = { rope_theta, rope_scaling, rope_parameters: full_attention };
  return readFields(reader, fields, sizes);
}

/**
 * The rotation of sliding layers: in transformers 5 a part of `rope_parameters`, in
 * transformers 4 `rope_local_base_freq`.
 */
function readLocalRope(
  reader: ConfigReader,
  config: DecoderConfig,
): RopeParameters {
  const { headSize, maxPositions } = config;
  const { rope_parameters, rope_local_base_freq: rope_theta } = reader.json;
  const { sliding_attention } = (rope_parameters ?? {}) as Partial<
    Record<string, unknown>
  >;
  const fields = { rope_theta, rope_parameters: sliding_attention };
  return readFields(reader, fields, { headSize, maxPositions, theta: 1e4 });
}

/** Gemma 3 among the families. */
export const GEMMA3: ModelFamily<Gemma3Config> = {
  name: "Gemma 3",
  modelTypes: ["gemma3_text"],
  architectures: ["Gemma3ForCausalLM"],
  defaultTargets: ["q_proj", "v_proj"],
  readConfig(reader): Gemma3Config {
    const config = readGemmaConfig(reader, {
      modelType: "gemma3_text",
      vocabSize: 262208,
      hiddenSize: 2304,
      intermediateSize: 9216,
      layers: 26,
      heads: 8,
      keyValueHeads: 4,
      maxPositions: 131072,
      activationField: "hidden_activation",
      ropeTheta: 1e6,
      readRope: readFullRope,
    });
    const pattern = reader.count("sliding_window_pattern", 6);
    const types = readLayerTypes(
      reader,
      config.layers,
      (index) =>
        (index + 1) % pattern === 0 ? "full_attention" : "sliding_attention",
    );
    const window = reader.countOrNull("sliding_window", 4096);
    return {
      ...config,
      localRope: readLocalRope(reader, config),
      queryPreAttnScalar: reader.number("query_pre_attn_scalar", 256, {
        moreThan: 0,
      }),
      finalLogitSoftcapping: reader.positiveOrNull(
        "final_logit_softcapping",
        null,
      ),
      windows: slidingWindows(reader, { types, window }),
    };
  },
  create: (config) =>
    new NamedDecoder(config, {
      ropes: [config.rope, config.localRope],
      embeddingScale: Math.sqrt(config.hiddenSize),
      roundsEmbeddingScale: true,
      logitSoftcap: config.finalLogitSoftcapping,
      norm: gemmaNorms(config),
      layer: (index) => {
        const window = config.windows[index]!;
        return new Gemma2Layer(
          config,
          new Gemma3Attention(config, {
            scale: config.queryPreAttnScalar ** -0.5,
            rope: window === null ? 0 : 1,
            window,
          }),
        );
      },
    }),
};
