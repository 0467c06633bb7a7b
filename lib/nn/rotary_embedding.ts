/**
 * Rotary position embedding (Su et al., arXiv:2104.09864) with the scalings of
 * `transformers.modeling_rope_utils`. The tables of angles are computed in
 * TypeScript; the rotation is one complex product: `(x₁ + i x₂)(cos + i sin)`.
 *
 * @module
 */

import {
  asType,
  aten,
  DetachedScope,
  type Device,
  deviceName,
  fromData,
  recordingTape,
  type Tensor,
  to,
} from "../tensor/mod.ts";
import {
  inverseFrequencies,
  type RopeParameters,
  rotationScale,
} from "./rope_scaling.ts";

/** Rotates queries and keys by their positions. */
export class RotaryEmbedding implements Disposable {
  #table: { key: string; end: number; pairs: Tensor } | null = null;
  /**
   * The sequence length that `dynamic` frequencies are computed for. Like
   * transformers, it keeps the longest length seen until a sequence fits the
   * original length again; so a checkpoint has to save it.
   */
  longest: number;

  /** Makes the rotary embedding that `parameters` describe. */
  constructor(readonly parameters: RopeParameters) {
    this.longest = parameters.maxPositions;
  }

  /**
   * `cos + i sin` of `positions`: complex `[positions, 1, headSize/2]`. One table
   * of all positions is kept; it grows by doubling.
   */
  table(positions: Int32Array, device: Device): Tensor {
    const [start = 0] = positions;
    const follow = positions.every((each, at) => each === start + at);
    const end = follow
      ? start + positions.length
      : 1 + positions.reduce((last, each) => Math.max(last, each), 0);
    const pairs = this.#upTo(end, device);
    if (follow) return aten.slice(pairs, 0, start, end);
    const index = fromData({
      dtype: "int32",
      shape: [positions.length],
      bytes: new Uint8Array(Int32Array.from(positions).buffer),
    });
    return aten.indexSelect(pairs, 0, to(index, { device }));
  }

  /** A table for at least `end` positions. */
  #upTo(end: number, device: Device): Tensor {
    const basis = this.#basis(end);
    const key = `${deviceName(device)} ${basis}`;
    const known = this.#table?.key === key ? this.#table : null;
    if (known !== null && known.end >= end) return known.pairs;
    const grown = Math.max(end, 2 * (known?.end ?? 0));
    this[Symbol.dispose]();
    const pairs = this.#make(grown, { device, basis });
    this.#table = { key, end: grown, pairs };
    return pairs;
  }

  /**
   * The length to compute frequencies for; updates {@linkcode longest} as
   * transformers does.
   */
  #basis(end: number): number {
    const { type, maxPositions, originalMaxPositions, keepsLongest } =
      this.parameters;
    if (type === "longrope") {
      const original = originalMaxPositions ?? maxPositions;
      return end > original ? original + 1 : 0;
    }
    if (type !== "dynamic") return 0;
    if (!(keepsLongest ?? true)) return Math.max(end, maxPositions);
    const before = this.longest;
    if (end > before) this.longest = end;
    if (end < maxPositions && before > maxPositions) {
      this.longest = maxPositions;
    }
    return this.longest;
  }

  #make(length: number, options: { device: Device; basis: number }): Tensor {
    const { device, basis } = options;
    const frequencies = inverseFrequencies(this.parameters, basis);
    const scale = rotationScale(this.parameters);
    const half = frequencies.length;
    const parts = new Float32Array(2 * length * half);
    for (let row = 0; row < length; row++) {
      for (let column = 0; column < half; column++) {
        const angle = Math.fround(row * frequencies[column]!);
        const at = 2 * (row * half + column);
        parts[at] = Math.cos(angle) * scale;
        parts[at + 1] = Math.sin(angle) * scale;
      }
    }
    using scope = new DetachedScope();
    const pairs = fromData({
      dtype: "float32",
      shape: [length, 1, half, 2],
      bytes: new Uint8Array(parts.buffer),
    });
    return scope.keep(aten.viewAsComplex(to(pairs, { device })));
  }

  /** Frees the table. */
  [Symbol.dispose](): void {
    this.#table?.pairs[Symbol.dispose]();
    this.#table = null;
  }
}

