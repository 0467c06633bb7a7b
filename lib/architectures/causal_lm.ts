/**
 * What a decoder looks like to training, adapters and generation: a tree of
 * modules cut into segments — embedding, layers, head — each a plain function.
 *
 * @module
 */

import { type KeyValueCache, Module, type RotaryEmbedding } from "../nn/mod.ts";
import {
  assertMappedFilesUnchanged,
  type Device,
  type Tensor,
} from "../tensor/mod.ts";

/** What a segment needs to know of the batch. */
export interface SegmentContext {
  /** Rows of the batch. */
  readonly batch: number;
  /** Positions of each row, padding included. */
  readonly length: number;
  /** The rotation of the batch's positions, from {@linkcode RotaryEmbedding.table}. */
  readonly rotation: Tensor;
  /** One cache per layer when generating. */
  readonly caches?: readonly KeyValueCache[];
}

/** A decoder layer: hidden states `[batch·length, hidden]` to the same shape. */
export abstract class DecoderLayer extends Module {
  /** Maps hidden states; `cache` is this layer's own when generating. */
  abstract forward(
    hidden: Tensor,
    context: SegmentContext,
    cache?: KeyValueCache,
  ): Tensor;
}

/** What every model's `config.json` tells, in one shape. */
export interface ModelConfig {
  /** `model_type` as in `config.json`. */
  readonly modelType: string;
  /** The folder it was read from, for `base_model_name_or_path`. */
  readonly path: string;
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Rows of the embedding and columns of the logits. */
  readonly vocabSize: number;
  /** The longest sequence the model was made for, in tokens. */
  readonly maxPositions: number;
  /** Whether embedding and head share one matrix. */
  readonly tieWordEmbeddings: boolean;
  /** Ids that end an answer; the first is the seed's `config.eos_token_id`. */
  readonly eosTokenIds: readonly number[];
  /** The id that begins a text, or `null`. */
  readonly bosTokenId: number | null;
  /** `config.json` itself, to be saved again. */
  readonly source: Readonly<Record<string, unknown>>;
}

/** A decoder with a language model head. */
export abstract class CausalLm extends Module implements Disposable {
  /** The numbers of `config.json`. */
  abstract readonly config: ModelConfig;
  /** Where the weights lie. */
  abstract readonly device: Device;
  /** The rotation that all layers share. */
  abstract readonly rotary: RotaryEmbedding;
  /** The layers in order. */
  abstract get decoderLayers(): readonly DecoderLayer[];

  /** Ids `[batch, length]` to hidden states `[batch·length, hidden]`. */
  abstract embed(ids: Tensor): Tensor;

  /** Hidden states `[rows, hidden]` to logits `[rows, vocabulary]`. */
  abstract head(hidden: Tensor): Tensor;

  /** The parameter that embeds and, when tied, also makes logits. */
  abstract inputEmbeddings(): Module;

  /** The path of the layer that makes logits; adapters for `all-linear` leave it out. */
  abstract readonly outputEmbeddingsPath: string;

  /** Gives memory back: rotation tables, and weights with their mapped files. */
  abstract [Symbol.dispose](): void;

  /**
   * The context of a batch whose first position is `start`.
   *
   * @throws {InputError} when another process has changed a file of weights.
   */
  context(
    shape: readonly number[],
    options: { start?: number; caches?: readonly KeyValueCache[] } = {},
  ): SegmentContext {
    assertMappedFilesUnchanged();
    const [batch = 0, length = 0] = shape;
    const { start = 0, caches } = options;
    const rotation = this.rotary.table(start, { length, device: this.device });
    return { batch, length, rotation, ...(caches && { caches }) };
  }

  /**
   * Logits `[batch·length, vocabulary]` of ids `[batch, length]`.
   * With `caches`, positions begin at `start` and see what the caches hold.
   */
  forward(
    ids: Tensor,
    options: { start?: number; caches?: readonly KeyValueCache[] } = {},
  ): Tensor {
    return this.head(this.hidden(ids, options));
  }

  /** Hidden states before the head, `[batch·length, hidden]`. */
  hidden(
    ids: Tensor,
    options: { start?: number; caches?: readonly KeyValueCache[] } = {},
  ): Tensor {
    const context = this.context(ids.shape, options);
    return this.decoderLayers.reduce(
      (hidden, layer, index) =>
        layer.forward(hidden, context, context.caches?.[index]),
      this.embed(ids),
    );
  }
}
