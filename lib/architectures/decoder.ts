/**
 * What decoders have in common: embedding, layers, last norm, head, rotary
 * embeddings, and the layer with a norm before each of its two branches. A
 * family's page adds what is specific to it.
 *
 * @module
 */

import type { Geometry } from "../data/batch.ts";
import { InputError } from "../input_error.ts";
import {
  type AttentionPlace,
  type BatchContext,
  type BatchContextOptions,
  dropout,
  Embedding,
  type KeyValueCache,
  Linear,
  Module,
  ModuleList,
  type Norm,
  type Projection,
  RmsNorm,
  type RopeParameters,
  RotaryEmbedding,
} from "../nn/mod.ts";
import { aten, type Tensor, tensor } from "../tensor/mod.ts";
import { CachedTexts } from "./cached_texts.ts";
import {
  CausalLm,
  DecoderLayer,
  type ForwardOptions,
  type ModelConfig,
  type RunState,
} from "./causal_lm.ts";

/** What a decoder computes besides its layers. */
export interface DecoderForm {
  /** The rotary embeddings, in the order in which layers refer to them. */
  readonly ropes?: readonly RopeParameters[];
  /**
   * Whether cached ids are computed again once a text grows past the original
   * length of `longrope`, from where on all its rotations are others. Default no:
   * what is cached stays as it is.
   */
  readonly recomputesCache?: boolean;
  /** The factor of the embeddings. Default 1. */
  readonly embeddingScale?: number;
  /** Whether that factor is rounded to the embeddings' type first. Default false. */
  readonly roundsEmbeddingScale?: boolean;
  /** Share of the embeddings that dropout sets to zero in training. Default 0. */
  readonly embeddingDropout?: number;
  /** The factor of the last norm's output. Default 1. */
  readonly headScale?: number;
  /** The factor of the logits. Default 1. */
  readonly logitScale?: number;
  /** When given, a logit `x` becomes `c · tanh(x / c)`. Default: logits are not changed. */
  readonly logitSoftcap?: number | null;
}

/** The parts of a decoder, whatever their places in its tree. */
export interface DecoderParts {
  /** The embedding, `[vocabulary, hidden]`. */
  readonly embeddings: Embedding;
  /** The layers in order. */
  readonly layers: ModuleList<DecoderLayer>;
  /** The norm after the last layer. */
  readonly norm: Norm;
  /** The head: `[rows, hidden]` to `[rows, vocabulary]`. */
  readonly head: Module & { forward(hidden: Tensor): Tensor };
}

const LONGEST = "longest_sequence";

/** A decoder whose page says where its parts are. */
export abstract class Decoder extends CausalLm {
  readonly #form: DecoderForm;
  readonly #ropes: readonly RotaryEmbedding[];
  readonly #cachedTexts: CachedTexts;

