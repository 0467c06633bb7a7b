/**
 * Qwen, the first: Llama under other names, with a bias on queries, keys and values.
 * Outside of training, texts beyond `seq_length` are turned more slowly and scores of
 * late tokens grow with the logarithm of their place.
 *
 * @module
 */

import type { Geometry } from "../data/batch.ts";
import {
  attendHeads,
  type AttentionPlace,
  type BatchContext,
  type BatchContextOptions,
  Embedding,
  type KeyValueCache,
  Linear,
  Module,
  type ModuleList,
  type Projected,
  type Projection,
  type RmsNorm,
  RotaryEmbedding,
  splitFused,
} from "../nn/mod.ts";
import { aten, fromData, type Tensor, to } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import { ConfigReader } from "./config_reader.ts";
import { Decoder, type DecoderParts, layerList, rmsNorms } from "./decoder.ts";
import type { DecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Qwen. */
export interface QwenConfig extends DecoderConfig {
  /** Whether the output of the attention and the MLP have biases. */
  readonly linearBias: boolean;
  /** Share of the embeddings that dropout sets to zero in training. */
  readonly embeddingDropout: number;
  /** The length of the texts it was trained on. */
  readonly trainedLength: number;
  /** Whether longer texts are turned more slowly. */
  readonly slowsRotation: boolean;
  /** Whether later queries are multiplied with the logarithm of their place. */
  readonly growsQueries: boolean;
}

/** Attention whose queries, keys and values come from one projection. */
class QwenAttention extends Module {
  /** Makes queries, keys and values, in this order, in one. */
  c_attn: Projection;
  /** Combines the heads: `[tokens, hidden]` to the same. */
  c_proj: Projection;

  /** Makes the two projections without weights. */
  constructor(readonly config: QwenConfig) {
    super();
    const { hiddenSize, linearBias } = config;
    this.c_attn = new Linear({
      inFeatures: hiddenSize,
      outFeatures: 3 * hiddenSize,
      bias: true,
    });
    this.c_proj = new Linear({
      inFeatures: hiddenSize,
      outFeatures: hiddenSize,
      bias: linearBias,
    });
  }

  /** `residual + c_proj(attention(input))`, all `[tokens, hidden]`. */
  forward(input: Tensor, residual: Tensor, place: AttentionPlace): Tensor {
    const { config } = this;
    const { heads, keyValueHeads, headSize } = config;
    const projected = splitFused(this.c_attn.forward(input), config);
    const mixed = attendHeads(
      this.#grown(projected, place.context),
      {
        heads,
        keyValueHeads,
        headSize,
        dropout: this.training ? config.attentionDropout : 0,
      },
      place,
    );
    return this.c_proj.forward(mixed, residual);
  }

  /** Queries times `log(n) / log(trained length)` where the place `n`, from 1, is beyond it. */
  #grown(projected: Projected, context: BatchContext): Projected {
    const { trainedLength, growsQueries, hiddenSize } = this.config;
    const { rowPositions, rows, length, device } = context;
    if (
      this.training || !growsQueries ||
      rowPositions.every((position) => position < trainedLength)
    ) return projected;
    const factors = Float32Array.from(
      rowPositions,
      (at) => Math.max(1, Math.log(at + 1) / Math.log(trainedLength)),
    );
    const made = fromData({
      dtype: "float32",
      shape: [length, 1],
      bytes: new Uint8Array(factors.buffer),
    });
    const { query } = projected;
    const grown = aten.mul(
      aten.view(query, [rows, length, hiddenSize]),
      to(made, { device, dtype: query.dtype }),
    );
    return {
      ...projected,
      query: aten.view(grown, [rows * length, hiddenSize]),
    };
  }
}

/** `residual + c_proj(w1(x) ∘ silu(w2(x)))`. */
class QwenMlp extends Module {
  /** Makes what is gated: `[tokens, hidden]` to `[tokens, intermediate]`. */
  w1: Projection;
  /** Makes the gate, of the same shape. */
  w2: Projection;
  /** Brings the product back: `[tokens, intermediate]` to `[tokens, hidden]`. */
  c_proj: Projection;

  /** Makes the three projections without weights. */
  constructor(config: QwenConfig) {
    super();
    const { hiddenSize, intermediateSize, linearBias: bias } = config;
    const wide = {
      inFeatures: hiddenSize,
      outFeatures: intermediateSize,
      bias,
    };
    this.w1 = new Linear(wide);
    this.w2 = new Linear(wide);
    this.c_proj = new Linear({
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias,
    });
  }

