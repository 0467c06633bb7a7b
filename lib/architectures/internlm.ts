/**
 * InternLM, the first: Llama with biases in the attention, and a rotation that the
 * field `rotary` describes.
 *
 * @module
 */

import { GatedMlp, type RopeParameters, SelfAttention } from "../nn/mod.ts";
import { ConfigReader } from "./config_reader.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";
import { readRope, refuseScaledRope, type RopeSizes } from "./rope_config.ts";

/** The rotation; "dynamic" changes rows longer than `max_position_embeddings` only. */
function readRotary(reader: ConfigReader, sizes: RopeSizes): RopeParameters {
  refuseScaledRope(reader);
  const rotary = reader.section("rotary");
  const type = rotary.choice("type", "dynamic", ["dynamic", "origin"]);
  const rope_theta = rotary.number("base", reader.number("rope_theta", 10000), {
    moreThan: 0,
  });
  const factor = rotary.number("scaling_factor", 1, { moreThan: 0 });
  const rope_scaling = type === "dynamic" ? { rope_type: type, factor } : {};
  const spelled = new ConfigReader(
    reader.path,
    { rope_theta, rope_scaling },
    reader.problems,
  );
  return { ...readRope(spelled, sizes), keepsLongest: false };
}

/** InternLM among the families. */
export const INTERNLM: ModelFamily<DecoderConfig> = {
  name: "InternLM",
  modelTypes: ["internlm"],
  architectures: ["InternLMForCausalLM"],
  readConfig: (reader) => ({
    ...readDecoderConfig(reader, {
      modelType: "internlm",
      vocabSize: 103168,
      attentionBias: null,
      readRope: readRotary,
    }),
    attentionBias: reader.flag("bias", true),
  }),
  create(config): NamedDecoder {
    const norm = rmsNorms(config);
    return new NamedDecoder(config, {
      ropes: [config.rope],
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new SelfAttention(config, {
            rotatesCache: config.rope.type === "dynamic",
          }),
          mlp: new GatedMlp({ ...config, downBeforeUp: true }),
          norm,
        }),
    });
  },
};
