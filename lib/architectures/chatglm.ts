/**
 * ChatGLM2, ChatGLM3 and GLM-4-9B-chat as their own code has them, which transformers lacks:
 * fused projections under other names, half of each head rotated in neighbouring
 * pairs.
 *
 * @module
 */

import { FileBytes } from "../formats/file_bytes.ts";
import { isFile } from "../formats/file_info.ts";
import {
  attendHeads,
  type AttentionPlace,
  type BatchContext,
  Embedding,
  type KeyValueCache,
  Linear,
  mapGated,
  Module,
  type ModuleList,
  type Projection,
  type RmsNorm,
  type RopeParameters,
  splitFused,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import type { ConfigReader } from "./config_reader.ts";
import {
  addBranch,
  Decoder,
  type DecoderParts,
  layerList,
  rmsNorms,
} from "./decoder.ts";
import type { DecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one ChatGLM. */
export interface ChatGlmConfig extends DecoderConfig {
  /** Whether all other projections but the head have biases too. */
  readonly linearBias: boolean;
  /** Share of each branch that dropout sets to zero in training. */
  readonly hiddenDropout: number;
}

/** Attention whose queries, keys and values come from one projection. */
class ChatGlmAttention extends Module {
  /** Makes queries, keys and values, in this order, in one. */
  query_key_value: Projection;
  /** Combines the heads: `[tokens, heads·headSize]` to `[tokens, hidden]`. */
  dense: Projection;

  /** Makes the two projections without weights. */
  constructor(readonly config: ChatGlmConfig) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize } = config;
    this.query_key_value = new Linear({
      inFeatures: hiddenSize,
      outFeatures: (heads + 2 * keyValueHeads) * headSize,
      bias: config.attentionBias,
    });
    this.dense = new Linear({
      inFeatures: heads * headSize,
      outFeatures: hiddenSize,
      bias: config.linearBias,
    });
  }

  /** `dense(attention(input))`, all `[tokens, hidden]`. */
  forward(input: Tensor, place: AttentionPlace): Tensor {
    const { config } = this;
    const { heads, keyValueHeads, headSize } = config;
    const mixed = attendHeads(
      splitFused(this.query_key_value.forward(input), config),
      {
        heads,
        keyValueHeads,
        headSize,
        pairing: "neighbours",
        dropout: this.training ? config.attentionDropout : 0,
      },
      place,
    );
    return this.dense.forward(mixed);
  }
}

/** `dense_4h_to_h(silu(gate) ∘ up)` of `[gate | up] = dense_h_to_4h(x)`. */
class ChatGlmMlp extends Module {
  /** Makes both: `[tokens, hidden]` to `[tokens, 2·intermediate]`, the gate first. */
  dense_h_to_4h: Projection;
  /** Brings the product back: `[tokens, intermediate]` to `[tokens, hidden]`. */
  dense_4h_to_h: Projection;

  /** Makes the two projections without weights. */
  constructor(readonly config: ChatGlmConfig) {
    super();
    const { hiddenSize, intermediateSize, linearBias: bias } = config;
    this.dense_h_to_4h = new Linear({
      inFeatures: hiddenSize,
      outFeatures: 2 * intermediateSize,
      bias,
    });
    this.dense_4h_to_h = new Linear({
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias,
    });
  }

  /** Maps `[tokens, hidden]`. */
  forward(input: Tensor): Tensor {
    const both = this.dense_h_to_4h.forward(input);
    const { activation } = this.config;
    return mapGated(this.dense_4h_to_h, [both], { activation, residual: null });
  }
}

/** A layer of attention and MLP, each after a norm. */
class ChatGlmLayer extends DecoderLayer {
  /** The norm before the attention. */
  input_layernorm: RmsNorm;
  /** The attention. */
  self_attention: ChatGlmAttention;
  /** The norm before the MLP. */
  post_attention_layernorm: RmsNorm;
  /** The MLP. */
  mlp: ChatGlmMlp;
  readonly #dropout: number;

