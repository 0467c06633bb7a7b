/**
 * Attention against its plain formula, and with a cache against without one.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { causalAttention, KeyValueCache } from "../../lib/nn/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import {
  aten,
  fromData,
  liveTensors,
  manualSeed,
  noGrad,
  type Tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

/** `softmax(q kᵀ / √d) v`, one head serving `group` query heads, in plain numbers. */
function plainAttention(
  query: Tensor,
  options: { keys: Tensor; values: Tensor },
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
      return Math.exp(sum / Math.sqrt(size));
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

for (const [queries, seen] of [[5, 5], [1, 5], [3, 5], [1, 1]] as const) {
  Deno.test(`causalAttention() of ${queries} queries and ${seen} keys with shared heads is the plain formula`, () => {
    using _scope = tensorScope();
    manualSeed(queries);
    const query = aten.randn([2, 4, queries, 8]);
    const keys = aten.randn([2, 2, seen, 8]);
    const values = aten.randn([2, 2, seen, 8]);
    const mixed = causalAttention(query, { keys, values });
    assert.deepEqual(mixed.shape, [2, 4, queries, 8]);
    assertClose(
      mixed.toArray(),
      plainAttention(query, { keys, values }),
      { limit: 2e-6 },
    );
  });
}

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
    const logits = model.forward(piece, { start, caches });
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
