/**
 * Windows, soft caps, slopes and dropout of attention against plain numbers, in every
 * geometry: short and long rows, after a cache, rows end to end and in a tree.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type Geometry, rectangle } from "../../lib/data/batch.ts";
import type { DType } from "../../lib/formats/dtype.ts";
import {
  attention,
  type AttentionForm,
  BatchContext,
  KeyValueCache,
} from "../../lib/nn/mod.ts";
import {
  aten,
  CPU,
  manualSeed,
  type Tensor,
  tensorScope,
  to,
  zeros,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

/** Queries of one head of one row and what they may see. */
interface Head {
  readonly query: readonly number[][];
  readonly keys: readonly number[][];
  readonly values: readonly number[][];
  /** Position of each query and of each key. */
  readonly at: readonly number[];
  readonly keysAt: readonly number[];
  /** Whether the batch lets a query see a key. */
  readonly sees: (query: number, key: number) => boolean;
}

/** The formula in plain numbers. */
function plainHead(head: Head, form: AttentionForm, slope: number): number[] {
  const { softcap, scale = 1 / Math.sqrt(head.query[0]!.length) } = form;
  return head.query.flatMap((query, row) => {
    const weights = head.keys.map((key, column) => {
      const distance = head.at[row]! - head.keysAt[column]!;
      const isNear = distance < (form.window ?? Infinity);
      if (!head.sees(row, column) || !isNear) return 0;
      const product = query.reduce((sum, each, i) => sum + each * key[i]!, 0);
      const score = softcap
        ? softcap * Math.tanh(product * scale / softcap)
        : product * scale;
      return Math.exp(score - slope * distance);
    });
    const total = weights.reduce((sum, each) => sum + each, 0);
    return query.map((_, i) =>
      weights.reduce((sum, each, k) => sum + each * head.values[k]![i]!, 0) /
      total
    );
  });
}

const SIZE = 4;
const HEADS = 4;

/** Matrices `[length, size]` of `tensor`, `[rows, heads, length, size]`, row by row. */
function matrices(tensor: Tensor): number[][][] {
  const [rows = 0, heads = 0, length = 0] = tensor.shape;
  const numbers = [...tensor.toArray()];
  return Array.from(
    { length: rows * heads },
    (_, head) =>
      Array.from({ length }, (_, at) => {
        const start = (head * length + at) * SIZE;
        return numbers.slice(start, start + SIZE);
      }),
  );
}

/** A geometry, and what its tokens see. */
interface Case {
  readonly name: string;
  readonly geometry: Geometry;
  readonly cached?: number;
  readonly sees: Head["sees"];
}

const TREE: Geometry = {
  positions: Int32Array.of(0, 1, 2, 3, 4, 4, 5, 0, 1, 2),
  segments: [
    { start: 0, length: 4, parent: null },
    { start: 4, length: 1, parent: 0 },
    { start: 5, length: 2, parent: 0 },
    { start: 7, length: 3, parent: null },
  ],
};

/** The tokens that each token of the tree sees. */
const TREE_SEES = [
  [0],
  [0, 1],
  [0, 1, 2],
  [0, 1, 2, 3],
  [0, 1, 2, 3, 4],
  [0, 1, 2, 3, 5],
  [0, 1, 2, 3, 5, 6],
  [7],
  [7, 8],
  [7, 8, 9],
];

const CASES: readonly Case[] = [
  {
    name: "short rows",
    geometry: rectangle(2, 7),
    sees: (query, key) => key <= query,
  },
  {
    name: "rows beyond the plain formula",
    geometry: rectangle(1, 131),
    sees: (query, key) => key <= query,
  },
  {
    name: "tokens after a cache",
    geometry: rectangle(2, 3, 5),
    cached: 5,
    sees: (query, key) => key <= query + 5,
  },
  {
    name: "one token after a cache",
    geometry: rectangle(2, 1, 6),
    cached: 6,
    sees: () => true,
  },
  {
    name: "a tree",
    geometry: TREE,
    sees: (query, key) => TREE_SEES[query]!.includes(key),
  },
];