  /** Makes the layer without weights. */
  constructor(config: ChatGlmConfig) {
    super();
    const norm = rmsNorms(config);
    this.input_layernorm = norm();
    this.self_attention = new ChatGlmAttention(config);
    this.post_attention_layernorm = norm();
    this.mlp = new ChatGlmMlp(config);
    this.#dropout = config.hiddenDropout;
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const form = { dropout: this.#dropout, training: this.training };
    const normed = this.input_layernorm.forward(hidden);
    const mixed = this.self_attention.forward(normed, { context, cache });
    const attended = addBranch(hidden, mixed, form);
    const again = this.post_attention_layernorm.forward(attended);
    return addBranch(attended, this.mlp.forward(again), form);
  }
}

/** Layers and the last norm. */
class ChatGlmEncoder extends Module {
  /** The decoder layers in order. */
  layers: ModuleList<DecoderLayer>;
  /** The norm after the last layer. */
  final_layernorm: RmsNorm;

  /** Makes the layers without weights. */
  constructor(config: ChatGlmConfig) {
    super();
    this.layers = layerList(config, () => new ChatGlmLayer(config));
    this.final_layernorm = rmsNorms(config)();
  }
}

/** What holds the embedding. */
class ChatGlmEmbedding extends Module {
  /** The embedding, `[vocabulary, hidden]`. */
  word_embeddings: Embedding;

  /** Makes the embedding without weights. */
  constructor(config: ChatGlmConfig) {
    super();
    this.word_embeddings = new Embedding(config.vocabSize, config.hiddenSize);
  }
}

/** The whole model under its one name. */
class ChatGlmModel extends Module {
  /** What holds the embedding. */
  embedding: ChatGlmEmbedding;
  /** Layers and the last norm. */
  encoder: ChatGlmEncoder;
  /** The head: `[rows, hidden]` to `[rows, vocabulary]`. */
  output_layer: Projection;

  /** Makes the model without weights. */
  constructor(config: ChatGlmConfig) {
    super();
    this.embedding = new ChatGlmEmbedding(config);
    this.encoder = new ChatGlmEncoder(config);
    this.output_layer = new Linear({
      inFeatures: config.hiddenSize,
      outFeatures: config.vocabSize,
    });
  }
}

/** `ChatGLMForConditionalGeneration`. */
class ChatGlmForCausalLm extends Decoder {
  /** Where the head lies in the tree. */
  override readonly outputEmbeddingsPath = "transformer.output_layer";
  /** All of the model. */
  transformer: ChatGlmModel;

  /** Makes the tree without weights. */
  constructor(config: ChatGlmConfig) {
    super(config, { ropes: [config.rope] });
    this.transformer = new ChatGlmModel(config);
  }

