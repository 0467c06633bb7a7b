/**
 * Attention against its plain formula, and with a cache against without one.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { rectangle } from "../../lib/data/batch.ts";
import { attention, BatchContext, KeyValueCache } from "../../lib/nn/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import {
  aten,
  CPU,
  fromData,
  liveTensors,
  manualSeed,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
  to,
  zeros,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

/** `softmax(q kᵀ / √d) v`, one head serving `group` query heads, in plain numbers. */
function plainAttention(
  query: Tensor,
  options: { keys: Tensor; values: Tensor; scale?: number },
): number[] {
  const [batch = 0, heads = 0, queries = 0, size = 0] = query.shape;
  const [, own = 0, seen = 0] = options.keys.shape;
  const [q, k, v] = [query, options.keys, options.values].map((each) =>
    each.toArray()
  );
  const result: number[] = [];
  for (let at = 0; at < batch * heads * queries; at++) {
    const [row, head] = [at % queries, Math.floor(at / queries) % heads];
    const item = Math.floor(at / queries / heads);
    const base = (item * own + Math.floor(head * own / heads)) * seen * size;
    const visible = seen - queries + row + 1;
    const weights = Array.from({ length: visible }, (_, key) => {
      let sum = 0;
      for (let each = 0; each < size; each++) {
        sum += q![at * size + each]! * k![base + key * size + each]!;
      }
      return Math.exp(sum * (options.scale ?? 1 / Math.sqrt(size)));
    });
    const total = weights.reduce((sum, each) => sum + each, 0);
    for (let each = 0; each < size; each++) {
      result.push(
        weights.reduce(
          (sum, weight, key) => sum + weight * v![base + key * size + each]!,
          0,
        ) / total,
      );
    }
  }
  return result;
}

/** The context of two rows of `queries` after a cache of what comes before. */
function lateContext(
  queries: number,
  seen: number,
): { context: BatchContext; cache: KeyValueCache } {
  const cache = new KeyValueCache();
  const before = seen - queries;
  if (before > 0) {
    cache.append(zeros([2, 2, before, 8]), zeros([2, 2, before, 8]));
  }
  const geometry = rectangle(2, queries, before);
  const caches = [cache];
  return {
    context: new BatchContext(geometry, { device: CPU, caches }),
    cache,
  };
}

const SIZES = [[5, 5], [1, 5], [3, 5], [1, 1], [130, 130], [9, 140]] as const;

for (const dtype of ["float32", "bfloat16"] as const) {
  for (const [queries, seen] of SIZES) {
    Deno.test(`attention() of ${queries} queries and ${seen} keys with shared heads in ${dtype} is the plain formula`, () => {
      using _scope = tensorScope();
      manualSeed(queries);
      const [query, keys, values] = [[4, queries], [2, seen], [2, seen]].map((
        [heads, length],
      ) => to(aten.randn([2, heads!, length!, 8]), { dtype }));
      const input = { query: query!, keys: keys!, values: values! };
      const { context, cache } = lateContext(queries, seen);
      using _cache = cache;
      const mixed = attention(input, context);
      assert.deepEqual(mixed.shape, [2, 4, queries, 8]);
      assertClose(mixed.toArray(), plainAttention(query!, input), {
        limit: dtype === "float32" ? 2e-6 : 2e-2,
      });
      const scaled = attention({ ...input, scale: 2 }, context);
      assertClose(
        scaled.toArray(),
        plainAttention(query!, { ...input, scale: 2 }),
        { limit: dtype === "float32" ? 1e-5 : 1e-1 },
      );
    });
  }
}

for (const dtype of ["float32", "bfloat16"] as const) {
  Deno.test(`attention() of rows end to end and of a tree in ${dtype} sees a token's own segment and those above`, () => {
    using _scope = tensorScope();
    manualSeed(4);
    const geometry = {
      positions: Int32Array.of(0, 1, 2, 2, 3, 3, 4, 0, 1),
      segments: [
        { start: 0, length: 2, parent: null },
        { start: 2, length: 1, parent: 0 },
        { start: 3, length: 2, parent: 0 },
        { start: 5, length: 2, parent: 1 },
        { start: 7, length: 2, parent: null },
      ],
    };
    const context = new BatchContext(geometry, { device: CPU });
    assert.deepEqual([context.rows, context.length], [1, 9]);
    const [query, keys, values] = [4, 2, 2].map((heads) =>
      to(aten.randn([1, heads, 9, 8]), { dtype })
    );
    const mixed = attention(
      { query: query!, keys: keys!, values: values! },
      context,
    );
    for (const path of [[0, 1, 2, 5, 6], [0, 1, 3, 4], [7, 8]]) {
      const index = tensor(path, { dtype: "int64" });
      const [q, k, v, m] = [query, keys, values, mixed].map((each) =>
        aten.indexSelect(each!, 2, index)
      );
      assertClose(
        m!.toArray(),
        plainAttention(q!, { keys: k!, values: v! }),
        { limit: dtype === "float32" ? 2e-6 : 2e-2, what: path.join() },
      );
    }
  });
}

