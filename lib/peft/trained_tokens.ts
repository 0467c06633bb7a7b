/**
 * `trainable_token_indices`: the rows of some tokens are trained, in the embedding and,
 * where it is tied to it, in the head. The others stay as they are.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { InputError, quoted } from "../input_error.ts";
import { Embedding, Linear, Module, Projection } from "../nn/mod.ts";
import {
  aten,
  DetachedScope,
  type Tensor,
  tensor,
  to,
  zeros,
} from "../tensor/mod.ts";
import type {
  AdapterKind,
  AdapterLayer,
  AdapterParameter,
  AdapterPlace,
  WeightMerge,
} from "./adapter_kinds.ts";
import type { LoraConfig } from "./lora_config.ts";
import { embeddingPath } from "./saved_modules.ts";

/** Trained tokens as a kind of adapter: wraps embedding and head. */
export const TRAINED_TOKENS: AdapterKind = {
  name: "trained tokens",
  attach(place): AdapterLayer | null {
    const indices = tokensAt(place);
    if (indices === null) return null;
    const { path, module } = place;
    const isPlain = module instanceof Embedding || module instanceof Linear;
    if (!isPlain || "base_layer" in module) {
      throw new InputError(
        `Cannot train tokens of ${quoted(path)}: ${
          "base_layer" in module
            ? "LoRA adapts it too, name it in either target_modules or trainable_token_indices"
            : "it is neither an embedding nor a linear layer"
        }`,
      );
    }
    const tokens = rowsAt(place, indices);
    const layer = module instanceof Embedding
      ? new TokenEmbedding(module, tokens.rows)
      : new TokenHead(module, tokens);
    place.replace(layer);
    return layer;
  },
};

/** Lists of tokens by the ends of paths, as in `trainable_token_indices`. */
function tokenLists(
  base: CausalLm,
  config: LoraConfig,
): readonly [string, readonly number[]][] {
  const { trainable_token_indices: given } = config;
  if (given === null) return [];
  if (typeof given === "number") return [[embeddingPath(base), [given]]];
  return Array.isArray(given)
    ? [[embeddingPath(base), given]]
    : Object.entries(given);
}

/** The tokens that are trained at `place`, or `null`. */
function tokensAt(
  { base, path, config }: AdapterPlace,
): readonly number[] | null {
  const lists = tokenLists(base, config);
  const own = lists.find(([name]) => path.endsWith(name));
  if (own !== undefined) return own[1];
  // A tied head follows the embedding.
  const isTied = base.config.tieWordEmbeddings &&
    path === base.outputEmbeddingsPath;
  const embedding = embeddingPath(base);
  return isTied
    ? lists.find(([name]) => embedding.endsWith(name))?.[1] ?? null
    : null;
}

/** Paths of the modules whose tokens are trained. */
export function tokenModules(base: CausalLm, config: LoraConfig): string[] {
  const names = tokenLists(base, config).map(([name]) => name);
  return Array.from(base.namedModules(), ([path]) => path)
    .filter((path) => names.some((name) => path.endsWith(name)));
}

/**
 * Checks `trainable_token_indices` against the modules and tokens of `base`.
 *
 * @throws {InputError} naming those that it does not have.
 */
export function checkTrainedTokens(base: CausalLm, config: LoraConfig): void {
  const paths = Array.from(base.namedModules(), ([path]) => path);
  const { vocabSize } = base.config;
  const problems = tokenLists(base, config).flatMap(([name, tokens]) => {
    const wrong = tokens.filter((token) => !(token >= 0 && token < vocabSize));
    const repeated = tokens.filter((token, at) => tokens.indexOf(token) !== at);
    return [
      ...(paths.some((path) => path.endsWith(name))
        ? []
        : [`the model has no module ${quoted(name)}`]),
      ...(wrong.length > 0
        ? [
          `the model has tokens 0 to ${vocabSize - 1}, not ${wrong.join(", ")}`,
        ]
        : []),
      ...(repeated.length > 0 ? [`${repeated.join(", ")} is named twice`] : []),
      ...(tokens.length === 0 ? [`${quoted(name)} has no tokens`] : []),
    ];
  });
  if (problems.length === 0) return;
  throw new InputError(
    `Cannot train trainable_token_indices: ${problems.join("; ")}`,
  );
}

