/**
 * Hunyuan, the dense models: Llama with norms over each head's queries and keys after
 * the rotation, whose base a factor may have raised.
 *
 * @module
 */

import {
  GatedMlp,
  type HeadForm,
  RmsNorm,
  type RopeParameters,
  SelfAttention,
} from "../nn/mod.ts";
import type { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";
import { readRope, type RopeSizes } from "./rope_config.ts";

/** Attention with norms after the rotation. */
class HunyuanAttention extends SelfAttention {
  /** The norm of each head's queries. */
  query_layernorm: RmsNorm;
  /** The norm of each head's keys. */
  key_layernorm: RmsNorm;

  /** Makes projections and norms without weights. */
  constructor(config: DecoderConfig) {
    super(config);
    this.query_layernorm = new RmsNorm(config.headSize, config.normEps);
    this.key_layernorm = new RmsNorm(config.headSize, config.normEps);
  }

  /** The norms after the rotation. */
  protected override headNorms(): Pick<HeadForm, "lateNorms"> {
    const { query_layernorm: query, key_layernorm: key } = this;
    return { lateNorms: { query, key } };
  }
}

/** The rotation; "dynamic" may have an `alpha`. */
function readHunyuanRope(
  reader: ConfigReader,
  sizes: RopeSizes,
): RopeParameters {
  const rope = readRope(reader, sizes);
  if (rope.type !== "dynamic") return rope;
  const older = reader.section("rope_scaling");
  const scaling = Object.keys(older.json).length > 0
    ? older
    : reader.section("rope_parameters");
  const alpha = scaling.number("alpha", 0, { least: 0 });
  return alpha === 0 ? rope : { ...rope, alpha };
}

/** Hunyuan among the families. */
export const HUNYUAN: ModelFamily<DecoderConfig> = {
  name: "Hunyuan",
  modelTypes: ["hunyuan_v1_dense"],
  architectures: ["HunYuanDenseV1ForCausalLM"],
  readConfig(reader): DecoderConfig {
    // Layers that share keys and values.
    reader.refuse("use_cla", (value) => value === false);
    return readDecoderConfig(reader, {
      modelType: "hunyuan_v1_dense",
      vocabSize: 290943,
      normEps: 1e-5,
      readRope: readHunyuanRope,
    });
  },
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new HunyuanAttention(config),
          mlp: new GatedMlp(config),
          norm,
        }),
    });
  },
};
