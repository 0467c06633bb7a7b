/**
 * What a decoder looks like to training, adapters and generation: a tree of
 * modules cut into segments — embedding, layers, head — each a plain function.
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
   * Maps hidden states. `context` is what the model's own `context()` made;
   * `cache` is this layer's own when generating.
   */
  abstract forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor;
}

/** What every model's `config.json` tells, in one shape. */
export interface ModelConfig {
  /** `model_type` as in `config.json`. */
  readonly modelType: string;
  /** The folder it was read from, for `base_model_name_or_path`. */
  readonly path: string;
  /** How many decoder layers there are. */
  readonly layers: number;
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Rows of the embedding and columns of the logits. */
  readonly vocabSize: number;
  /** The longest sequence the model was made for, in tokens. */
  readonly maxPositions: number;
  /** Standard deviation of fresh matrices. */
  readonly initializerRange: number;
  /** Whether embedding and head share one matrix. */
  readonly tieWordEmbeddings: boolean;
  /** Ids that end an answer; the first is the recipe's `config.eos_token_id`. */
  readonly eosTokenIds: readonly number[];
  /** The id that begins a text, or `null`. */
  readonly bosTokenId: number | null;
  /** `config.json` itself, to be saved again. */
  readonly source: Readonly<Record<string, unknown>>;
}

/** Numbers that a model has gathered from the batches it saw, by name. */
export type RunState = Readonly<Record<string, number>>;

/** Options of {@linkcode CausalLm.forward}. */
export interface ForwardOptions {
  /** One cache per layer; the ids come after what they hold. */
  readonly caches?: readonly KeyValueCache[];
}

/** A decoder with a language model head. */
export abstract class CausalLm extends Module implements Disposable {
  /** The numbers of `config.json`. */
  abstract readonly config: ModelConfig;
  /** The path of the layer that makes logits; adapters for `all-linear` leave it out. */
  abstract readonly outputEmbeddingsPath: string;
  #device: Device = CPU;
  #owned: readonly Disposable[] = [];

  /** The layers in order. */
  abstract get decoderLayers(): readonly DecoderLayer[];

  /** Ids `[tokens]` to hidden states `[tokens, hidden]`. */
  abstract embed(ids: Tensor, context: BatchContext): Tensor;

  /** Hidden states `[rows, hidden]` to logits `[rows, vocabulary]`. */
  abstract head(hidden: Tensor): Tensor;

  /** The layer whose `weight` embeds and, when tied, also makes logits. */
  abstract inputEmbeddings(): Module;

  /**
   * What layers are told of a batch. A family whose layers need more, such as a
   * table of rotations, makes it here, once.
   */
  context(
    geometry: Geometry,
    options: Omit<BatchContextOptions, "device"> = {},
  ): BatchContext {
    return new BatchContext(geometry, { ...options, device: this.device });
  }

  /** What a resumed run must know of the batches seen; nothing for most models. */
  runState(): RunState {
    return {};
  }

  /** Puts back what {@linkcode CausalLm.runState} gave; `null` is a model that has seen nothing. */
  restoreRunState(_state: RunState | null): void {}

  /** Where the weights lie. */
  get device(): Device {
    return this.#device;
  }

  /** Says where the weights lie and what must be freed with the model. */
  attachStorage(device: Device, owned: readonly Disposable[]): void {
    this.#device = device;
    this.#owned = owned;
  }

  /** Gives memory back: the weights with their mapped files. */
  [Symbol.dispose](): void {
    // Training may have put other tensors in the places of those that were read.
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
