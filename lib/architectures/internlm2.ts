/**
 * InternLM2: Llama under other names, with one projection in which each group of
 * heads has its queries, then its key and its value.
 *
 * @module
 */

import {
  ACTIVATIONS,
  attendHeads,
  type AttentionPlace,
  type BatchContext,
  Embedding,
  type KeyValueCache,
  Linear,
  Module,
  type ModuleList,
  type Projected,
  type Projection,
  type RmsNorm,
} from "../nn/mod.ts";
import { aten, type Tensor } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import { Decoder, type DecoderParts, layerList, rmsNorms } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";
import { readOlderRope } from "./rope_config.ts";

/** Queries, keys and values of `[tokens, groups·(queries + 2)·headSize]`. */
function splitGroups(fused: Tensor, config: DecoderConfig): Projected {
  const { heads, keyValueHeads, headSize } = config;
  const group = heads / keyValueHeads;
  const tokens = fused.shape[0]!;
  const split = aten.view(fused, [tokens, keyValueHeads, group + 2, headSize]);
  const part = (start: number, count: number): Tensor =>
    aten.reshape(aten.slice(split, 2, start, start + count), [
      tokens,
      keyValueHeads * count * headSize,
    ]);
  return {
    query: part(0, group),
    key: part(group, 1),
    value: part(group + 1, 1),
  };
}

/** Attention whose projection is fused by groups of heads. */
class InternLm2Attention extends Module {
  /** Makes queries, key and value of each group. */
  wqkv: Projection;
  /** Combines the heads: `[tokens, heads·headSize]` to `[tokens, hidden]`. */
  wo: Projection;

  /** Makes the two projections without weights. */
  constructor(readonly config: DecoderConfig) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize } = config;
    const { attentionBias: bias } = config;
    this.wqkv = new Linear({
      inFeatures: hiddenSize,
      outFeatures: (heads + 2 * keyValueHeads) * headSize,
      bias,
    });
    this.wo = new Linear({
      inFeatures: heads * headSize,
      outFeatures: hiddenSize,
      bias,
    });
  }

  /** `residual + wo(attention(input))`, all `[tokens, hidden]`. */
  forward(input: Tensor, residual: Tensor, place: AttentionPlace): Tensor {
    const { config } = this;
    const { heads, keyValueHeads, headSize } = config;
    const mixed = attendHeads(
      splitGroups(this.wqkv.forward(input), config),
      {
        heads,
        keyValueHeads,
        headSize,
        dropout: this.training ? config.attentionDropout : 0,
      },
      place,
    );
    return this.wo.forward(mixed, residual);
  }
}

/** `residual + w2(act(w1(x)) ∘ w3(x))`. */
class InternLm2Mlp extends Module {
  /** Makes the gate: `[tokens, hidden]` to `[tokens, intermediate]`. */
  w1: Projection;
  /** Makes what is gated, of the shape of the gate. */
  w3: Projection;
  /** Brings the product back: `[tokens, intermediate]` to `[tokens, hidden]`. */
  w2: Projection;

  /** Makes the three projections without weights. */
  constructor(readonly config: DecoderConfig) {
    super();
    const { hiddenSize, intermediateSize } = config;
    const wide = { inFeatures: hiddenSize, outFeatures: intermediateSize };
    this.w1 = new Linear(wide);
    this.w3 = new Linear(wide);
    this.w2 = new Linear({
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
    });
  }

  /** Maps `[tokens, hidden]` and adds `residual`. */
  forward(input: Tensor, residual: Tensor): Tensor {
    const gate = ACTIVATIONS[this.config.activation](this.w1.forward(input));
    return this.w2.forward(aten.mul(gate, this.w3.forward(input)), residual);
  }
}

/** A layer of attention and MLP, each after a norm. */
class InternLm2Layer extends DecoderLayer {
  /** The attention. */
  attention: InternLm2Attention;
  /** The MLP. */
  feed_forward: InternLm2Mlp;
  /** The norm before the attention. */
  attention_norm: RmsNorm;
  /** The norm before the MLP. */
  ffn_norm: RmsNorm;

  /** Makes the layer without weights. */
  constructor(config: DecoderConfig) {
    super();
    const norm = rmsNorms(config);
    this.attention = new InternLm2Attention(config);
    this.feed_forward = new InternLm2Mlp(config);
    this.attention_norm = norm();
    this.ffn_norm = norm();
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const normed = this.attention_norm.forward(hidden);
    const attended = this.attention.forward(normed, hidden, { context, cache });
    return this.feed_forward.forward(this.ffn_norm.forward(attended), attended);
  }
}

/** The decoder without its head. */
class InternLm2Body extends Module {
  /** The embedding, `[vocabulary, hidden]`. */
  tok_embeddings: Embedding;
  /** The decoder layers in order. */
  layers: ModuleList<DecoderLayer>;
  /** The norm after the last layer. */
  norm: RmsNorm;

  /** Makes the decoder without weights. */
  constructor(config: DecoderConfig) {
    super();
    this.tok_embeddings = new Embedding(config.vocabSize, config.hiddenSize);
    this.layers = layerList(config, () => new InternLm2Layer(config));
    this.norm = rmsNorms(config)();
  }
}

/** `InternLM2ForCausalLM`. */
class InternLm2ForCausalLm extends Decoder {
  /** Where the head lies in the tree. */
  override readonly outputEmbeddingsPath = "output";
  /** The decoder without its head. */
  model: InternLm2Body;
  /** The head: `[rows, hidden]` to `[rows, vocabulary]`. */
  output: Projection;

  /** Makes the tree without weights. */
  constructor(config: DecoderConfig) {
    super(config, { ropes: [config.rope] });
    this.model = new InternLm2Body(config);
    this.output = new Linear({
      inFeatures: config.hiddenSize,
      outFeatures: config.vocabSize,
    });
  }

  /** The parts under their own names. */
  protected override parts(): DecoderParts {
    const { tok_embeddings: embeddings, layers, norm } = this.model;
    return { embeddings, layers, norm, head: this.output };
  }
}

/** InternLM2 among the families. */
export const INTERNLM2: ModelFamily<DecoderConfig> = {
  name: "InternLM2",
  modelTypes: ["internlm2"],
  // The first published files have the type of InternLM.
  sharedTypes: ["internlm"],
  architectures: ["InternLM2ForCausalLM"],
  readConfig(reader): DecoderConfig {
    const config = readDecoderConfig(reader, {
      modelType: "internlm2",
      vocabSize: 103168,
      attentionBias: null,
      readRope: readOlderRope,
    });
    return {
      ...config,
      attentionBias: reader.flag("bias", true),
      rope: { ...config.rope, keepsLongest: false },
    };
  },
  create: (config) => new InternLm2ForCausalLm(config),
};