/** The rows that are trained at `path`; a tied head shares those of the embedding. */
function rowsAt(
  { base, path }: AdapterPlace,
  indices: readonly number[],
): { readonly rows: TokenRows; readonly isShared: boolean } {
  const embedding = base.inputEmbeddings();
  const isTied = base.config.tieWordEmbeddings &&
    path === base.outputEmbeddingsPath && embedding instanceof TokenEmbedding;
  if (isTied && embedding.token_adapter.indices.join() === indices.join()) {
    return { rows: embedding.token_adapter, isShared: true };
  }
  return { rows: new TokenRows(indices), isShared: false };
}

/** The trained rows of some tokens, which embedding and head may share. */
class TokenRows extends Module {
  /** `[tokens, size]`, float32. */
  declare trainable_tokens_delta: Tensor;
  #index: Tensor | null = null;

  /** Says which tokens they are. */
  constructor(readonly indices: readonly number[]) {
    super();
  }

  /** The rows in the type of `other`. */
  like(other: Tensor): Tensor {
    return aten.toDtype(this.trainable_tokens_delta, other.dtype);
  }

  /** The tokens, `int64` `[tokens]`, on the device of `other`. */
  index({ device }: Tensor): Tensor {
    if (this.#index === null) {
      using scope = new DetachedScope();
      const made = tensor([...this.indices], { dtype: "int64", device });
      this.#index = scope.keep(made);
    }
    return this.#index;
  }

  /** Under peft's name, for rows of `size` numbers. */
  parameters(size: number): readonly AdapterParameter[] {
    return [{
      name: "token_adapter.trainable_tokens_delta",
      owner: this,
      field: "trainable_tokens_delta",
      shape: [this.indices.length, size],
    }];
  }

  /** Starts from the rows of `weight`. */
  initialize(weight: Tensor): void {
    using scope = new DetachedScope();
    const rows = aten.indexSelect(weight, 0, this.index(weight));
    // A copy, also where the type is the same.
    this.trainable_tokens_delta = scope.keep(to(rows, { dtype: "float32" }));
  }

  /** The rows in their places. */
  merges(): readonly WeightMerge[] {
    return [{
      name: "weight",
      merged: (weight) =>
        aten.indexCopy(
          weight,
          0,
          this.index(weight),
          this.trainable_tokens_delta,
        ),
    }];
  }

  /** Frees the rows. */
  [Symbol.dispose](): void {
    this.#index?.[Symbol.dispose]();
    this.trainable_tokens_delta?.[Symbol.dispose]();
  }
}

/** An embedding of which some rows are trained. */
class TokenEmbedding extends Embedding implements AdapterLayer {
  /** The trained rows. */
  readonly token_adapter: TokenRows;
  /** The frozen embedding. */
  readonly base_layer: Embedding;
  #places: Tensor | null = null;

  /** Wraps `base`; the rows are set later. */
  constructor(base: Embedding, rows: TokenRows) {
    super(base.count, base.size);
    this.base_layer = base;
    this.token_adapter = rows;
  }

  /** The wrapped embedding has its own weight only. */
  override parameterSpecs(): [] {
    return [];
  }

