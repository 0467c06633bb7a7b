/**
 * Qwen3: Qwen2 without biases, with norms over each head's queries and keys.
 *
 * @module
 */

import { GatedMlp, type HeadForm, RmsNorm, SelfAttention } from "../nn/mod.ts";
import { NamedDecoder, PreNormLayer, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import { QWEN2_DEFAULTS, type Qwen2Config, qwenWindows } from "./qwen2.ts";
import type { ModelFamily } from "./registry.ts";

/** Attention with norms between projection and rotation. */
export class Qwen3Attention extends SelfAttention {
  /** The norm of each head's queries. */
  q_norm: RmsNorm;
  /** The norm of each head's keys. */
  k_norm: RmsNorm;

  /** Makes projections and norms without weights. */
  constructor(config: DecoderConfig, form: HeadForm) {
    super(config, form);
    this.q_norm = new RmsNorm(config.headSize, config.normEps);
    this.k_norm = new RmsNorm(config.headSize, config.normEps);
  }

  /** The norms before the rotation. */
  protected override headNorms(): Pick<HeadForm, "norms"> {
    return { norms: { query: this.q_norm, key: this.k_norm } };
  }
}

/** Qwen3 among the families. */
export const QWEN3: ModelFamily<Qwen2Config> = {
  name: "Qwen3",
  modelTypes: ["qwen3"],
  architectures: ["Qwen3ForCausalLM"],
  defaultTargets: ["q_proj", "v_proj"],
  readConfig(reader): Qwen2Config {
    const config = readDecoderConfig(reader, {
      ...QWEN2_DEFAULTS,
      modelType: "qwen3",
      headSize: 128,
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
          attention: new Qwen3Attention(config, {
            window: config.windows[index],
          }),
          mlp: new GatedMlp(config),
          norm,
        }),
    });
  },
};
