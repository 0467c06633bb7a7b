/**
 * StarCoder2: a decoder with layer norms, an MLP without a gate, biases everywhere or
 * nowhere, and dropout of embeddings and branches.
 *
 * @module
 */

import {
  type Activation,
  ACTIVATIONS,
  LayerNorm,
  Linear,
  Module,
  type Projection,
  SelfAttention,
} from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { NamedDecoder, PreNormLayer } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one StarCoder2. */
export interface Starcoder2Config extends DecoderConfig {
  /** How many positions a token sees on all layers, itself included; `null` for all. */
  readonly window: number | null;
  /** Share of each branch that dropout sets to zero in training. */
  readonly residualDropout: number;
  /** Share of the embeddings that dropout sets to zero in training. */
  readonly embeddingDropout: number;
}

/** `residual + c_proj(act(c_fc(x)))`. */
class PlainMlp extends Module {
  /** `[tokens, hidden]` to `[tokens, intermediate]`. */
  c_fc: Projection;
  /** `[tokens, intermediate]` to `[tokens, hidden]`. */
  c_proj: Projection;
  readonly #activation: Activation;

  /** Makes the two projections without weights. */
  constructor(config: Starcoder2Config) {
    super();
    const { hiddenSize, intermediateSize, attentionBias: bias } = config;
    this.c_fc = new Linear({
      inFeatures: hiddenSize,
      outFeatures: intermediateSize,
      bias,
    });
    this.c_proj = new Linear({
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias,
    });
    this.#activation = config.activation;
  }

  /** Maps `[tokens, hidden]`, and adds `residual` when given. */
  forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const wide = ACTIVATIONS[this.#activation](this.c_fc.forward(input));
    return this.c_proj.forward(wide, residual);
  }
}

/** StarCoder2 among the families. */
export const STARCODER2: ModelFamily<Starcoder2Config> = {
  name: "StarCoder2",
  modelTypes: ["starcoder2"],
  architectures: ["Starcoder2ForCausalLM"],
  readConfig: (reader) => ({
    ...readDecoderConfig(reader, {
      modelType: "starcoder2",
      vocabSize: 49152,
      hiddenSize: 3072,
      intermediateSize: 12288,
      layers: 30,
      heads: 24,
      keyValueHeads: 2,
      maxPositions: 4096,
      epsField: "norm_epsilon",
      normEps: 1e-5,
      activation: "gelu_pytorch_tanh",
      attentionBias: null,
      initializerRange: 0.018042,
      tieWordEmbeddings: true,
      eosTokenId: 50256,
      bosTokenId: 50256,
    }),
    attentionBias: reader.flag("use_bias", true),
    window: reader.countOrNull("sliding_window", null),
    residualDropout: reader.share("residual_dropout", 0),
    embeddingDropout: reader.share("embedding_dropout", 0),
  }),
  create(config): NamedDecoder {
    const { hiddenSize, normEps: eps, residualDropout: dropout } = config;
    const norm = (): LayerNorm => new LayerNorm(hiddenSize, { eps });
    return new NamedDecoder(config, {
      ropes: [config.rope],
      embeddingDropout: config.embeddingDropout,
      norm,
      layer: () =>
        new PreNormLayer({
          attention: new SelfAttention(config, { window: config.window }),
          mlp: new PlainMlp(config),
          norm,
          ...(dropout > 0 && { residual: { dropout } }),
        }),
    });
  },
};