const SLOPES = [0.5, 0.25, 0.125, 0.0625];
const FORMS: Readonly<Record<string, AttentionForm>> = {
  "a window of 3": { window: 3 },
  "a window wider than the rows": { window: 500 },
  "a soft cap": { softcap: 0.4 },
  "slopes": { slopes: SLOPES },
  "all of them, and a scale": {
    window: 4,
    softcap: 0.7,
    slopes: SLOPES,
    scale: 0.9,
  },
};

for (const dtype of ["float32", "bfloat16"] as const) {
  for (const each of CASES) {
    for (const [name, form] of Object.entries(FORMS)) {
      Deno.test(`attention() with ${name} of ${each.name} in ${dtype} is the plain formula`, () =>
        checkForm(each, form, dtype));
    }
  }
}

function checkForm(each: Case, form: AttentionForm, dtype: DType): void {
  using _scope = tensorScope();
  manualSeed(3);
  const { geometry, cached = 0 } = each;
  using cache = new KeyValueCache();
  if (cached > 0) {
    const before = zeros([1, 1, cached, 1]);
    cache.append(before, before);
  }
  const context = new BatchContext(geometry, {
    device: CPU,
    caches: cached > 0 ? [cache] : undefined,
  });
  const { rows, length } = context;
  const fresh = (heads: number, count: number): Tensor =>
    to(aten.randn([rows, heads, count, SIZE]), { dtype });
  const query = fresh(HEADS, length);
  const [keys, values] = [0, 1].map(() => fresh(2, cached + length));
  const mixed = attention(
    { ...form, query, keys: keys!, values: values! },
    context,
  );
  assert.equal(mixed.dtype, dtype);
  const [k, v] = [keys!, values!].map(matrices);
  const at = [...context.rowPositions];
  const before = Array.from({ length: cached }, (_, position) => position);
  const expected = matrices(query).flatMap((head, index) => {
    // two query heads share a key head
    const shared = Math.floor(index / 2);
    const { sees } = each;
    return plainHead(
      {
        query: head,
        keys: k![shared]!,
        values: v![shared]!,
        at,
        sees,
        keysAt: [...before, ...at],
      },
      form,
      form.slopes?.[index % HEADS] ?? 0,
    );
  });
  const limit = dtype === "float32" ? 3e-6 : 3e-2;
  assertClose(mixed.toArray(), expected, { limit });
}

Deno.test("attention() makes no mask for a window that hides nothing", () => {
  using _scope = tensorScope();
  const context = new BatchContext(rectangle(1, 200), { device: CPU });
  context.mask = () => assert.fail("a mask was made");
  const heads = aten.randn([1, 1, 200, SIZE]);
  attention({ query: heads, keys: heads, values: heads, window: 200 }, context);
  assert.throws(() =>
    attention(
      { query: heads, keys: heads, values: heads, window: 199 },
      context,
    )
  );
});

for (const length of [6, 200]) {
  Deno.test(`attention() with dropout zeroes that share of weights of ${length} keys and scales the rest`, () => {
    using _scope = tensorScope();
    manualSeed(9);
    const context = new BatchContext(rectangle(40, length), { device: CPU });
    const like = zeros([40, 1, length, SIZE]);
    // All weights of the last query are 1 / length: what is left of ones is their sum.
    const values = aten.exp(like);
    const mixed = attention(
      { query: like, keys: like, values, dropout: 0.25 },
      context,
    );
    const sums = Array.from(
      aten.slice(aten.slice(mixed, 2, length - 1), 3, 0, 1).toArray(),
    );
    const mean = sums.reduce((sum, each) => sum + each, 0) / sums.length;
    assert(Math.abs(mean - 1) < 0.1, `mean ${mean}`);
    const unit = 1 / length / 0.75;
    for (const sum of sums) {
      assert(Math.abs(sum / unit - Math.round(sum / unit)) < 1e-2, `${sum}`);
    }
    assert(new Set(sums).size > 2);
  });
}