  /** For each token its place among the trained rows; for others one past the last. */
  #placesOf({ device }: Tensor): Tensor {
    if (this.#places === null) {
      const { indices } = this.token_adapter;
      const places = new Array<number>(this.count).fill(indices.length);
      indices.forEach((token, place) => places[token] = place);
      using scope = new DetachedScope();
      this.#places = scope.keep(tensor(places, { dtype: "int64", device }));
    }
    return this.#places;
  }

  /** Rows for `ids` `[tokens]`, `[tokens, size]`. */
  override forward(ids: Tensor): Tensor {
    const { token_adapter: rows, size } = this;
    const { device } = ids;
    const plain = this.base_layer.forward(ids);
    const places = aten.indexSelect(this.#placesOf(ids), 0, ids);
    const own = rows.like(plain);
    const none = zeros([1, size], { device, dtype: plain.dtype });
    const trained = aten.embedding(aten.cat([own, none], 0), places);
    const end = tensor(rows.indices.length, { dtype: "int64", device });
    return aten.where(
      aten.unsqueeze(aten.lt(places, end), 1),
      trained,
      plain,
    );
  }

  /** The rows. */
  trainedParameters(): readonly AdapterParameter[] {
    return this.token_adapter.parameters(this.size);
  }

  /** The embedding's rows. */
  initialize(): void {
    this.token_adapter.initialize(this.base_layer.weight);
  }

  /** Puts the layer around the wrapped one. */
  attach(place: AdapterPlace): void {
    place.replace(this);
  }

  /** Puts the wrapped embedding back into its place. */
  detach(place: AdapterPlace): void {
    place.replace(this.base_layer);
  }

  /** The rows in their places. */
  merges(): readonly WeightMerge[] {
    return this.token_adapter.merges();
  }

  /** Frees the rows. */
  [Symbol.dispose](): void {
    this.#places?.[Symbol.dispose]();
    this.token_adapter[Symbol.dispose]();
  }
}

/** A linear layer of which some rows are trained: the outputs of some tokens. */
class TokenHead extends Projection implements AdapterLayer {
  /** Width of the input. */
  override readonly inFeatures: number;
  /** Width of the output. */
  override readonly outFeatures: number;
  /** The frozen layer. */
  readonly base_layer: Linear;
  /** The trained rows; `null` where they are the embedding's. */
  readonly token_adapter: TokenRows | null;
  readonly #rows: TokenRows;
  readonly #isShared: boolean;

  /** Wraps `base`; shared rows belong to the embedding. */
  constructor(
    base: Linear,
    { rows, isShared }: { rows: TokenRows; isShared: boolean },
  ) {
    super();
    this.base_layer = base;
    this.inFeatures = base.inFeatures;
    this.outFeatures = base.outFeatures;
    this.token_adapter = isShared ? null : rows;
    this.#rows = rows;
    this.#isShared = isShared;
  }

  /** `[rows, in]` to `[rows, out]`, with `residual` added when given. */
  override forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const { bias } = this.base_layer;
    const index = this.#rows.index(input);
    const own = aten.linear(
      input,
      this.#rows.like(input),
      bias === undefined ? null : aten.indexSelect(bias, 0, index),
    );
    const all = aten.indexCopy(
      this.base_layer.forward(input),
      1,
      index,
      own,
    );
    return residual === null ? all : residual.add(all);
  }

  /** The rows, unless they are the embedding's. */
  trainedParameters(): readonly AdapterParameter[] {
    return this.#isShared ? [] : this.#rows.parameters(this.inFeatures);
  }

  /** The layer's rows. */
  initialize(): void {
    if (!this.#isShared) this.#rows.initialize(this.base_layer.weight);
  }

  /** Puts the layer around the wrapped one. */
  attach(place: AdapterPlace): void {
    place.replace(this);
  }

  /** Puts the wrapped layer back into its place. */
  detach(place: AdapterPlace): void {
    place.replace(this.base_layer);
  }

  /** The rows in their places. */
  merges(): readonly WeightMerge[] {
    return this.#rows.merges();
  }

  /** Frees the rows, unless they are the embedding's. */
  [Symbol.dispose](): void {
    if (!this.#isShared) this.#rows[Symbol.dispose]();
  }
}