  /** Maps `[tokens, hidden]` and adds `residual`. */
  forward(input: Tensor, residual: Tensor): Tensor {
    const gate = aten.silu(this.w2.forward(input));
    return this.c_proj.forward(
      aten.mul(this.w1.forward(input), gate),
      residual,
    );
  }
}

/** A layer of attention and MLP, each after a norm. */
class QwenLayer extends DecoderLayer {
  /** The norm before the attention. */
  ln_1: RmsNorm;
  /** The attention. */
  attn: QwenAttention;
  /** The norm before the MLP. */
  ln_2: RmsNorm;
  /** The MLP. */
  mlp: QwenMlp;

  /** Makes the layer without weights. */
  constructor(config: QwenConfig) {
    super();
    const norm = rmsNorms(config);
    this.ln_1 = norm();
    this.attn = new QwenAttention(config);
    this.ln_2 = norm();
    this.mlp = new QwenMlp(config);
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const normed = this.ln_1.forward(hidden);
    const attended = this.attn.forward(normed, hidden, { context, cache });
    return this.mlp.forward(this.ln_2.forward(attended), attended);
  }
}

/** The decoder without its head. */
class QwenBody extends Module {
  /** The embedding, `[vocabulary, hidden]`. */
  wte: Embedding;
  /** The decoder layers in order. */
  h: ModuleList<DecoderLayer>;
  /** The norm after the last layer. */
  ln_f: RmsNorm;

  /** Makes the decoder without weights. */
  constructor(config: QwenConfig) {
    super();
    this.wte = new Embedding(config.vocabSize, config.hiddenSize);
    this.h = layerList(config, () => new QwenLayer(config));
    this.ln_f = rmsNorms(config)();
  }
}

/** `QWenLMHeadModel`. */
class QwenForCausalLm extends Decoder {
  /** Where the head lies in the tree. */
  override readonly outputEmbeddingsPath = "lm_head";
  /** The decoder without its head. */
  transformer: QwenBody;
  /** The head: `[rows, hidden]` to `[rows, vocabulary]`. */
  lm_head: Projection;
  /** Rotations by how much their base has grown. */
  readonly #ropes = new Map<number, RotaryEmbedding>();
  /** How much the base had grown when the first tokens went into a cache. */
  readonly #begun = new WeakMap<KeyValueCache, number>();
  readonly #numbers: QwenConfig;

  /** Makes the tree without weights. */
  constructor(config: QwenConfig) {
    super(config, { embeddingDropout: config.embeddingDropout });
    this.#numbers = config;
    this.transformer = new QwenBody(config);
    this.lm_head = new Linear({
      inFeatures: config.hiddenSize,
      outFeatures: config.vocabSize,
    });
  }

  /** The parts under their own names. */
  protected override parts(): DecoderParts {
    const { wte: embeddings, h: layers, ln_f: norm } = this.transformer;
    return { embeddings, layers, norm, head: this.lm_head };
  }

  /** Never: rotations and the factors of queries depend on the length of a text. */
  override get continuesRowsTogether(): boolean {
    return false;
  }

  /** The rotation that fits the length of the text; a continued one keeps that of its beginning. */
  protected override batchRopes(
    geometry: Geometry,
    options: Pick<BatchContextOptions, "caches">,
  ): readonly RotaryEmbedding[] {
    const growth = this.#growth(geometry, options.caches?.[0]);
    let rope = this.#ropes.get(growth);
    if (rope === undefined) {
      const { rope: plain } = this.#numbers;
      const { headSize: turned } = plain;
      const theta = plain.theta * growth ** (turned / (turned - 2));
      rope = new RotaryEmbedding(growth === 1 ? plain : { ...plain, theta });
      this.#ropes.set(growth, rope);
    }
    return [rope];
  }

  #growth(geometry: Geometry, cache: KeyValueCache | undefined): number {
    const { slowsRotation, trainedLength } = this.#numbers;
    if (this.training || !slowsRotation) return 1;
    const begun = cache !== undefined && cache.length > 0
      ? this.#begun.get(cache)
      : undefined;
    if (begun !== undefined) return begun;
    const length = geometry.positions.reduce(
      (most, at) => Math.max(most, at + 1),
      1,
    );
    const doublings = Math.ceil(Math.log2(length / trainedLength) + 1);
    const growth = Math.max(2 ** doublings - 1, 1);
    if (cache !== undefined) this.#begun.set(cache, growth);
    return growth;
  }

  /** Gives memory back: rotation tables and weights. */
  override [Symbol.dispose](): void {
    for (const rope of this.#ropes.values()) rope[Symbol.dispose]();
    this.#ropes.clear();
    super[Symbol.dispose]();
  }
}