/**
 * Which elements of a head are rotated together: each element of the first half
 * with its counterpart in the second half, or each even element with the next.
 */
export type Pairing = "halves" | "neighbours";

/** Options of {@linkcode rotate}. */
export interface RotateOptions {
  /**
   * `cos + i sin` from {@linkcode RotaryEmbedding.table}, `[length, 1, size/2]`, or
   * with rows in front; half as wide as the part that is rotated.
   */
  readonly table: Tensor;
  /** How the projection is split into heads. */
  readonly shape: HeadShape;
  /** Which elements are rotated together. Default `"halves"`. */
  readonly pairing?: Pairing;
  /** Whether the two halves are put back in their order. Default no. */
  readonly keepsOrder?: boolean;
}

/**
 * Rotates each head of `projected`, `[rows·length, heads·headSize]`, by its
 * position: `[rows, length, heads, headSize]`. Where the table is narrower than
 * the heads, only the first part of each head is rotated. Without `keepsOrder`
 * the two halves come out interleaved, which changes no product of a query and a
 * key, because both are interleaved.
 */
export function rotate(projected: Tensor, options: RotateOptions): Tensor {
  const { rows, length, heads, headSize } = options.shape;
  const size = 2 * options.table.shape.at(-1)!;
  if (size === headSize) return turn(projected, options);
  const whole = aten.view(projected, [rows, length, heads, headSize]);
  const first = turn(aten.slice(whole, 3, 0, size), {
    ...options,
    shape: { ...options.shape, headSize: size },
  });
  return aten.cat([first, aten.slice(whole, 3, size, headSize)], 3);
}

/** Rotates whole heads; the gradient is rotated back. */
function turn(heads: Tensor, options: RotateOptions): Tensor {
  const tape = recordingTape([heads]);
  if (tape === null) return turned(heads, options);
  const { shape } = heads;
  return tape.record([heads], () => ({
    output: turned(heads, options),
    pull: (gradient) => [
      aten.reshape(turnedBack(gradient, options), [...shape]),
    ],
  }));
}

/** The gradient of {@linkcode turned}: a rotation by the opposite angles. */
function turnedBack(gradient: Tensor, options: RotateOptions): Tensor {
  const { rows, length, heads: count, headSize } = options.shape;
  const outer = [rows, length, count];
  const neighbours = options.pairing === "neighbours";
  const paired = neighbours || !options.keepsOrder
    ? aten.reshape(gradient, [...outer, headSize / 2, 2])
    : aten.transpose(
      aten.reshape(gradient, [...outer, 2, headSize / 2]),
      3,
      4,
    );
  const wide = aten.toDtype(paired, "float32");
  const pairs = aten.viewAsComplex(aten.contiguous(wide));
  const back = aten.viewAsReal(
    aten.mul(pairs, aten.conjPhysical(options.table)),
  );
  const ordered = neighbours ? back : aten.transpose(back, 3, 4);
  return aten.toDtype(
    aten.reshape(ordered, [...outer, headSize]),
    gradient.dtype,
  );
}

/** The rotation: one complex product. */
function turned(heads: Tensor, options: RotateOptions): Tensor {
  const { rows, length, heads: count, headSize } = options.shape;
  const outer = [rows, length, count];
  const neighbours = options.pairing === "neighbours";
  const paired = neighbours
    ? aten.view(heads, [...outer, headSize / 2, 2])
    : aten.transpose(aten.view(heads, [...outer, 2, headSize / 2]), 3, 4);
  // Complex numbers exist in float32 only; half precision is converted.
  const wide = asType(paired, "float32");
  const pairs = aten.viewAsComplex(aten.contiguous(wide));
  const product = aten.viewAsReal(aten.mul(pairs, options.table));
  const merged = options.keepsOrder && !neighbours
    ? aten.reshape(aten.transpose(product, 3, 4), [...outer, headSize])
    : aten.view(product, [...outer, headSize]);
  return asType(merged, heads.dtype);
}

/** How a projection is split into rows and heads. */
export interface HeadShape {
  /** Number of rows that attention computes. */
  readonly rows: number;
  /** Number of tokens in each row. */
  readonly length: number;
  /** Number of heads in the projection. */
  readonly heads: number;
  /** Width of one head. */
  readonly headSize: number;
}
