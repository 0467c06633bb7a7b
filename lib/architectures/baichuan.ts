/**
 * Baichuan and Baichuan2, of 7B and 13B: Llama with one projection for queries, keys
 * and values. The 7B models rotate; the 13B models have ALiBi (Press et al.,
 * arXiv:2108.12409) instead. The second generation's head norms its rows.
 *
 * @module
 */

import {
  attendHeads,
  type AttentionPlace,
  GatedMlp,
  Linear,
  Module,
  NormHead,
  type Projection,
  splitFused,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import type { ConfigReader } from "./config_reader.ts";
import {
  Decoder,
  DecoderBody,
  type DecoderParts,
  PreNormLayer,
  rmsNorms,
} from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Baichuan. */
export interface BaichuanConfig extends DecoderConfig {
  /** Whether heads are turned by their positions; otherwise distances weigh on scores. */
  readonly rotates: boolean;
  /** Whether the rows of the head are brought to length 1. */
  readonly normsHead: boolean;
}

/**
 * What each position of distance takes from the scores of each head. Where `heads` is
 * no power of two, the next smaller one's slopes are followed by every other one of
 * the double of that.
 */
function alibiSlopes(heads: number): number[] {
  const powers = (count: number): number[] =>
    Array.from({ length: count }, (_, at) => 2 ** (-8 * (at + 1) / count));
  const whole = 2 ** Math.floor(Math.log2(heads));
  const between = powers(2 * whole).filter((_, at) => at % 2 === 0);
  return [...powers(whole), ...between.slice(0, heads - whole)];
}

/** Attention whose queries, keys and values come from one projection. */
class BaichuanAttention extends Module {
  /** Makes queries, keys and values, in this order, in one. */
  W_pack: Projection;
  /** Combines the heads: `[tokens, heads·headSize]` to `[tokens, hidden]`. */
  o_proj: Projection;
  readonly #slopes: readonly number[] | undefined;

  /** Makes the two projections without weights. */
  constructor(readonly config: BaichuanConfig) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize, rotates } = config;
    this.W_pack = new Linear({
      inFeatures: hiddenSize,
      outFeatures: (heads + 2 * keyValueHeads) * headSize,
    });
    this.o_proj = new Linear({
      inFeatures: heads * headSize,
      outFeatures: hiddenSize,
    });
    this.#slopes = rotates ? undefined : alibiSlopes(heads);
  }

  /** `o_proj(attention(input))`, with `residual` added when given; all `[tokens, hidden]`. */
  forward(
    input: Tensor,
    residual: Tensor | null,
    place: AttentionPlace,
  ): Tensor {
    const { config } = this;
    const { heads, keyValueHeads, headSize, rotates } = config;
    const mixed = attendHeads(
      splitFused(this.W_pack.forward(input), config),
      {
        heads,
        keyValueHeads,
        headSize,
        rope: rotates ? 0 : null,
        slopes: this.#slopes,
        dropout: this.training ? config.attentionDropout : 0,
      },
      place,
    );
    return this.o_proj.forward(mixed, residual);
  }
}

/** `BaichuanForCausalLM`, and `BaiChuanForCausalLM` of the first 7B. */
class BaichuanForCausalLm extends Decoder {
  /** Where the head lies in the tree. */
  override readonly outputEmbeddingsPath = "lm_head";
  /** The decoder without its head. */
  model: DecoderBody;
  /** The head: `[rows, hidden]` to `[rows, vocabulary]`. */
  lm_head: Projection | NormHead;

  /** Makes the tree without weights. */
  constructor(config: BaichuanConfig) {
    const form = { ropes: config.rotates ? [config.rope] : [] };
    super(config, form);
    const norm = rmsNorms(config);
    this.model = new DecoderBody(config, {
      ...form,
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new BaichuanAttention(config),
          mlp: new GatedMlp(config),
          norm,
        }),
    });
    const { hiddenSize: inFeatures, vocabSize: outFeatures } = config;
    this.lm_head = config.normsHead
      ? new NormHead({ inFeatures, outFeatures })
      : new Linear({ inFeatures, outFeatures });
  }

  /** The parts under their usual names. */
  protected override parts(): DecoderParts {
    const { embed_tokens, layers, norm } = this.model;
    return { embeddings: embed_tokens, layers, norm, head: this.lm_head };
  }

  /** Gives memory back: what the head keeps, and the weights. */
  override [Symbol.dispose](): void {
    if (this.lm_head instanceof NormHead) this.lm_head.release();
    super[Symbol.dispose]();
  }
}

/** Words of the second generation's vocabulary. */
const SECOND_VOCABULARY = 125696;

function readBaichuanConfig(reader: ConfigReader): BaichuanConfig {
  const rotates = reader.value("max_position_embeddings") !== undefined;
  const config = readDecoderConfig(reader, {
    modelType: "baichuan",
    vocabSize: 64000,
    attentionBias: null,
  });
  reader.refuse("rope_theta", (value) => value === 10000);
  reader.refuse("rope_scaling", () => false);
  // Another weight adds to the loss over all positions.
  reader.refuse("z_loss_weight", (value) => value === 0);
  return {
    ...config,
    rotates,
    maxPositions: rotates
      ? config.maxPositions
      : reader.positions("model_max_length", 4096),
    normsHead: reader.value("z_loss_weight") !== undefined ||
      config.vocabSize === SECOND_VOCABULARY,
  };
}

/** Baichuan among the families. */
export const BAICHUAN: ModelFamily<BaichuanConfig> = {
  name: "Baichuan",
  modelTypes: ["baichuan"],
  architectures: ["BaichuanForCausalLM", "BaiChuanForCausalLM"],
  readConfig: readBaichuanConfig,
  create: (config) => new BaichuanForCausalLm(config),
};
