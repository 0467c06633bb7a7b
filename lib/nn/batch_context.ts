/**
 * What layers need to know of a batch, made once and passed to all of them: the
 * positions of its tokens, which tokens see each other, and the caches of a
 * generation.
 *
 * @module
 */

import type { Geometry, Segment } from "../data/batch.ts";
import type { DType } from "../formats/dtype.ts";
import {
  assertMappedFilesUnchanged,
  aten,
  currentScope,
  DetachedScope,
  type Device,
  fromData,
  full,
  type Tensor,
  tensor,
  to,
} from "../tensor/mod.ts";
import type { KeyValueCache } from "./key_value_cache.ts";
import type { RotaryEmbedding } from "./rotary_embedding.ts";
import type { SequenceStarts } from "./attention_kernels.ts";
import { type AttentionCall, attentionCalls } from "./segment_attention.ts";

/** Added to the scores of keys that are not seen. */
const HIDDEN = -1e30;

/** Options of a {@linkcode BatchContext}. */
export interface BatchContextOptions {
  /** The device on which the batch is computed. */
  readonly device: Device;
  /** One cache per layer, for generation; the tokens follow those that the caches hold. */
  readonly caches?: readonly KeyValueCache[] | undefined;
  /** The model's rotary embeddings; most models have one. */
  readonly ropes?: readonly RotaryEmbedding[];
}

/** What limits which tokens are visible, in addition to the order of the batch. */
export interface Visibility {
  /** A token sees this many positions, its own included. Default all. */
  readonly window?: number | null | undefined;
  /**
   * Per head: how much a score is lowered for each position of distance (Press
   * et al., arXiv:2108.12409).
   */
  readonly slopes?: readonly number[] | undefined;
}

/**
 * The geometry of a batch, as layers ask for it. Tensors are made at the first
 * request, and belong to the scope that was open when the context was made.
 *
 * Rows of one length are computed as a rectangle `[rows, length]`, in which each
 * token sees the tokens of its row up to itself. Every other geometry is computed
 * as one row of all tokens with a mask.
 */
export class BatchContext {
  /** The device on which the batch is computed. */
  readonly device: Device;
  /** One cache per layer, for generation. */
  readonly caches: readonly KeyValueCache[] | undefined;
  /** Number of rows that attention computes. */
  readonly rows: number;
  /** Number of tokens in each of those rows. */
  readonly length: number;
  /** Whether each row is one sequence, without padding in front. */
  readonly isRectangle: boolean;
  /** Positions of the tokens of one row, the same in all rows: `[length]`. */
  readonly rowPositions: Int32Array;
  /** Number of keys in the cache, whose positions come before those of the tokens. */
  readonly cached: number;
  /** For each row, how many of the cache's places in front are unused, or `null`. */
  readonly #skipped: readonly number[] | null;
  /**
   * For each rotary embedding of the model, the rotations of a row's positions:
   * complex `[length, 1, size/2]`; `[rows, length, 1, size/2]` where rows differ.
   */
  readonly rotations: readonly Tensor[];
  readonly #ropes: readonly RotaryEmbedding[];
  readonly #scope = currentScope();
  readonly #made = new Map<string, Tensor>();
  #calls: readonly AttentionCall[] | null = null;
  #raggedCalls: readonly AttentionCall[] | null = null;

  /**
   * Makes the context of `geometry`.
   *
   * @throws {RangeError} when there are caches and the rows differ in length.
   * @throws {InputError} when another process has changed a file of weights.
   */
  constructor(readonly geometry: Geometry, options: BatchContextOptions) {
    assertMappedFilesUnchanged();
    const { positions, segments } = geometry;
    this.device = options.device;
    this.caches = options.caches;
    this.cached = options.caches?.[0]?.length ?? 0;
    this.isRectangle = isRectangle(geometry);
    this.rows = this.isRectangle ? segments.length : 1;
    this.length = positions.length / this.rows;
    this.rowPositions = positions.subarray(0, this.length);
    this.#skipped = options.caches?.[0]?.skipped ?? null;
    this.#ropes = options.ropes ?? [];
    this.rotations = this.#ropes.map((rope) => this.#rotations(rope));
    if (this.cached > 0 && !this.isRectangle) {
      throw new RangeError(
        "Cannot continue cached rows with a batch of segments: rows of one length are needed",
      );
    }
  }

  /** Whether rows differ in length, so that some have unused places in the cache. */
  get skipsPlaces(): boolean {
    return this.#skipped !== null;
  }

  #rotations(rope: RotaryEmbedding): Tensor {
    const { rows, length, device } = this;
    if (!this.skipsPlaces) return rope.table(this.rowPositions, device);
    const table = rope.table(this.#positions(), device);
    return aten.reshape(table, [rows, length, 1, -1]);
  }

