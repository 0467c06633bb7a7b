/**
 * What layers need to know of a batch, made once and handed down to all of them:
 * where tokens stand, which of them see each other, and the caches of a generation.
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
  to,
} from "../tensor/mod.ts";
import type { KeyValueCache } from "./attention.ts";

/** Options of a {@linkcode BatchContext}. */
export interface BatchContextOptions {
  /** Where the batch is computed. */
  readonly device: Device;
  /** One cache per layer when generating; the tokens come after what they hold. */
  readonly caches?: readonly KeyValueCache[] | undefined;
}

/**
 * The geometry of a batch as layers ask for it. Tensors are made when first asked
 * for, and belong to the scope that was open when the context was made.
 *
 * Rows of one length are computed as a rectangle `[rows, length]`, in which each
 * token sees the tokens of its row up to itself. Every other geometry is computed
 * as one row of all tokens with a mask.
 */
export class BatchContext {
  /** Where the batch is computed. */
  readonly device: Device;
  /** One cache per layer when generating. */
  readonly caches: readonly KeyValueCache[] | undefined;
  /** Rows that attention computes. */
  readonly rows: number;
  /** Tokens of each of those rows. */
  readonly length: number;
  /** Whether each row is a sequence of its own, without padding in front. */
  readonly isRectangle: boolean;
  /** Positions of the tokens of one row, the same in all rows: `[length]`. */
  readonly rowPositions: Int32Array;
  /** Keys that a cache holds already; every token sees them. */
  readonly cached: number;
  readonly #scope = currentScope();
  readonly #made = new Map<string, Tensor>();

  /**
   * Takes over `geometry`.
   *
   * @throws {RangeError} when there are caches and the batch is no rectangle.
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
    if (this.cached > 0 && !this.isRectangle) {
      throw new RangeError(
        "Cannot continue cached rows with a batch of segments: rows of one length are needed",
      );
    }
  }

  /** The position of every token in its row: `int32` of `[tokens]`. */
  positionIds(): Tensor {
    const { positions } = this.geometry;
    return this.#once("positions", () =>
      fromData({
        dtype: "int32",
        shape: [positions.length],
        bytes: new Uint8Array(
          positions.buffer,
          positions.byteOffset,
          positions.byteLength,
        ),
      }));
  }

  /** True where a token of a row may see a key, `[length, cached + length]`. */
  mask(): Tensor {
    return this.#once(
      "mask",
      () =>
        this.isRectangle
          ? lateMask(this.length, this.cached, this.device)
          : segmentMask(this.geometry.segments, this.length),
    );
  }

  /** 0 where a token may see a key and minus infinity elsewhere, of the shape of the mask. */
  bias(dtype: DType): Tensor {
    return this.#once(`bias ${dtype}`, () => {
      const shape = [this.length, this.cached + this.length];
      const hidden = full(shape, { value: -Infinity, device: this.device });
      const seen = full(shape, { value: 0, device: this.device });
      return aten.toDtype(aten.where(this.mask(), seen, hidden), dtype);
    });
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

/** Whether all segments are whole rows of one length whose positions are the same. */
function isRectangle({ positions, segments }: Geometry): boolean {
  const length = segments[0]?.length ?? 0;
  return segments.every((each, row) =>
    each.parent === null && each.length === length &&
    each.start === row * length
  ) && positions.every((position, at) => position === positions[at % length]);
}

/** True where the token at a row may see a key, `cached` keys being before all tokens. */
function lateMask(length: number, cached: number, device: Device): Tensor {
  const ones = full([length, cached + length], { value: 1, device });
  return aten.toDtype(aten.tril(ones, cached), "bool");
}

/** True where a token may see another: those of its segment up to itself, and all above. */
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