  /** The parts under their own names. */
  protected override parts(): DecoderParts {
    const { embedding, encoder, output_layer: head } = this.transformer;
    return {
      embeddings: embedding.word_embeddings,
      layers: encoder.layers,
      norm: encoder.final_layernorm,
      head,
    };
  }
}

/** Fields of ChatGLM-6B, the first, which is another model under the same name. */
const FIRST_FIELDS = [
  "inner_hidden_size",
  "max_sequence_length",
  "position_encoding_2d",
];

/** What no published model of this form has, or another model of the same name. */
function refuseOthers(reader: ConfigReader): void {
  const first = FIRST_FIELDS.filter((field) =>
    reader.value(field) !== undefined
  );
  if (first.length > 0) {
    reader.problems.push(
      `${
        first.join(", ")
      } means the first ChatGLM-6B, which is not supported (ChatGLM2, ChatGLM3 and GLM-4-9B are)`,
    );
  }
  for (const field of ["rmsnorm", "original_rope", "post_layer_norm"]) {
    reader.refuse(field, (value) => value === true);
  }
  for (
    const field of [
      "apply_residual_connection_post_layernorm",
      "fp32_residual_connection",
      "tie_word_embeddings",
    ]
  ) reader.refuse(field, (value) => value === false);
  reader.refuse("quantization_bit", (value) => value === 0);
  reader.refuseQuantized();
  reader.refuse("pre_seq_len", () => false);
  reader.refuse("vision_config", () => false);
}

/** Heads, and how many of keys and values there are. */
function readHeads(
  reader: ConfigReader,
): Pick<ChatGlmConfig, "heads" | "keyValueHeads" | "headSize"> {
  const heads = reader.count("num_attention_heads", 32);
  const groups = reader.count("multi_query_group_num", 1);
  const keyValueHeads = reader.flag("multi_query_attention", false)
    ? groups
    : heads;
  if (heads % keyValueHeads !== 0) {
    reader.problems.push(
      `num_attention_heads ${heads} must be a multiple of multi_query_group_num ${groups}`,
    );
  }
  const headSize = reader.count("kv_channels", 128);
  if (headSize % 4 !== 0) {
    reader.problems.push(`kv_channels ${headSize} must be a multiple of 4`);
  }
  return { heads, keyValueHeads, headSize };
}

/** A longer `modeling_chatglm.py` than this is none. */
const LARGEST_CODE = 2 ** 20;

/**
 * Whether `rope_ratio` divides positions, as in ChatGLM2-6B-32k; in ChatGLM3 and
 * GLM-4 it multiplies the base. No field says which: the folder's own code does,
 * whose text is searched and never executed; else the names of models and the
 * transformers version in the config, and where none is given, it multiplies.
 */
function dividesPositions({ path, json }: ConfigReader): boolean {
  const file = `${path}/modeling_chatglm.py`;
  if (isFile(file)) {
    using bytes = new FileBytes(file);
    const start = bytes.read(0, Math.min(bytes.size, LARGEST_CODE));
    const code = new TextDecoder().decode(start);
    if (/\/ *self\.rope_ratio/.test(code)) return true;
    if (/\* *self\.rope_ratio/.test(code)) return false;
  }
  const named = JSON.stringify([json._name_or_path, json.auto_map]);
  if (/chatglm2/i.test(named)) return true;
  if (/chatglm3|glm-?4/i.test(named)) return false;
  return `${json.transformers_version}`.startsWith("4.27.");
}

/** The rotation of half of each head. */
function readChatGlmRope(
  reader: ConfigReader,
  sizes: { readonly headSize: number; readonly maxPositions: number },
): RopeParameters {
  const ratio = reader.number("rope_ratio", 1, { moreThan: 0 });
  const { headSize, maxPositions } = sizes;
  const plain = { headSize: headSize / 2, maxPositions };
  return ratio !== 1 && dividesPositions(reader)
    ? { ...plain, type: "linear", factor: ratio, theta: 10000 }
    : { ...plain, type: "default", theta: 10000 * ratio };
}

function readChatGlmConfig(reader: ConfigReader): ChatGlmConfig {
  refuseOthers(reader);
  const sizes = readHeads(reader);
  const maxPositions = reader.positions("seq_length", 2048);
  const linearBias = reader.flag("add_bias_linear", false);
  return {
    ...sizes,
    modelType: "chatglm",
    path: reader.path,
    source: reader.json,
    vocabSize: reader.count("padded_vocab_size", 65024),
    hiddenSize: reader.count("hidden_size", 4096),
    intermediateSize: reader.count("ffn_hidden_size", 13696),
    layers: reader.layers("num_layers", 28),
    maxPositions,
    normEps: reader.number("layernorm_epsilon", 1e-5, { least: 0 }),
    activation: "silu",
    attentionBias: reader.flag("add_qkv_bias", false) || linearBias,
    linearBias,
    attentionDropout: reader.share("attention_dropout", 0),
    hiddenDropout: reader.share("hidden_dropout", 0),
    initializerRange: reader.number("initializer_range", 0.02, { least: 0 }),
    tieWordEmbeddings: false,
    eosTokenIds: reader.ids("eos_token_id", 2),
    bosTokenId: reader.ids("bos_token_id", null)[0] ?? null,
    rope: readChatGlmRope(reader, {
      headSize: sizes.headSize,
      maxPositions,
    }),
  };
}

/** ChatGLM among the families. */
export const CHATGLM: ModelFamily<ChatGlmConfig> = {
  name: "ChatGLM",
  modelTypes: ["chatglm"],
  architectures: ["ChatGLMModel", "ChatGLMForConditionalGeneration"],
  defaultTargets: ["query_key_value"],
  readConfig: readChatGlmConfig,
  create: (config) => new ChatGlmForCausalLm(config),
};