  /** Positions of all tokens, without the places that their rows skip: `[tokens]`. */
  #positions(): Int32Array {
    const { geometry: { positions }, length } = this;
    return positions.map((each, at) =>
      each - (this.#skipped?.[Math.floor(at / length)] ?? 0)
    );
  }

  /** The position of every token in its row: `int32` of `[tokens]`. */
  positionIds(): Tensor {
    return this.#once("positions", () => {
      const positions = this.#positions();
      return fromData({
        dtype: "int32",
        shape: [positions.length],
        bytes: new Uint8Array(positions.buffer),
      });
    });
  }

  /**
   * The rotations of a whole text, its cached positions included: complex
   * `[cached + length, 1, size/2]`. `rope` is the index of the rotary embedding.
   *
   * @throws {RangeError} when rows differ in length.
   */
  wholeRotations(rope: number): Tensor {
    if (this.skipsPlaces) {
      throw new RangeError(
        "Cannot rotate cached keys again: rows differ in length, one length is needed",
      );
    }
    const whole = new Int32Array(this.cached + this.length);
    for (let at = 0; at < this.cached; at++) whole[at] = at;
    whole.set(this.rowPositions, this.cached);
    return this.#ropes[rope]!.table(whole, this.device);
  }

  /** Whether `window` hides any token of this batch. */
  hides(window: number | null | undefined): window is number {
    return typeof window === "number" && this.#longestDistance() >= window;
  }

  /** The largest distance between two positions. */
  #longestDistance(): number {
    if (this.isRectangle) return this.cached + this.length - 1;
    return this.rowPositions.reduce((most, each) => Math.max(most, each), 0);
  }

  /**
   * True where a token of a row may see a key, `[length, cached + length]`; `[rows,
   * 1, length, cached + length]` where rows differ.
   */
  mask(window?: number | null): Tensor {
    const width = this.hides(window) ? window : null;
    return this.#once(`mask ${width}`, () => {
      const ordered = this.isRectangle
        ? this.#rectangleMask()
        : segmentMask(this.geometry.segments, this.length);
      if (width === null) return ordered;
      const far = tensor(width, { device: this.device });
      return aten.mul(
        to(ordered, { device: this.device }),
        aten.lt(this.#distances(), far),
      );
    });
  }

  #rectangleMask(): Tensor {
    const ordered = lateMask(this.length, this.cached, this.device);
    const skipped = this.#skipped;
    if (skipped === null) return ordered;
    const places = this.cached + this.length;
    const used = new Uint8Array(skipped.length * places);
    skipped.forEach((count, row) =>
      used.fill(1, row * places + count, (row + 1) * places)
    );
    const shape = [skipped.length, 1, 1, places];
    const rows = fromData({ dtype: "bool", shape, bytes: used });
    return aten.mul(ordered, to(rows, { device: this.device }));
  }

  /** Position of each token minus position of each key: `[length, cached + length]`. */
  #distances(): Tensor {
    return this.#once("distances", () => {
      const first = this.isRectangle ? this.cached : 0;
      const places = this.isRectangle
        ? Float32Array.from({ length: first + this.length }, (_, at) => at)
        : Float32Array.from(this.rowPositions);
      const keys = fromData({
        dtype: "float32",
        shape: [1, places.length],
        bytes: new Uint8Array(places.buffer),
      });
      const own = aten.t(aten.slice(keys, 1, first, places.length));
      return own.add(keys, -1);
    });
  }

  /**
   * What is added to the scores: 0 where a token may see a key, minus infinity
   * elsewhere. Of the mask's shape; with slopes `[heads, length, cached +
   * length]`, or `[rows, heads, length, cached + length]` where rows differ.
   */
  bias(dtype: DType, visibility: Visibility = {}): Tensor {
    const { slopes } = visibility;
    const window = this.hides(visibility.window) ? visibility.window : null;
    return this.#once(`bias ${dtype} ${window} ${slopes?.join()}`, () => {
      const shape = [this.length, this.cached + this.length];
      const hidden = full(shape, { value: -Infinity, device: this.device });
      const seen = slopes === undefined
        ? full(shape, { value: 0, device: this.device })
        : aten.mul(
          this.#distances(),
          tensor(slopes.map((slope) => [[-slope]]), { device: this.device }),
        );
      return aten.toDtype(aten.where(this.mask(window), seen, hidden), dtype);
    });
  }

  /**
   * The calls of a kernel that make up attention over the batch's segments; with
   * `isRagged` one call for all segments with themselves.
   */
  attentionCalls(isRagged = false): readonly AttentionCall[] {
    const make = (): readonly AttentionCall[] =>
      attentionCalls(this.geometry.segments, isRagged);
    return isRagged ? this.#raggedCalls ??= make() : this.#calls ??= make();
  }

  /** Where the sequences of `call` begin in its queries and keys. */
  callStarts({ queries, keys, lengths, rows }: AttentionCall): SequenceStarts {
    const of = ({ start, end }: AttentionCall["keys"]): readonly number[] =>
      lengths ?? Array(rows).fill((end - start) / rows);
    const startsOf = (all: readonly number[]): Tensor =>
      this.#once(`starts ${all.join()}`, () => {
        let end = 0;
        const starts = [0, ...all.map((length) => end += length)];
        return tensor(starts, { dtype: "int32" });
      });
    return {
      queries: startsOf(of(queries)),
      keys: startsOf(of(keys)),
      longestQueries: Math.max(...of(queries)),
      longestKeys: Math.max(...of(keys)),
    };
  }

  /**
   * What is added to the scores of `call`, or `null` where every key is seen, apart
   * from the order of a segment's own tokens: `[queries, keys]` of one row; with
   * slopes `[1, heads, queries, keys]`. Hidden keys have a number so low that
   * nothing is left of them; minus infinity would give NaN where a token sees no
   * key of a segment.
   */
  callBias(
    call: AttentionCall,
    options: Visibility & { readonly dtype: DType },
  ): Tensor | null {
    const { slopes, dtype } = options;
    const window = this.hides(options.window) ? options.window : null;
    if (slopes === undefined && window === null) return null;
    const name = `call ${call.queries.start} ${call.keys.start} ${call.isOwn}`;
    return this.#once(`${name} ${dtype} ${window} ${slopes?.join()}`, () => {
      const { device } = this;
      // [queries, keys]
      const distances = this.#callDistances(call);
      const seen = aten.mul(
        distances,
        tensor(slopes?.map((slope) => [[-slope]]) ?? 0, { device }),
      );
      const hidden = full([], { value: HIDDEN, device });
      const near = aten.lt(distances, tensor(window ?? Infinity, { device }));
      const late = aten.ge(distances, tensor(0, { device }));
      const bias = aten.where(aten.mul(near, late), seen, hidden);
      return aten.toDtype(
        slopes === undefined ? bias : aten.unsqueeze(bias, 0),
        dtype,
      );
    });
  }

  /** Position of each query minus position of each key, of the first row of `call`. */
  #callDistances({ queries, keys, rows }: AttentionCall): Tensor {
    const { positions } = this.geometry;
    const placesOf = ({ start, end }: AttentionCall["keys"]): Tensor => {
      const own = positions.subarray(start, start + (end - start) / rows);
      return fromData({
        dtype: "float32",
        shape: [1, own.length],
        bytes: new Uint8Array(Float32Array.from(own).buffer),
      });
    };
    const distances = aten.t(placesOf(queries)).add(placesOf(keys), -1);
    return to(distances, { device: this.device });
  }

  #once(name: string, make: () => Tensor): Tensor {
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    using scope = new DetachedScope();
    const made = scope.keep(to(make(), { device: this.device }));
    this.#scope?.add(made);
    this.#made.set(name, made);
    return made;
  }
}

