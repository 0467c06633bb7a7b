/**
 * The interface of a decoder for training, adapters and generation: a tree of
 * modules divided into embedding, layers and head, each a plain function.
 *
 * @module
 */

import { type Geometry, rectangle } from "../data/batch.ts";
import {
  BatchContext,
  type BatchContextOptions,
  type KeyValueCache,
  Module,
} from "../nn/mod.ts";
import { aten, CPU, type Device, type Tensor } from "../tensor/mod.ts";

/** A decoder layer: hidden states `[tokens, hidden]` to the same shape. */
export abstract class DecoderLayer extends Module {
  /**
   * Maps hidden states. `context` was made by the model's own `context()`;
   * `cache` is this layer's cache in generation.
   */
  abstract forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor;
}

/** The settings in every model's `config.json`, in one form. */
export interface ModelConfig {
  /** `model_type` as in `config.json`. */
  readonly modelType: string;
  /** The folder it was read from, for `base_model_name_or_path`. */
  readonly path: string;
  /** Number of decoder layers. */
  readonly layers: number;
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Rows of the embedding and columns of the logits. */
  readonly vocabSize: number;
  /** The longest sequence that the model is made for, in tokens. */
  readonly maxPositions: number;
  /** Standard deviation of newly initialised matrices. */
  readonly initializerRange: number;
  /** Whether embedding and head share one matrix. */
  readonly tieWordEmbeddings: boolean;
  /** Ids that end an answer; the first is `config.eos_token_id` in the recipe. */
  readonly eosTokenIds: readonly number[];
  /** Share of the attention weights that dropout sets to zero in training. Default 0. */
  readonly attentionDropout?: number;
  /** The bound of attention's scores, in families that cap them. Default none. */
  readonly attnLogitSoftcapping?: number | null;
  /** The id that begins a text, or `null`. */
  readonly bosTokenId: number | null;
  /** The content of `config.json`, for saving it again. */
  readonly source: Readonly<Record<string, unknown>>;
}

/** Numbers in a model that change with the batches it has seen, by name. */
export type RunState = Readonly<Record<string, number>>;

/** Options of {@linkcode CausalLm.forward}. */
export interface ForwardOptions {
  /** One cache per layer; the ids follow those that the caches hold. */
  readonly caches?: readonly KeyValueCache[];
}

/** A decoder with a language model head. */
export abstract class CausalLm extends Module implements Disposable {
  /** The numbers of `config.json`. */
  abstract readonly config: ModelConfig;
  /** The path of the layer that computes logits; `all-linear` leaves it out. */
  abstract readonly outputEmbeddingsPath: string;
  #device: Device = CPU;
  #owned: readonly Disposable[] = [];

  /** The layers in order. */
  abstract get decoderLayers(): readonly DecoderLayer[];

  /** Ids `[tokens]` to hidden states `[tokens, hidden]`. */
  abstract embed(ids: Tensor, context: BatchContext): Tensor;

  /** Hidden states `[rows, hidden]` to logits `[rows, vocabulary]`. */
  abstract head(hidden: Tensor): Tensor;

  /** The layer whose `weight` is the embedding and, when tied, also computes logits. */
  abstract inputEmbeddings(): Module;

  /**
   * The batch context for the layers. A family whose layers need more, such as a
   * table of rotations, adds it here, once per batch.
   */
  context(
    geometry: Geometry,
    options: Omit<BatchContextOptions, "device"> = {},
  ): BatchContext {
    return new BatchContext(geometry, { ...options, device: this.device });
  }

  /**
   * The state that depends on the batches seen, which a checkpoint saves; empty
   * for most models.
   */
  runState(): RunState {
    return {};
  }

  /**
   * Restores what {@linkcode CausalLm.runState} returned; `null` stands for a
   * model that has seen nothing.
   */
  restoreRunState(_state: RunState | null): void {}

  /**
   * Why batches for this model are padded to rows of one length, or `null` where
   * rows lie end to end and share prefixes: the kernels that merge their parts compute
   * neither capped scores nor dropout.
   */
  get paddingReason(): string | null {
    const { attentionDropout = 0, attnLogitSoftcapping } = this.config;
    if (attnLogitSoftcapping) return "the model caps attention scores";
    if (attentionDropout > 0) return "the model drops attention weights";
    return null;
  }

  /**
   * Whether generation continues rows of different lengths together. Not where a
   * token's rotation depends on the length of its text: rows are then generated one
   * after the other.
   */
  get continuesRowsTogether(): boolean {
    return true;
  }

  /** The device of the weights. */
  get device(): Device {
    return this.#device;
  }

  /** Sets the device of the weights, and what must be freed with the model. */
  attachStorage(device: Device, owned: readonly Disposable[]): void {
    this.#device = device;
    this.#owned = owned;
  }

  /** Frees the weights and unmaps their files. */
  [Symbol.dispose](): void {
    // Training may have replaced tensors that were loaded.
    for (const { tensor } of this.namedParameters()) tensor[Symbol.dispose]();
    for (const each of this.#owned) each[Symbol.dispose]();
    this.#owned = [];
  }

  /** Logits `[rows·length, vocabulary]` of ids `[rows, length]`. */
  forward(ids: Tensor, options: ForwardOptions = {}): Tensor {
    return this.head(this.hidden(ids, options));
  }

  /** Hidden states before the head, `[rows·length, hidden]`, of ids `[rows, length]`. */
  hidden(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const [rows = 0, length = 0] = ids.shape;
    const first = options.caches?.[0]?.length ?? 0;
    const context = this.context(rectangle(rows, length, first), options);
    return this.decoderLayers.reduce(
      (hidden, layer, index) =>
        layer.forward(hidden, context, context.caches?.[index]),
      this.embed(aten.reshape(ids, [rows * length]), context),
    );
  }
}
