/**
 * Rotary position embedding (Su et al., arXiv:2104.09864) with the scalings of
 * `transformers.modeling_rope_utils`. Angles are tables made in TypeScript; the
 * rotation is one complex product: `(x₁ + i x₂)(cos + i sin)`.
 *
 * @module
 */

import {
  aten,
  DetachedScope,
  type Device,
  deviceName,
  fromData,
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
   * The length that `dynamic` frequencies are made for. transformers keeps the
   * longest length seen until a sequence fits the original length again, so it is
   * part of what a resumed run must know.
   */
  longest: number;

  /** Makes the rotation that `parameters` describe. */
  constructor(readonly parameters: RopeParameters) {
    this.longest = parameters.maxPositions;
  }

  /**
   * `cos + i sin` of `positions`: complex `[positions, 1, headSize/2]`. One table
   * of all positions is kept, and grows by doubling.
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

  /** A table of at least `end` positions. */
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

  /** The length to compute frequencies for, moving {@linkcode longest} as transformers does. */
  #basis(end: number): number {
    const { type, maxPositions, originalMaxPositions } = this.parameters;
    if (type === "longrope") {
      const original = originalMaxPositions ?? maxPositions;
      return end > original ? original + 1 : 0;
    }
    if (type !== "dynamic") return 0;
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
 * Rotates each head of `projected`, `[rows·length, heads·headSize]`, by its
 * position: `[rows, length, heads, headSize]`. The two halves of a head come out
 * interleaved; queries and keys do so alike, so that their products are the same.
 */
export function rotate(
  projected: Tensor,
  options: { readonly table: Tensor; readonly shape: HeadShape },
): Tensor {
  const { rows, length, heads, headSize } = options.shape;
  const halves = aten.view(
    projected,
    [rows, length, heads, 2, headSize / 2],
  );
  // Complex numbers exist in float32 only; half precision is widened here.
  const wide = aten.toDtype(aten.transpose(halves, 3, 4), "float32");
  const pairs = aten.viewAsComplex(aten.contiguous(wide));
  const turned = aten.viewAsReal(aten.mul(pairs, options.table));
  const merged = aten.view(turned, [rows, length, heads, headSize]);
  return aten.toDtype(merged, projected.dtype);
}

/** How a projection splits into rows and heads. */
export interface HeadShape {
  /** Rows that attention computes. */
  readonly rows: number;
  /** Tokens of each row. */
  readonly length: number;
  /** Heads of the projection. */
  readonly heads: number;
  /** Width of one head. */
  readonly headSize: number;
}
