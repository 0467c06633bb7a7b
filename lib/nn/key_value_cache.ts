/**
 * Keys and values of the positions seen so far, for generation. They are written
 * in place into memory that grows by doubling: a new token copies only its own.
 *
 * @module
 */

import {
  aten,
  DetachedScope,
  empty,
  type Tensor,
  tensorScope,
} from "../tensor/mod.ts";

/** Where tokens are written, and how many places there are. */
interface Buffers {
  /** `[rows, heads, capacity, headSize]` */
  readonly keys: Tensor;
  /** The same shape as the keys. */
  readonly values: Tensor;
  readonly capacity: number;
}

/** The fewest places that are made. */
const LEAST_CAPACITY = 32;

/** Keys and values of the positions seen so far, `[rows, heads, length, headSize]`. */
export class KeyValueCache implements Disposable {
  readonly #limit: number;
  #buffers: Buffers | null = null;
  #length = 0;
  #skipped: readonly number[] | null = null;

  /**
   * An empty cache. It never has more places than `limit`, where as many are
   * enough for what is appended.
   */
  constructor(limit: number = Infinity) {
    this.#limit = limit;
  }

  /**
   * Fills an empty cache with copies of caches of one row each. Rows end together:
   * shorter ones have unused places in front.
   */
  join(caches: readonly KeyValueCache[]): void {
    using _scope = tensorScope();
    const length = Math.max(...caches.map((each) => each.length));
    const first = caches[0]!.#buffers!;
    const made = this.#reserve(length, {
      like: first,
      rows: caches.length,
    });
    caches.forEach((each, row) => {
      const own = each.#buffers!;
      const start = length - each.length;
      for (const field of ["keys", "values"] as const) {
        const target = aten.slice(made[field], 0, row, row + 1);
        // nothing may be left of what lay here: 0 times NaN is NaN
        if (start > 0) aten.zero_(aten.slice(target, 2, 0, start));
        aten.copy_(
          aten.slice(target, 2, start, length),
          aten.slice(own[field], 2, 0, each.length),
        );
      }
    });
    this.#length = length;
    if (caches.some((each) => each.length < length)) {
      this.#skipped = caches.map((each) => length - each.length);
    }
  }

  /** How many positions it holds. */
  get length(): number {
    return this.#length;
  }

  /**
   * For each row, how many places in front are unused; `null` where rows have one
   * length.
   */
  get skipped(): readonly number[] | null {
    return this.#skipped;
  }

  /**
   * Appends keys and values of new positions, and returns those of all positions.
   * No gradient flows through those that the cache holds.
   */
  append(keys: Tensor, values: Tensor): { keys: Tensor; values: Tensor } {
    const [start, end] = [this.#length, this.#length + keys.shape[2]!];
    const { keys: allKeys, values: allValues } = this.#reserve(end, {
      like: { keys, values },
      rows: keys.shape[0]!,
    });
    aten.copy_(aten.slice(allKeys, 2, start, end), aten.detach(keys));
    aten.copy_(aten.slice(allValues, 2, start, end), aten.detach(values));
    this.#length = end;
    if (start === 0) return { keys, values };
    return {
      keys: aten.slice(allKeys, 2, 0, end),
      values: aten.slice(allValues, 2, 0, end),
    };
  }

  /** Buffers with at least `length` places; what is in them is kept. */
  #reserve(
    length: number,
    { like, rows }: {
      readonly like: { readonly keys: Tensor; readonly values: Tensor };
      readonly rows: number;
    },
  ): Buffers {
    const old = this.#buffers;
    if (old !== null && old.capacity >= length) return old;
    const doubled = Math.max(2 * length, LEAST_CAPACITY);
    const capacity = Math.max(Math.min(doubled, this.#limit), length);
    using scope = new DetachedScope();
    const grown = (field: "keys" | "values"): Tensor => {
      const { shape: [, heads = 0, , size = 0], dtype, device } = like[field];
      const made = scope.keep(
        empty([rows, heads, capacity, size], { dtype, device }),
      );
      if (old !== null) {
        aten.copy_(
          aten.slice(made, 2, 0, this.#length),
          aten.slice(old[field], 2, 0, this.#length),
        );
      }
      return made;
    };
    const buffers = { keys: grown("keys"), values: grown("values"), capacity };
    old?.keys[Symbol.dispose]();
    old?.values[Symbol.dispose]();
    return this.#buffers = buffers;
  }

  /** Frees keys and values. */
  [Symbol.dispose](): void {
    this.#buffers?.keys[Symbol.dispose]();
    this.#buffers?.values[Symbol.dispose]();
    this.#buffers = null;
    this.#length = 0;
    this.#skipped = null;
  }
}
