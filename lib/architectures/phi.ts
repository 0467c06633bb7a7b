/**
 * Phi-1, Phi-1.5 and Phi-2: attention and MLP side by side after one layer norm,
 * biases everywhere, the head included, and rotation of a part of each head.
 *
 * @module
 */

import {
  type Activation,
  ACTIVATIONS,
  attendHeads,
  type AttentionPlace,
  type BatchContext,
  Embedding,
  type KeyValueCache,
  LayerNorm,
  Linear,
  Module,
  type ModuleList,
  type Projection,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import { addBranch, Decoder, type DecoderParts, layerList } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one Phi. */
export interface PhiConfig extends DecoderConfig {
  /** Whether each head's queries and keys are normalised. */
  readonly normsHeads: boolean;
  /** Share of the embeddings that dropout sets to zero in training. */
  readonly embeddingDropout: number;
  /** Share of each branch's output that dropout sets to zero in training. */
  readonly residualDropout: number;
}

function linear(inFeatures: number, outFeatures: number): Linear {
  return new Linear({ inFeatures, outFeatures, bias: true });
}

/** Attention that may norm between projection and rotation. */
class PhiAttention extends Module {
  /** Computes queries: `[tokens, hidden]` to `[tokens, heads·headSize]`. */
  q_proj: Projection;
  /** Computes keys: `[tokens, hidden]` to `[tokens, keyValueHeads·headSize]`. */
  k_proj: Projection;
  /** Computes values, in the shape of the keys. */
  v_proj: Projection;
  /** Combines the heads: `[tokens, heads·headSize]` to `[tokens, hidden]`. */
  dense: Projection;
  /** The norm of the heads' queries. */
  declare q_layernorm: LayerNorm | undefined;
  /** The norm of the heads' keys. */
  declare k_layernorm: LayerNorm | undefined;

  /** Makes projections and norms without weights. */
  constructor(readonly config: PhiConfig) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize, normEps } = config;
    this.q_proj = linear(hiddenSize, heads * headSize);
    this.k_proj = linear(hiddenSize, keyValueHeads * headSize);
    this.v_proj = linear(hiddenSize, keyValueHeads * headSize);
    this.dense = linear(heads * headSize, hiddenSize);
    if (!config.normsHeads) return;
    this.q_layernorm = new LayerNorm(headSize, { eps: normEps });
    this.k_layernorm = new LayerNorm(headSize, { eps: normEps });
  }

  /** `dense(attention(input))`, both `[tokens, hidden]`. */
  forward(input: Tensor, place: AttentionPlace): Tensor {
    const { heads, keyValueHeads, headSize, attentionDropout } = this.config;
    const { q_layernorm: query, k_layernorm: key } = this;
    const projected = {
      query: this.q_proj.forward(input),
      key: this.k_proj.forward(input),
      value: this.v_proj.forward(input),
    };
    const mixed = attendHeads(projected, {
      heads,
      keyValueHeads,
      headSize,
      norms: query && key && { query, key },
      dropout: this.training ? attentionDropout : 0,
    }, place);
    return this.dense.forward(mixed);
  }
}

/** `fc2(act(fc1(x)))`. */
class PhiMlp extends Module {
  /** `[tokens, hidden]` to `[tokens, intermediate]`. */
  fc1: Projection;
  /** `[tokens, intermediate]` to `[tokens, hidden]`. */
  fc2: Projection;
  readonly #activation: Activation;

  /** Makes the two projections without weights. */
  constructor({ hiddenSize, intermediateSize, activation }: PhiConfig) {
    super();
    this.fc1 = linear(hiddenSize, intermediateSize);
    this.fc2 = linear(intermediateSize, hiddenSize);
    this.#activation = activation;
  }

  /** Maps `[tokens, hidden]`. */
  forward(input: Tensor): Tensor {
    return this.fc2.forward(
      ACTIVATIONS[this.#activation](this.fc1.forward(input)),
    );
  }
}

/** `x + attn(norm(x)) + mlp(norm(x))`. */
class PhiLayer extends DecoderLayer {
  /** The first branch. */
  self_attn: PhiAttention;
  /** The second branch. */
  mlp: PhiMlp;
  /** The norm before both. */
  input_layernorm: LayerNorm;
  readonly #dropout: number;

  /** Makes the layer without weights. */
  constructor(config: PhiConfig) {
    super();
    this.self_attn = new PhiAttention(config);
    this.mlp = new PhiMlp(config);
    this.input_layernorm = layerNorm(config);
    this.#dropout = config.residualDropout;
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const form = { dropout: this.#dropout, training: this.training };
    const normed = this.input_layernorm.forward(hidden);
    const mixed = this.self_attn.forward(normed, { context, cache });
    const attended = addBranch(hidden, mixed, form);
    return addBranch(attended, this.mlp.forward(normed), form);
  }
}

function layerNorm({ hiddenSize, normEps: eps }: PhiConfig): LayerNorm {
  return new LayerNorm(hiddenSize, { eps });
}

/** The decoder without its head. */
class PhiBody extends Module {
  /** The embedding, `[vocabulary, hidden]`. */
  embed_tokens: Embedding;
  /** The layers in order. */
  layers: ModuleList<PhiLayer>;
  /** The norm after the last layer. */
  final_layernorm: LayerNorm;

  /** Makes the decoder without weights. */
  constructor(config: PhiConfig) {
    super();
    this.embed_tokens = new Embedding(config.vocabSize, config.hiddenSize);
    this.layers = layerList(config, () => new PhiLayer(config));
    this.final_layernorm = layerNorm(config);
  }
}

/** Phi with its head. */
class PhiForCausalLm extends Decoder {
  /** The path of the head in the tree. */
  override readonly outputEmbeddingsPath = "lm_head";
  /** The decoder without its head. */
  model: PhiBody;
  /** The head: `[rows, hidden]` to `[rows, vocabulary]`. */
  lm_head: Projection;

  /** Makes the tree without weights. */
  constructor(config: PhiConfig) {
    super(config, {
      ropes: [config.rope],
      embeddingDropout: config.embeddingDropout,
    });
    this.model = new PhiBody(config);
    this.lm_head = linear(config.hiddenSize, config.vocabSize);
  }

  /** The parts under their names in the tree. */
  protected override parts(): DecoderParts {
    const { embed_tokens, layers, final_layernorm: norm } = this.model;
    return { embeddings: embed_tokens, layers, norm, head: this.lm_head };
  }
}

/** Phi among the families. */
export const PHI: ModelFamily<PhiConfig> = {
  name: "Phi",
  modelTypes: ["phi"],
  architectures: ["PhiForCausalLM"],
  defaultTargets: ["q_proj", "v_proj", "fc1", "fc2"],
  readConfig: (reader) => ({
    ...readDecoderConfig(reader, {
      modelType: "phi",
      vocabSize: 51200,
      hiddenSize: 2048,
      intermediateSize: 8192,
      layers: 24,
      epsField: "layer_norm_eps",
      normEps: 1e-5,
      activation: "gelu_new",
      attentionBias: null,
      partialRotaryFactor: 0.5,
    }),
    normsHeads: reader.flag("qk_layernorm", false),
    embeddingDropout: reader.share("embd_pdrop", 0),
    residualDropout: reader.share("resid_pdrop", 0),
  }),
  create: (config) => new PhiForCausalLm(config),
};
