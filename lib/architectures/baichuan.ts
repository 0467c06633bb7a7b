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
  type RopeParameters,
  splitFused,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { classNames, type ConfigReader } from "./config_reader.ts";
import {
  Decoder,
  DecoderBody,
  type DecoderParts,
  PreNormLayer,
  rmsNorms,
} from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";
import { refuseScaledRope, type RopeSizes } from "./rope_config.ts";

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
          mlp: new GatedMlp({ ...config, downBeforeUp: true }),
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

/** Hidden size and heads of the published models, 7B and 13B. */
const PUBLISHED_SIZES: readonly { size: string; rotates: boolean }[] = [
  { size: "4096/32", rotates: true },
  { size: "5120/40", rotates: false },
];

/**
 * Whether a config means a 7B, which rotates, or a 13B: no field says so. The
 * published sizes do; so do the class of the first 7B, and the name under which a
 * config has its length. Only Baichuan2 has one class for both.
 */
function readRotates(
  reader: ConfigReader,
  config: DecoderConfig & { readonly normsHead: boolean },
): boolean {
  const size = `${config.hiddenSize}/${config.heads}`;
  const published = PUBLISHED_SIZES.find((each) => each.size === size);
  if (published !== undefined) return published.rotates;
  const isFirst = classNames(reader.json).some((name) =>
    /^BaiChuan/.test(`${name}`)
  );
  if (isFirst || reader.value("max_position_embeddings") !== undefined) {
    return true;
  }
  if (config.normsHead && reader.value("model_max_length") === undefined) {
    reader.problems.push(
      "it cannot be told whether the model rotates: max_position_embeddings is needed where it does (7B), model_max_length where it has ALiBi (13B)",
    );
  }
  return false;
}

/** The rotation of the 7B models, which no field changes. */
function readBaichuanRope(
  reader: ConfigReader,
  { headSize, maxPositions }: RopeSizes,
): RopeParameters {
  reader.refuse("rope_theta", (value) => value === 10000);
  refuseScaledRope(reader);
  return { type: "default", theta: 10000, headSize, maxPositions };
}

function readBaichuanConfig(reader: ConfigReader): BaichuanConfig {
  const read = readDecoderConfig(reader, {
    modelType: "baichuan",
    vocabSize: 64000,
    maxPositions: 4096,
    attentionBias: null,
    readRope: readBaichuanRope,
  });
  // Another weight adds to the loss over all positions.
  reader.refuse("z_loss_weight", (value) => value === 0);
  const normsHead = reader.value("z_loss_weight") !== undefined ||
    read.vocabSize === SECOND_VOCABULARY;
  const config = { ...read, normsHead };
  const rotates = readRotates(reader, config);
  if (rotates && config.headSize % 2 !== 0) {
    reader.problems.push(`head_dim ${config.headSize} must be even`);
  }
  const maxPositions = rotates
    ? config.maxPositions
    : reader.positions("model_max_length", 4096);
  return { ...config, rotates, maxPositions };
}

/** Baichuan among the families. */
export const BAICHUAN: ModelFamily<BaichuanConfig> = {
  name: "Baichuan",
  modelTypes: ["baichuan"],
  architectures: ["BaichuanForCausalLM", "BaiChuanForCausalLM"],
  readConfig: readBaichuanConfig,
  create: (config) => new BaichuanForCausalLm(config),
};
