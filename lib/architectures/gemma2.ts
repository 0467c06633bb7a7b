/**
 * Gemma 2: Gemma with norms before and after both branches, a window on every other
 * layer, and soft caps on scores and logits.
 *
 * @module
 */

import {
  type BatchContext,
  type CentredRmsNorm,
  GatedMlp,
  type KeyValueCache,
  SelfAttention,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import { NamedDecoder } from "./decoder.ts";
import {
  type DecoderConfig,
  readLayerTypes,
  slidingWindows,
} from "./decoder_config.ts";
import { gemmaNorms, readGemmaConfig } from "./gemma.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Gemma 2. */
export interface Gemma2Config extends DecoderConfig {
  /** Scores are divided by the square root of this. */
  readonly queryPreAttnScalar: number;
  /** Soft cap of scores, `null` for none. */
  readonly attnLogitSoftcapping: number | null;
  /** Soft cap of logits, `null` for none. */
  readonly finalLogitSoftcapping: number | null;
  /** For each layer, how many positions a token sees, itself included; `null` for all. */
  readonly windows: readonly (number | null)[];
}

/** A layer with norms before and after each branch: `x + post(branch(pre(x)))`. */
export class Gemma2Layer extends DecoderLayer {
  /** The first branch. */
  self_attn: SelfAttention;
  /** The second branch. */
  mlp: GatedMlp;
  /** The norm before the attention. */
  input_layernorm: CentredRmsNorm;
  /** The norm after the attention. */
  post_attention_layernorm: CentredRmsNorm;
  /** The norm before the MLP. */
  pre_feedforward_layernorm: CentredRmsNorm;
  /** The norm after the MLP. */
  post_feedforward_layernorm: CentredRmsNorm;

  /** Makes the layer without weights around `attention`. */
  constructor(config: DecoderConfig, attention: SelfAttention) {
    super();
    const norm = gemmaNorms(config);
    this.self_attn = attention;
    this.mlp = new GatedMlp(config);
    this.input_layernorm = norm();
    this.post_attention_layernorm = norm();
    this.pre_feedforward_layernorm = norm();
    this.post_feedforward_layernorm = norm();
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const place = { context, cache };
    const normed = this.input_layernorm.forward(hidden);
    const mixed = this.self_attn.forward(normed, null, place);
    const attended = hidden.add(this.post_attention_layernorm.forward(mixed));
    const again = this.pre_feedforward_layernorm.forward(attended);
    return attended.add(
      this.post_feedforward_layernorm.forward(this.mlp.forward(again)),
    );
  }
}

/** Gemma 2 among the families. */
export const GEMMA2: ModelFamily<Gemma2Config> = {
  name: "Gemma 2",
  modelTypes: ["gemma2"],
  architectures: ["Gemma2ForCausalLM"],
  defaultTargets: ["q_proj", "v_proj"],
  readConfig(reader): Gemma2Config {
    const config = readGemmaConfig(reader, {
      modelType: "gemma2",
      hiddenSize: 2304,
      intermediateSize: 9216,
      layers: 26,
      heads: 8,
      keyValueHeads: 4,
      activationField: "hidden_activation",
    });
    const window = reader.countOrNull("sliding_window", 4096);
    const types = readLayerTypes(
      reader,
      config.layers,
      (index) => index % 2 === 0 ? "sliding_attention" : "full_attention",
    );
    return {
      ...config,
      queryPreAttnScalar: reader.number("query_pre_attn_scalar", 256, {
        moreThan: 0,
      }),
      attnLogitSoftcapping: reader.positiveOrNull("attn_logit_softcapping", 50),
      finalLogitSoftcapping: reader.positiveOrNull(
        "final_logit_softcapping",
        30,
      ),
      windows: slidingWindows(reader, { types, window }),
    };
  },
  create: (config) =>
    new NamedDecoder(config, {
      ropes: [config.rope],
      embeddingScale: Math.sqrt(config.hiddenSize),
      roundsEmbeddingScale: true,
      logitSoftcap: config.finalLogitSoftcapping,
      norm: gemmaNorms(config),
      layer: (index) =>
        new Gemma2Layer(
          config,
          new SelfAttention(config, {
            scale: config.queryPreAttnScalar ** -0.5,
            softcap: config.attnLogitSoftcapping,
            window: config.windows[index],
          }),
        ),
    }),
};
