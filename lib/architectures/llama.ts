/**
 * Llama: the whole model on one page. Atom, Yi, DeepSeek-LLM and many others are
 * the same model with other numbers, which all come from `config.json`.
 *
 * @module
 */

import type { Geometry } from "../data/batch.ts";
import {
  attention,
  BatchContext,
  type BatchContextOptions,
  Embedding,
  type KeyValueCache,
  Linear,
  Module,
  ModuleList,
  type Projection,
  RmsNorm,
  RotaryEmbedding,
  rotate,
} from "../nn/mod.ts";
import { aten, type Tensor } from "../tensor/mod.ts";
import { CausalLm, DecoderLayer, type RunState } from "./causal_lm.ts";
import type { LlamaConfig } from "./llama_config.ts";

/** What Llama's layers need to know of a batch. */
export class LlamaContext extends BatchContext {
  /** Adds the rotation of the batch's positions, from {@linkcode RotaryEmbedding.table}. */
  constructor(
    geometry: Geometry,
    options: BatchContextOptions & { readonly rotary: RotaryEmbedding },
  ) {
    super(geometry, options);
    this.rotation = options.rotary.table(this.rowPositions, this.device);
  }

  /** The rotation of each position of a row: complex `[length, 1, headSize/2]`. */
  readonly rotation: Tensor;
}

/** Attention with rotary positions and grouped queries. */
export class LlamaAttention extends Module {
  /** Makes queries: `[rows, hidden]` to `[rows, heads·headSize]`. */
  q_proj: Projection;
  /** Makes keys: `[rows, hidden]` to `[rows, keyValueHeads·headSize]`. */
  k_proj: Projection;
  /** Makes values, of the shape of the keys. */
  v_proj: Projection;
  /** Brings the heads together: `[rows, heads·headSize]` to `[rows, hidden]`. */
  o_proj: Projection;

  /** Makes the four projections without weights. */
  constructor(readonly config: LlamaConfig) {
    super();
    const { hiddenSize, heads, keyValueHeads, headSize } = config;
    const bias = config.attentionBias;
    const project = (outFeatures: number): Linear =>
      new Linear({ inFeatures: hiddenSize, outFeatures, bias });
    this.q_proj = project(heads * headSize);
    this.k_proj = project(keyValueHeads * headSize);
    this.v_proj = project(keyValueHeads * headSize);
    this.o_proj = new Linear({
      inFeatures: heads * headSize,
      outFeatures: hiddenSize,
      bias,
    });
  }

  /** `residual + o_proj(attention(input))`, all `[tokens, hidden]`. */
  forward(input: Tensor, residual: Tensor, place: AttentionPlace): Tensor {
    const { context, cache } = place;
    const { rows, length, rotation } = context;
    const { heads, keyValueHeads, headSize } = this.config;
    const shape = { rows, length, heads, headSize };
    const keyShape = { rows, length, heads: keyValueHeads, headSize };
    const turn = (projected: Tensor, of: typeof shape): Tensor =>
      aten.transpose(rotate(projected, { table: rotation, shape: of }), 1, 2);
    // [rows, heads, length, headSize]
    const query = turn(this.q_proj.forward(input), shape);
    const ownKeys = turn(this.k_proj.forward(input), keyShape);
    const ownValues = aten.transpose(
      aten.view(
        this.v_proj.forward(input),
        [rows, length, keyValueHeads, headSize],
      ),
      1,
      2,
    );
    const seen = cache?.append(ownKeys, ownValues) ??
      { keys: ownKeys, values: ownValues };
    const mixed = aten.transpose(attention({ query, ...seen }, context), 1, 2);
    return this.o_proj.forward(
      aten.reshape(mixed, [rows * length, heads * headSize]),
      residual,
    );
  }
}

/** Where a layer's attention stands. */
export interface AttentionPlace {
  /** The batch. */
  readonly context: LlamaContext;
  /** Keys and values of earlier positions, when generating. */
  readonly cache?: KeyValueCache | undefined;
}

/** `residual + down(silu(gate(x)) ∘ up(x))` (Shazeer, arXiv:2002.05202). */
export class LlamaMlp extends Module {
  /** Makes the gate: `[rows, hidden]` to `[rows, intermediate]`. */
  gate_proj: Projection;
  /** Makes what is gated, of the shape of the gate. */
  up_proj: Projection;
  /** Brings the product back: `[rows, intermediate]` to `[rows, hidden]`. */
  down_proj: Projection;

  /** Makes the three projections without weights. */
  constructor(config: LlamaConfig) {
    super();
    const { hiddenSize, intermediateSize, mlpBias: bias } = config;
    const wide = {
      inFeatures: hiddenSize,
      outFeatures: intermediateSize,
      bias,
    };
    this.gate_proj = new Linear(wide);
    this.up_proj = new Linear(wide);
    this.down_proj = new Linear({
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias,
    });
  }