/** What no published model of this form has, or another model of the same name. */
function refuseOthers(reader: ConfigReader): void {
  reader.refuseQuantized();
  reader.refuse("scale_attn_weights", (value) => value === true);
  reader.refuse("use_cache_quantization", (value) => value === false);
  reader.refuse("visual", () => false);
  reader.refuse("audio", () => false);
}

/** Heads, and how much of each is turned. */
function readHeads(
  reader: ConfigReader,
  hiddenSize: number,
): { heads: number; headSize: number; turned: number } {
  const heads = reader.count("num_attention_heads", 32);
  const headSize = reader.count("kv_channels", 128);
  if (heads * headSize !== hiddenSize) {
    reader.problems.push(
      `hidden_size ${hiddenSize} must be num_attention_heads ${heads} times kv_channels ${headSize}`,
    );
  }
  const share = reader.number("rotary_pct", 1, { moreThan: 0, most: 1 });
  const turned = Math.floor(headSize * share);
  if (turned >= 4 && turned % 2 === 0) return { heads, headSize, turned };
  reader.problems.push(
    `rotary_pct ${share} of kv_channels ${headSize} must give an even number of 4 or more`,
  );
  return { heads, headSize, turned: 4 };
}

function readTrainedLength(reader: ConfigReader, fallback: number): number {
  const length = reader.positions("seq_length", fallback);
  if (length < 2) {
    reader.problems.push(`seq_length must be 2 or more, got ${length}`);
  }
  return length;
}

/** Names of fields in the first published files, and what they are called since. */
const OLDER_NAMES: Readonly<Record<string, string>> = {
  n_embd: "hidden_size",
  n_head: "num_attention_heads",
  n_layer: "num_hidden_layers",
  n_positions: "max_position_embeddings",
  ffn_hidden_size: "intermediate_size",
  attn_pdrop: "attn_dropout_prob",
  embd_pdrop: "emb_dropout_prob",
};

/** The config with each older name replaced, where the newer one is missing. */
function withNewerNames({ path, json, problems }: ConfigReader): ConfigReader {
  const renamed = Object.entries(OLDER_NAMES).flatMap(([older, newer]) =>
    Object.hasOwn(json, older) ? [[newer, json[older]]] : []
  );
  const fields = { ...Object.fromEntries(renamed), ...json };
  return new ConfigReader(path, fields, problems);
}

function readQwenConfig(given: ConfigReader): QwenConfig {
  const reader = withNewerNames(given);
  refuseOthers(reader);
  const hiddenSize = reader.count("hidden_size", 4096);
  const { turned, ...sizes } = readHeads(reader, hiddenSize);
  const maxPositions = reader.positions("max_position_embeddings", 8192);
  const theta = reader.number("rotary_emb_base", 10000, { moreThan: 0 });
  return {
    ...sizes,
    modelType: "qwen",
    path: reader.path,
    source: given.json,
    hiddenSize,
    keyValueHeads: sizes.heads,
    vocabSize: reader.count("vocab_size", 151936),
    // The field says the width of both projections together.
    intermediateSize: Math.floor(reader.count("intermediate_size", 22016) / 2),
    layers: reader.layers("num_hidden_layers", 32),
    maxPositions,
    normEps: reader.number("layer_norm_epsilon", 1e-6, { least: 0 }),
    activation: "silu",
    attentionBias: true,
    linearBias: !reader.flag("no_bias", true),
    attentionDropout: reader.share("attn_dropout_prob", 0),
    embeddingDropout: reader.share("emb_dropout_prob", 0),
    trainedLength: readTrainedLength(reader, maxPositions),
    slowsRotation: reader.flag("use_dynamic_ntk", true),
    growsQueries: reader.flag("use_logn_attn", true),
    initializerRange: reader.number("initializer_range", 0.02, { least: 0 }),
    tieWordEmbeddings: reader.flag("tie_word_embeddings", false),
    eosTokenIds: reader.ids("eos_token_id", 151643),
    bosTokenId: reader.ids("bos_token_id", null)[0] ?? null,
    rope: { type: "default", headSize: turned, maxPositions, theta },
  };
}

/** Qwen among the families. */
export const QWEN: ModelFamily<QwenConfig> = {
  name: "Qwen",
  modelTypes: ["qwen"],
  architectures: ["QWenLMHeadModel"],
  readConfig: readQwenConfig,
  create: (config) => new QwenForCausalLm(config),
};