  /** Sets the configuration. */
  constructor(override readonly config: ModelConfig, form: DecoderForm) {
    super();
    this.#form = form;
    this.#ropes = (form.ropes ?? []).map((rope) => new RotaryEmbedding(rope));
    this.#cachedTexts = new CachedTexts(
      form.recomputesCache ? form.ropes ?? [] : [],
    );
  }

  /** The parts, whatever their places in the tree. */
  protected abstract parts(): DecoderParts;

  /** The layers in order. */
  override get decoderLayers(): readonly DecoderLayer[] {
    return this.parts().layers.items;
  }

  /** The layer that embeds tokens. */
  override inputEmbeddings(): Embedding {
    return this.parts().embeddings;
  }

  /** The batch context, with the rotations of its positions. */
  override context(
    geometry: Geometry,
    options: Omit<BatchContextOptions, "device" | "ropes"> = {},
  ): BatchContext {
    const ropes = this.batchRopes(geometry, options);
    return super.context(geometry, { ...options, ropes });
  }

  /**
   * The rotations of a batch; overridden by families whose rotations depend on
   * more than positions.
   */
  protected batchRopes(
    _geometry: Geometry,
    _options: Pick<BatchContextOptions, "caches">,
  ): readonly RotaryEmbedding[] {
    return this.#ropes;
  }

  /** The longest sequence seen, when rotations depend on it. */
  override runState(): RunState {
    const dynamic = this.#dynamic();
    return dynamic === undefined ? {} : { [LONGEST]: dynamic.longest };
  }

  /**
   * Restores the longest sequence seen.
   *
   * @throws {InputError} when `state` has no valid length.
   */
  override restoreRunState(state: RunState | null): void {
    const dynamic = this.#dynamic();
    if (dynamic === undefined) return;
    const { maxPositions } = dynamic.parameters;
    const longest = state === null ? maxPositions : state[LONGEST];
    if (!Number.isInteger(longest) || longest! < 1 || longest! >= 2 ** 31) {
      throw new InputError(
        `Cannot resume: the checkpoint's "${LONGEST}" is ${
          longest ?? "missing"
        }, a number of tokens is needed`,
      );
    }
    dynamic.longest = longest!;
  }

  /** Not with rotations that depend on the length of a text. */
  override get continuesRowsTogether(): boolean {
    return !this.#ropes.some(({ parameters: { type } }) =>
      type === "dynamic" || type === "longrope"
    );
  }

  /** The rotary embedding that depends on the longest sequence seen. */
  #dynamic(): RotaryEmbedding | undefined {
    return this.#ropes.find(({ parameters: { type, keepsLongest = true } }) =>
      type === "dynamic" && keepsLongest
    );
  }

  /**
   * Hidden states before the head, `[rows·length, hidden]`, of ids `[rows,
   * length]`. Where the ids in the caches are rotated in another way now, they are
   * computed again.
   */
  override hidden(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const { caches = [] } = options;
    const texts = this.#cachedTexts.grownWith(ids, caches[0]);
    if (texts === null) return super.hidden(ids, options);
    for (const cache of caches) cache[Symbol.dispose]();
    const whole = tensor(texts, { dtype: "int64", device: ids.device });
    const [rows = 0, length = 0] = whole.shape;
    const [, own = 0] = ids.shape;
    const hidden = aten.view(super.hidden(whole, options), [rows, length, -1]);
    const last = aten.slice(hidden, 1, length - own, length);
    return aten.reshape(last, [rows * own, -1]);
  }

  /** Ids `[tokens]` to hidden states `[tokens, hidden]`. */
  override embed(ids: Tensor): Tensor {
    const { embeddingScale = 1, roundsEmbeddingScale, embeddingDropout = 0 } =
      this.#form;
    const plain = this.parts().embeddings.forward(ids);
    const factor = roundsEmbeddingScale
      ? rounded(embeddingScale, plain)
      : embeddingScale;
    const embedded = scaled(plain, factor);
    if (!this.training || embeddingDropout === 0) return embedded;
    const { kept, scale } = dropout(embedded, embeddingDropout);
    return scaled(kept, scale);
  }

  /** Hidden states `[rows, hidden]` to logits `[rows, vocabulary]`, after the last norm. */
  override head(hidden: Tensor): Tensor {
    const { headScale = 1, logitScale = 1, logitSoftcap } = this.#form;
    const { norm, head } = this.parts();
    const normed = scaled(norm.forward(hidden), headScale);
    const logits = scaled(head.forward(normed), logitScale);
    if (!logitSoftcap) return logits;
    return scaled(aten.tanh(scaled(logits, 1 / logitSoftcap)), logitSoftcap);
  }

  /** Frees the tables of rotations and the weights, and unmaps their files. */
  override [Symbol.dispose](): void {
    for (const rope of this.#ropes) rope[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

/** `input` times `factor`; only the product is rounded to the type of `input`. */
function scaled(input: Tensor, factor: number): Tensor {
  if (factor === 1) return input;
  // On a CUDA device, a factor that lies there would be rounded first.
  return aten.mul(input, tensor(factor));
}

/** `factor`, rounded to the type of `input`. */
function rounded(factor: number, input: Tensor): number {
  return aten.toDtype(tensor(factor), input.dtype).item();
}

/** Makes norms over the hidden states, a new one at each call. */
export function rmsNorms(
  config: Pick<ModelConfig, "hiddenSize"> & { readonly normEps: number },
): () => RmsNorm {
  return () => new RmsNorm(config.hiddenSize, config.normEps);
}

/** The parts that a family's page makes for a {@linkcode NamedDecoder}. */
export interface NamedDecoderOptions extends DecoderForm {
  /** Makes the layer with this index. */
  readonly layer: (index: number) => DecoderLayer;
  /** Makes the norm after the last layer. */
  readonly norm: () => Norm;
}

/** The decoder without its head, with the names that most families use. */
export class DecoderBody extends Module {
  /** The embedding, `[vocabulary, hidden]`. */
  embed_tokens: Embedding;
  /** The decoder layers in order. */
  layers: ModuleList<DecoderLayer>;
  /** The norm after the last layer. */
  norm: Norm;

  /** Makes the decoder without weights. */
  constructor(config: ModelConfig, options: NamedDecoderOptions) {
    super();
    this.embed_tokens = new Embedding(config.vocabSize, config.hiddenSize);
    this.layers = layerList(config, options.layer);
    this.norm = options.norm();
  }
}

/** `config.layers` layers. */
export function layerList<T extends DecoderLayer>(
  config: ModelConfig,
  layer: (index: number) => T,
): ModuleList<T> {
  return new ModuleList(
    Array.from({ length: config.layers }, (_, index) => layer(index)),
  );
}

/**
 * A decoder with the names that most families use: `model.embed_tokens`,
 * `model.layers`, `model.norm` and `lm_head`.
 */
export class NamedDecoder extends Decoder {
  /** The path of the head in the tree. */
  override readonly outputEmbeddingsPath = "lm_head";
  /** The decoder without its head. */
  model: DecoderBody;
  /** The head: `[rows, hidden]` to `[rows, vocabulary]`. */
  lm_head: Projection;

  /** Makes the tree without weights, which is enough to get names and shapes. */
  constructor(config: ModelConfig, options: NamedDecoderOptions) {
    super(config, options);
    this.model = new DecoderBody(config, options);
    this.lm_head = new Linear({
      inFeatures: config.hiddenSize,
      outFeatures: config.vocabSize,
    });
  }

  /** The parts under their usual names. */
  protected override parts(): DecoderParts {
    const { embed_tokens, layers, norm } = this.model;
    return { embeddings: embed_tokens, layers, norm, head: this.lm_head };
  }
}

/**
 * A branch of a layer, such as attention or an MLP; its output is added to the
 * residual.
 */
export type Branch = Module & {
  /** `residual + branch(input)`, or the branch alone; all `[tokens, hidden]`. */
  forward(
    input: Tensor,
    residual: Tensor | null,
    place: AttentionPlace,
  ): Tensor;
};

/** How the output of a branch is added to the residual. */
export interface ResidualForm {
  /** The factor of the branch. Default 1. */
  readonly scale?: number;
  /** Share of the branch's output that dropout sets to zero in training. Default 0. */
  readonly dropout?: number;
}

/** `residual + scale · dropout(branch)`; dropout only where `training`. */
export function addBranch(
  residual: Tensor,
  branch: Tensor,
  form: ResidualForm & { readonly training: boolean },
): Tensor {
  const { scale = 1, dropout: p = 0, training } = form;
  if (!training || p === 0) return residual.add(branch, scale);
  const dropped = dropout(branch, p);
  return residual.add(dropped.kept, scale * dropped.scale);
}

/** The parts of a {@linkcode PreNormLayer}. */
export interface PreNormOptions {
  /** The first branch. */
  readonly attention: Branch;
  /** The second branch. */
  readonly mlp: Branch;
  /** Makes the norm before a branch. */
  readonly norm: () => Norm;
  /** How the branches are added, when it is not a plain sum. */
  readonly residual?: ResidualForm;
}

/** A layer of attention and MLP, each after a norm: `x + attn(norm(x))`, `x + mlp(norm(x))`. */
export class PreNormLayer extends DecoderLayer {
  /** The attention. */
  self_attn: Branch;
  /** The MLP. */
  mlp: Branch;
  /** The norm before the attention. */
  input_layernorm: Norm;
  /** The norm before the MLP. */
  post_attention_layernorm: Norm;
  readonly #residual: ResidualForm | undefined;

  /** Makes the layer without weights. */
  constructor(options: PreNormOptions) {
    super();
    this.self_attn = options.attention;
    this.mlp = options.mlp;
    this.input_layernorm = options.norm();
    this.post_attention_layernorm = options.norm();
    this.#residual = options.residual;
  }

  /** Hidden states `[tokens, hidden]` to the same shape; `cache` grows when given. */
  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const place = { context, cache };
    const normed = this.input_layernorm.forward(hidden);
    const attended = this.#add(hidden, this.self_attn, { normed, place });
    const again = this.post_attention_layernorm.forward(attended);
    return this.#add(attended, this.mlp, { normed: again, place });
  }

  #add(
    residual: Tensor,
    branch: Branch,
    input: { readonly normed: Tensor; readonly place: AttentionPlace },
  ): Tensor {
    const { normed, place } = input;
    const form = this.#residual;
    return form === undefined
      ? branch.forward(normed, residual, place)
      : addBranch(residual, branch.forward(normed, null, place), {
        ...form,
        training: this.training,
      });
  }
}
