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
  #reach: number;

  /** Makes the rotation that `parameters` describe. */
  constructor(readonly parameters: RopeParameters) {
    this.#reach = parameters.maxPositions;
  }

  /**
   * The length that `dynamic` frequencies are made for. transformers keeps the
   * longest length seen until a sequence fits the original length again, so it is
   * part of what a resumed run must know.
   */
  get reach(): number {
    return this.#reach;
  }

  set reach(value: number) {
    this.#reach = value;
  }

  /**
   * `cos + i sin` for positions `start … start+length-1`: complex
   * `[length, 1, headSize/2]`. One table is kept, and grows by doubling.
   */
  table(start: number, options: RotationOptions): Tensor {
    const { length, device } = options;
    const end = start + length;
    const basis = this.#basis(end);
    const key = `${deviceName(device)} ${basis}`;
    const known = this.#table?.key === key ? this.#table : null;
    if (known === null || known.end < end) {
      const reach = Math.max(end, 2 * (known?.end ?? 0));
      this[Symbol.dispose]();
      const pairs = this.#make(reach, { device, basis });
      this.#table = { key, end: reach, pairs };
    }
    return aten.slice(this.#table!.pairs, 0, start, end);
  }

  /** The length to compute frequencies for, moving {@linkcode reach} as transformers does. */
  #basis(end: number): number {
    const { type, maxPositions, originalMaxPositions } = this.parameters;
    if (type === "longrope") {
      const original = originalMaxPositions ?? maxPositions;
      return end > original ? original + 1 : 0;
    }
    if (type !== "dynamic") return 0;
    const before = this.#reach;
    if (end > before) this.#reach = end;
    if (end < maxPositions && before > maxPositions) this.#reach = maxPositions;
    return this.#reach;
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

/** Options of {@linkcode RotaryEmbedding.table}. */
export interface RotationOptions {
  /** How many positions. */
  readonly length: number;
  /** Where the table shall lie. */
  readonly device: Device;
}

/**
 * Rotates each head of `projected`, `[batch·length, heads·headSize]`, by its
 * position: `[batch, length, heads, headSize]`. The two halves of a head come out
 * interleaved; queries and keys do so alike, so that their products are the same.
 */
export function rotate(
  projected: Tensor,
  options: { readonly table: Tensor; readonly shape: HeadShape },
): Tensor {
  const { batch, length, heads, headSize } = options.shape;
  const halves = aten.view(
    projected,
    [batch, length, heads, 2, headSize / 2],
  );
  // Complex numbers exist in float32 only; half precision is widened here.
  const wide = aten.toDtype(aten.transpose(halves, 3, 4), "float32");
  const pairs = aten.viewAsComplex(aten.contiguous(wide));
  const turned = aten.viewAsReal(aten.mul(pairs, options.table));
  const merged = aten.view(turned, [batch, length, heads, headSize]);
  return aten.toDtype(merged, projected.dtype);
}

/** How rows of a projection split into heads. */
export interface HeadShape {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly headSize: number;
}