/**
 * Whether every segment is a whole row, and all rows have the same length and
 * the same positions.
 */
function isRectangle({ positions, segments }: Geometry): boolean {
  const length = segments[0]?.length ?? 0;
  return segments.every((each, row) =>
    each.parent === null && each.length === length &&
    each.start === row * length
  ) && positions.every((position, at) => position === positions[at % length]);
}

/** True where a row's token may see a key; `cached` keys come before all tokens. */
function lateMask(length: number, cached: number, device: Device): Tensor {
  const ones = full([length, cached + length], { value: 1, device });
  return aten.toDtype(aten.tril(ones, cached), "bool");
}

/**
 * True where a token may see another: one of its segment up to itself, or any
 * of the segments above.
 */
function segmentMask(segments: readonly Segment[], tokens: number): Tensor {
  const seen = new Uint8Array(tokens * tokens);
  for (const segment of segments) {
    for (let at = 0; at < segment.length; at++) {
      const token = segment.start + at;
      const row = seen.subarray(token * tokens, (token + 1) * tokens);
      row.fill(1, segment.start, token + 1);
      for (let above = parentOf(segment, segments); above !== null;) {
        row.fill(1, above.start, above.start + above.length);
        above = parentOf(above, segments);
      }
    }
  }
  return fromData({ dtype: "bool", shape: [tokens, tokens], bytes: seen });
}

function parentOf(
  segment: Segment,
  segments: readonly Segment[],
): Segment | null {
  return segment.parent === null ? null : segments[segment.parent]!;
}
