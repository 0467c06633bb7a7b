/**
 * Causal self-attention over heads, with keys and values shared between groups of
 * heads (Ainslie et al., arXiv:2305.13245), and the cache used when generating.
 *
 * @module
 */

import {
  aten,
  DetachedScope,
  fromData,
  full,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";

/** Keys and values of the positions seen so far, `[batch, heads, length, headSize]`. */
export class KeyValueCache implements Disposable {
  #keys: Tensor | null = null;
  #values: Tensor | null = null;

  /** Appends keys and values of new positions and gives all of them. */
  append(keys: Tensor, values: Tensor): { keys: Tensor; values: Tensor } {
    const all = this.#keys === null || this.#values === null
      ? { keys, values }
      : {
        keys: aten.cat([this.#keys, keys], 2),
        values: aten.cat([this.#values, values], 2),
      };
    this.#hold(all.keys, all.values);
    return all;
  }

  /** Copies belong to the cache alone, whatever scope the caller has open. */
  #hold(keys: Tensor, values: Tensor): void {
    using scope = new DetachedScope();
    const held = [
      scope.keep(aten.detach(keys)),
      scope.keep(aten.detach(values)),
    ];
    this[Symbol.dispose]();
    [this.#keys = null, this.#values = null] = held;
  }

  /** Frees keys and values. */
  [Symbol.dispose](): void {
    this.#keys?.[Symbol.dispose]();
    this.#values?.[Symbol.dispose]();
    this.#keys = this.#values = null;
  }
}

/**
 * `softmax(q kᵀ / √d) v` with a causal mask, all `[batch, heads, length, headSize]`.
 * Keys may have fewer heads, each serving a group of consecutive query heads. There
 * may be more keys than queries: the queries are the last positions then.
 */
export function causalAttention(
  query: Tensor,
  options: { readonly keys: Tensor; readonly values: Tensor },
): Tensor {
  const heads = query.shape[1]!;
  const keys = repeatHeads(options.keys, heads);
  const values = repeatHeads(options.values, heads);
  const [queries, seen] = [query.shape[2]!, keys.shape[2]!];
  if (queries === seen && isShort(query)) {
    return plainAttention(query, { keys, values });
  }
  // One query sees every key; the built-in mask counts queries from the first key.
  const mask = queries > 1 && seen > queries
    ? lateMask([queries, seen], query)
    : null;
  const causal = queries > 1 && mask === null;
  return aten.scaledDotProductAttention(query, keys, values, mask, 0, causal);
}

/** Longest sequence for which the plain formula is faster on a CPU than the fused kernel. */
const SHORT = 128;

function isShort(query: Tensor): boolean {
  return query.shape[2]! <= SHORT && query.device.type === "cpu" &&
    query.dtype === "float32";
}

/** The formula as it stands: the fused CPU kernel cuts short sequences into blocks too small. */
function plainAttention(
  query: Tensor,
  options: { readonly keys: Tensor; readonly values: Tensor },
): Tensor {
  const [, , length = 0, size = 0] = query.shape;
  const scaled = aten.mul(query, tensor(1 / Math.sqrt(size)));
  const scores = aten.matmul(scaled, aten.transpose(options.keys, 2, 3));
  const masked = scores.add(causalMask(length));
  return aten.matmul(aten.softmax(masked, -1), options.values);
}

/** 0 where a query may see a key, and minus infinity after it: `[length, length]`. */
function causalMask(length: number): Tensor {
  const values = new Float32Array(length * length);
  for (let row = 0; row < length; row++) {
    values.fill(-Infinity, row * length + row + 1, (row + 1) * length);
  }
  return fromData({
    dtype: "float32",
    shape: [length, length],
    bytes: new Uint8Array(values.buffer),
  });
}

/** True where the query at a row, one of the last positions, may see a key. */
function lateMask(
  shape: readonly [queries: number, keys: number],
  like: Tensor,
): Tensor {
  const ones = full(shape, { value: 1, device: like.device });
  return aten.toDtype(aten.tril(ones, shape[1] - shape[0]), "bool");
}

function repeatHeads(tensor: Tensor, heads: number): Tensor {
  const [batch = 0, own = 0, length = 0, size = 0] = tensor.shape;
  if (own === heads) return tensor;
  const wide = aten.expand(
    aten.unsqueeze(tensor, 2),
    [batch, own, heads / own, length, size],
  );
  return aten.reshape(wide, [batch, heads, length, size]);
}
