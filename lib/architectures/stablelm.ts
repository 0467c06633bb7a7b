/**
 * StableLM: Llama with layer norms and a rotated part of each head; some models norm
 * each head's queries and keys with weights of its own, or run both branches beside
 * each other.
 *
 * @module
 */

import {
  type BatchContext,
  GatedMlp,
  type HeadForm,
  type KeyValueCache,
  LayerNorm,
  ModuleList,
  Norm,
  SelfAttention,
} from "../nn/mod.ts";
import { aten, type Tensor } from "../tensor/mod.ts";
import { DecoderLayer } from "./causal_lm.ts";
import { addBranch, NamedDecoder } from "./decoder.ts";
import { type DecoderConfig, readDecoderConfig } from "./decoder_config.ts";
import type { ModelFamily } from "./registry.ts";

/** The numbers of one StableLM. */
export interface StableLmConfig extends DecoderConfig {
  /** Whether each head's queries and keys are normalised. */
  readonly normsHeads: boolean;
  /** Whether the MLP reads what the attention reads. */
  readonly isParallel: boolean;
  /** Share of the MLP's output that dropout sets to zero in training. */
  readonly hiddenDropout: number;
}

/** A layer norm without bias for each head. */
class HeadwiseNorm extends Norm {
  /** One norm a head. */
  norms: ModuleList<LayerNorm>;
  readonly #eps: number;

  /** Makes `heads` norms without weights. */
  constructor(heads: number, config: StableLmConfig) {
    super();
    const { headSize, normEps: eps } = config;
    this.norms = new ModuleList(
      Array.from(
        { length: heads },
        () => new LayerNorm(headSize, { eps, bias: false }),
      ),
    );
    this.#eps = eps;
  }

  /** Norms `[…, heads, headSize]`. */
  override forward(input: Tensor): Tensor {
    const shape = input.shape.slice(-2);
    const weights = this.norms.items.map(({ weight }) => weight);
    const own = aten.view(aten.cat(weights, 0), shape);
    const normed = aten.layerNorm(
      input,
      shape.slice(-1),
      null,
      null,
      this.#eps,
    );
    return aten.mul(normed, aten.toDtype(own, input.dtype));
  }
}

/** Attention that may norm between projection and rotation. */
class StableLmAttention extends SelfAttention {
  /** The norms of the heads' queries. */
  declare q_layernorm: HeadwiseNorm | undefined;
  /** The norms of the heads' keys. */
  declare k_layernorm: HeadwiseNorm | undefined;

  /** Makes projections and norms without weights. */
  constructor(config: StableLmConfig) {
    super({ ...config, outputBias: false });
    if (!config.normsHeads) return;
    this.q_layernorm = new HeadwiseNorm(config.heads, config);
    this.k_layernorm = new HeadwiseNorm(config.keyValueHeads, config);
  }

  /** The norms before the rotation, where there are any. */
  protected override headNorms(): Pick<HeadForm, "norms"> {
    const { q_layernorm: query, k_layernorm: key } = this;
    return query === undefined || key === undefined
      ? {}
      : { norms: { query, key } };
  }
}

/** `x + attn(norm(x))`, then `x + mlp(norm(x))`, or both of one norm. */
class StableLmLayer extends DecoderLayer {
  /** The first branch. */
  self_attn: StableLmAttention;
  /** The second branch. */
  mlp: GatedMlp;
  /** The norm before the attention. */
  input_layernorm: LayerNorm;
  /** The norm before the MLP, where it is another. */
  declare post_attention_layernorm: LayerNorm | undefined;
  readonly #dropout: number;

  /** Makes the layer without weights. */
  constructor(config: StableLmConfig) {
    super();
    this.self_attn = new StableLmAttention(config);
    this.mlp = new GatedMlp(config);
    this.input_layernorm = layerNorm(config);
    if (!config.isParallel) this.post_attention_layernorm = layerNorm(config);
    this.#dropout = config.hiddenDropout;
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const normed = this.input_layernorm.forward(hidden);
    const attended = this.self_attn.forward(normed, hidden, { context, cache });
    const again = this.post_attention_layernorm?.forward(attended) ?? normed;
    return addBranch(attended, this.mlp.forward(again), {
      dropout: this.#dropout,
      training: this.training,
    });
  }
}

function layerNorm({ hiddenSize, normEps: eps }: StableLmConfig): LayerNorm {
  return new LayerNorm(hiddenSize, { eps });
}

/** StableLM among the families. */
export const STABLELM: ModelFamily<StableLmConfig> = {
  name: "StableLM",
  modelTypes: ["stablelm"],
  architectures: ["StableLmForCausalLM"],
  defaultTargets: ["q_proj", "v_proj"],
  readConfig: (reader) => ({
    ...readDecoderConfig(reader, {
      modelType: "stablelm",
      vocabSize: 50304,
      hiddenSize: 2560,
      intermediateSize: 6912,
      maxPositions: 4096,
      epsField: "layer_norm_eps",
      normEps: 1e-5,
      attentionBias: null,
      partialRotaryFactor: 0.25,
      eosTokenId: 0,
      bosTokenId: 0,
    }),
    attentionBias: reader.flag("use_qkv_bias", false),
    normsHeads: reader.flag("qk_layernorm", false),
    isParallel: reader.flag("use_parallel_residual", false),
    hiddenDropout: reader.share("hidden_dropout", 0),
  }),
  create: (config) =>
    new NamedDecoder(config, {
      ropes: [config.rope],
      norm: () => layerNorm(config),
      layer: () => new StableLmLayer(config),
    }),
};