  /** Maps `[rows, hidden]` and adds `residual`. */
  forward(input: Tensor, residual: Tensor): Tensor {
    const gate = aten.silu(this.gate_proj.forward(input));
    return this.down_proj.forward(
      aten.mul(gate, this.up_proj.forward(input)),
      residual,
    );
  }
}

/** One decoder layer: attention, then the gated MLP, each after a norm. */
export class LlamaDecoderLayer extends DecoderLayer {
  /** The attention, with the first residual. */
  self_attn: LlamaAttention;
  /** The gated MLP, with the second residual. */
  mlp: LlamaMlp;
  /** The norm before the attention. */
  input_layernorm: RmsNorm;
  /** The norm before the MLP. */
  post_attention_layernorm: RmsNorm;

  /** Makes the layer without weights. */
  constructor(config: LlamaConfig) {
    super();
    this.self_attn = new LlamaAttention(config);
    this.mlp = new LlamaMlp(config);
    this.input_layernorm = new RmsNorm(config.hiddenSize, config.rmsNormEps);
    this.post_attention_layernorm = new RmsNorm(
      config.hiddenSize,
      config.rmsNormEps,
    );
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: LlamaContext,
    cache?: KeyValueCache,
  ): Tensor {
    const attended = this.self_attn.forward(
      this.input_layernorm.forward(hidden),
      hidden,
      { context, cache },
    );
    return this.mlp.forward(
      this.post_attention_layernorm.forward(attended),
      attended,
    );
  }
}

/** The decoder without its head. */
export class LlamaModel extends Module {
  /** The embedding, `[vocabulary, hidden]`. */
  embed_tokens: Embedding;
  /** The decoder layers in order. */
  layers: ModuleList<LlamaDecoderLayer>;
  /** The norm after the last layer. */
  norm: RmsNorm;

  /** Makes the decoder without weights. */
  constructor(config: LlamaConfig) {
    super();
    this.embed_tokens = new Embedding(config.vocabSize, config.hiddenSize);
    this.layers = new ModuleList(
      Array.from(
        { length: config.layers },
        () => new LlamaDecoderLayer(config),
      ),
    );
    this.norm = new RmsNorm(config.hiddenSize, config.rmsNormEps);
  }
}

const LONGEST = "longest_sequence";

/** `LlamaForCausalLM`. */
export class LlamaForCausalLm extends CausalLm {
  /** The numbers of `config.json`. */
  override readonly config: LlamaConfig;
  /** Where the head lies in the tree. */
  override readonly outputEmbeddingsPath = "lm_head";
  /** The decoder without its head. */
  model: LlamaModel;
  /** The head: `[rows, hidden]` to `[rows, vocabulary]`. */
  lm_head: Projection;
  readonly #rotary: RotaryEmbedding;

  /** Makes the tree without weights: enough to ask for names and shapes. */
  constructor(config: LlamaConfig) {
    super();
    this.config = config;
    this.model = new LlamaModel(config);
    this.lm_head = new Linear({
      inFeatures: config.hiddenSize,
      outFeatures: config.vocabSize,
    });
    this.#rotary = new RotaryEmbedding(config.rope);
  }

  /** The layers in order. */
  override get decoderLayers(): readonly LlamaDecoderLayer[] {
    return this.model.layers.items;
  }

  /** The layer that embeds. */
  override inputEmbeddings(): Embedding {
    return this.model.embed_tokens;
  }

  /** The batch with the rotation of its positions. */
  override context(
    geometry: Geometry,
    options: Omit<BatchContextOptions, "device"> = {},
  ): LlamaContext {
    const { device } = this;
    const rotary = this.#rotary;
    return new LlamaContext(geometry, { ...options, device, rotary });
  }

  /** The longest sequence seen, where rotations follow it. */
  override runState(): RunState {
    const isDynamic = this.config.rope.type === "dynamic";
    return isDynamic ? { [LONGEST]: this.#rotary.longest } : {};
  }

  /** Puts the longest sequence seen back. */
  override restoreRunState(state: RunState | null): void {
    this.#rotary.longest = state?.[LONGEST] ?? this.config.rope.maxPositions;
  }

  /** Ids `[tokens]` to hidden states `[tokens, hidden]`. */
  override embed(ids: Tensor): Tensor {
    return this.model.embed_tokens.forward(ids);
  }

  /** Hidden states `[rows, hidden]` to logits `[rows, vocabulary]`, after the last norm. */
  override head(hidden: Tensor): Tensor {
    return this.lm_head.forward(this.model.norm.forward(hidden));
  }

  /** Gives memory back: rotation tables, and weights with their mapped files. */
  override [Symbol.dispose](): void {
    this.#rotary[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}
