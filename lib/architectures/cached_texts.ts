/**
 * The texts in key/value caches, for models that compute them again once a text is
 * longer than the original length, where "longrope" changes all rotations. In
 * transformers the generation of Phi-3 does so, that of other models does not.
 *
 * @module
 */

import type { KeyValueCache, RopeParameters } from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";

/** Remembers the ids in caches until a text is longer than the original length. */
export class CachedTexts {
  readonly #limit: number;
  /** The ids of each row, by the cache of the first layer. */
  readonly #texts = new WeakMap<KeyValueCache, number[][]>();

  /** For a model with these rotations. */
  constructor(ropes: readonly RopeParameters[]) {
    const lengths = ropes.filter(({ type }) => type === "longrope").map(
      ({ originalMaxPositions, maxPositions }) =>
        originalMaxPositions ?? maxPositions,
    );
    this.#limit = Math.min(...lengths);
  }

  /**
   * The texts that `ids`, `[rows, length]`, continue, when these ids make them
   * longer than the original length; otherwise `null`, and the cache can be used.
   */
  grownWith(ids: Tensor, cache: KeyValueCache | undefined): number[][] | null {
    if (cache === undefined || this.#limit === Infinity) return null;
    const { length: cached } = cache;
    if (cached > this.#limit) return null;
    const earlier = cached === 0 ? [] : this.#texts.get(cache);
    if (earlier === undefined) return null;
    const [rows = 0, length = 0] = ids.shape;
    const own = ids.toArray();
    const texts = Array.from({ length: rows }, (_, row) => [
      ...earlier[row] ?? [],
      ...own.subarray(row * length, (row + 1) * length),
    ]);
    this.#texts.set(cache, texts);
    return cached > 0 && cached + length > this.#limit ? texts : null;
  }
}