Deno.test("BatchContext takes rows of one length at the same positions as a rectangle, and nothing else", () => {
  const rows = (
    lengths: readonly number[],
    positions: readonly number[],
  ): BatchContext => {
    const segments = lengths.map((length, row) => ({
      start: lengths.slice(0, row).reduce((sum, each) => sum + each, 0),
      length,
      parent: null,
    }));
    const geometry = { positions: Int32Array.from(positions), segments };
    return new BatchContext(geometry, { device: CPU });
  };
  const shape = ({ rows, length }: BatchContext): number[] => [rows, length];
  assert.deepEqual(shape(rows([2, 2], [3, 4, 3, 4])), [2, 2]);
  assert.deepEqual(shape(rows([2, 3], [0, 1, 0, 1, 2])), [1, 5]);
  assert.deepEqual(shape(rows([2, 1], [0, 1, 0])), [1, 3]);
  assert.deepEqual(shape(rows([2, 2], [0, 1, 5, 6])), [1, 4]);
});

Deno.test("BatchContext makes a mask once, for the scope it was made in, and no cache continues segments", () => {
  const before = liveTensors();
  {
    using _scope = tensorScope();
    const context = new BatchContext(rectangle(2, 3), { device: CPU });
    {
      using _layer = tensorScope();
      const bias = context.bias("float32");
      assert.equal(context.bias("float32"), bias);
      const no = -Infinity;
      assert.deepEqual([...bias.toArray()], [0, no, no, 0, 0, no, 0, 0, 0]);
    }
    assert.equal(context.bias("float32").disposed, false);
    using cache = new KeyValueCache();
    cache.append(zeros([1, 1, 1, 2]), zeros([1, 1, 1, 2]));
    const segments = [{ start: 0, length: 1, parent: null }, {
      start: 1,
      length: 2,
      parent: null,
    }];
    const geometry = { positions: Int32Array.of(0, 0, 1), segments };
    assert.throws(
      () => new BatchContext(geometry, { device: CPU, caches: [cache] }),
      /^RangeError: Cannot continue cached rows with a batch of segments/,
    );
  }
  assert.equal(liveTensors(), before);
});

/** Logits of all positions, computed in pieces of `lengths` with caches. */
function inPieces(folder: string, lengths: readonly number[]): number[] {
  using model = AutoModelForCausalLM.fromPretrained(folder);
  using _scope = tensorScope();
  using _frozen = noGrad();
  const golden = readSafetensors(`${folder}/golden.safetensors`);
  const ids = fromData(golden.get("ids")!);
  const caches = model.decoderLayers.map(() => new KeyValueCache());
  const pieces: Tensor[] = [];
  let start = 0;
  for (const length of lengths) {
    const piece = aten.contiguous(aten.slice(ids, 1, start, start + length));
    const logits = model.forward(piece, { caches });
    pieces.push(aten.view(logits, [2, length, -1]));
    start += length;
  }
  for (const cache of caches) cache[Symbol.dispose]();
  return [...aten.cat(pieces, 1).toArray()];
}

for (const name of ["llama_gqa", "llama_bias", "rope_llama3"]) {
  Deno.test(`KeyValueCache gives ${name} the logits of the whole sequence, however it is cut`, () => {
    const before = liveTensors();
    const folder = `tests/fixtures/models/${name}`;
    const whole = inPieces(folder, [11]);
    for (const lengths of [[7, 1, 1, 1, 1], [4, 7], [1, 5, 1, 4]]) {
      assertClose(inPieces(folder, lengths), whole, {
        limit: 2e-6,
        what: lengths.join(),
      });
    }
    assert.equal(liveTensors(), before);
  });
}
