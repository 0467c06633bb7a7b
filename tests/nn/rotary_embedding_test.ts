/**
 * Rotation against its plain formula, and the length that dynamic frequencies
 * follow, against a row of calls of transformers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { RotaryEmbedding, rotate } from "../../lib/nn/mod.ts";
import { inverseFrequencies } from "../../lib/nn/rope_scaling.ts";
import {
  aten,
  CPU,
  fromData,
  liveTensors,
  manualSeed,
  noGrad,
  type Tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

const PARAMETERS = {
  type: "default",
  theta: 100,
  headSize: 6,
  maxPositions: 16,
} as const;

/** `x·cos + rot(x)·sin` with `rot(x) = (−x₂, x₁)`, of rows `[positions, headSize]`. */
function plainRotation(rows: Float64Array, start: number): number[] {
  const frequencies = inverseFrequencies(PARAMETERS, 1);
  const { headSize } = PARAMETERS;
  const half = headSize / 2;
  return Array.from(rows, (value, at) => {
    const [row, column] = [Math.floor(at / headSize), at % headSize];
    const angle = (start + row) * frequencies[column % half]!;
    const turned = column < half ? -rows[at + half]! : rows[at - half]!;
    return value * Math.cos(angle) + turned * Math.sin(angle);
  });
}

/** `length` positions from `start` on. */
function positions(start: number, length: number): Int32Array {
  return Int32Array.from({ length }, (_, at) => start + at);
}

/** Columns of the halves taken in turn, as rotate() leaves them. */
function interleaved(rows: readonly number[]): number[] {
  const { headSize } = PARAMETERS;
  return rows.map((_, at) => {
    const [row, column] = [Math.floor(at / headSize), at % headSize];
    const from = Math.floor(column / 2) + (column % 2) * headSize / 2;
    return rows[row * headSize + from]!;
  });
}

Deno.test("rotate() is x·cos + rot(x)·sin with the halves interleaved", () => {
  using rotary = new RotaryEmbedding(PARAMETERS);
  using _scope = tensorScope();
  manualSeed(1);
  const x = aten.randn([5, 6]);
  for (const start of [0, 3]) {
    const table = rotary.table(positions(start, 5), CPU);
    const shape = { rows: 1, length: 5, heads: 1, headSize: 6 };
    const turned = rotate(x, { table, shape });
    assert.deepEqual(turned.shape, [1, 5, 1, 6]);
    const expected = interleaved(plainRotation(x.toArray(), start));
    assertClose(turned.toArray(), expected, { limit: 1e-6 });
  }
});

Deno.test("rotate() gives the products of queries and keys that the plain formula gives", () => {
  using rotary = new RotaryEmbedding(PARAMETERS);
  using _scope = tensorScope();
  manualSeed(2);
  const table = rotary.table(positions(2, 4), CPU);
  const shape = { rows: 1, length: 4, heads: 1, headSize: 6 };
  const [query, key] = [aten.randn([4, 6]), aten.randn([4, 6])];
  const turned = (x: Tensor): Tensor =>
    aten.view(rotate(x, { table, shape }), [4, 6]);
  const products = aten.linear(turned(query), turned(key)).toArray();
  const [q, k] = [query, key].map((x) => plainRotation(x.toArray(), 2));
  const expected = Array.from({ length: 16 }, (_, at) => {
    const [row, column] = [Math.floor(at / 4) * 6, (at % 4) * 6];
    return [0, 1, 2, 3, 4, 5].reduce(
      (sum, each) => sum + q![row + each]! * k![column + each]!,
      0,
    );
  });
  assertClose(products, expected, { limit: 1e-6 });
});

Deno.test("rotate() keeps half precision and rotates heads and rows of a batch alike", () => {
  using rotary = new RotaryEmbedding(PARAMETERS);
  using _scope = tensorScope();
  manualSeed(3);
  const table = rotary.table(positions(0, 3), CPU);
  const rows = aten.randn([3, 6]);
  const two = aten.cat([rows, rows], 1);
  const four = aten.toDtype(aten.cat([two, two], 0), "bfloat16");
  const shape = { rows: 2, length: 3, heads: 2, headSize: 6 };
  const turned = rotate(four, { table, shape });
  assert.equal(turned.dtype, "bfloat16");
  // [batch, length, heads, headSize]
  const flat = turned.toArray();
  for (let at = 0; at < flat.length; at++) {
    const [batch, length] = [Math.floor(at / 36), Math.floor(at / 12) % 3];
    const first = length * 12 + at % 6;
    assert.equal(flat[at], flat[first], `batch ${batch}, position ${length}`);
  }
});

Deno.test("RotaryEmbedding.table() grows and still gives the same rows", () => {
  const before = liveTensors();
  {
    using rotary = new RotaryEmbedding(PARAMETERS);
    using _scope = tensorScope();
    const read = (start: number, length: number): number[] => [
      ...aten.viewAsReal(rotary.table(positions(start, length), CPU))
        .toArray(),
    ];
    const short = read(2, 3);
    const long = read(0, 40);
    assert.deepEqual(long.slice(2 * 6, 5 * 6), short);
    assert.deepEqual(read(2, 3), short);
    assert.deepEqual(read(39, 1), long.slice(39 * 6));
  }
  assert.equal(liveTensors(), before);
});

Deno.test("RotaryEmbedding.table() gives positions in any order their rows", () => {
  using rotary = new RotaryEmbedding(PARAMETERS);
  using _scope = tensorScope();
  const read = (rows: Int32Array): number[] => [
    ...aten.viewAsReal(rotary.table(rows, CPU)).toArray(),
  ];
  const all = read(positions(0, 6));
  const some = [0, 1, 2, 0, 1, 5, 2];
  assert.deepEqual(
    read(Int32Array.from(some)),
    some.flatMap((at) => all.slice(at * 6, at * 6 + 6)),
  );
});

Deno.test("CausalLm.runState() follows calls in a row as transformers does with dynamic ropes", () => {
  const folder = "tests/fixtures/models/rope_dynamic";
  const golden = readSafetensors(`${folder}/golden.safetensors`);
  using model = AutoModelForCausalLM.fromPretrained(folder);
  using _scope = tensorScope();
  using _frozen = noGrad();
  const ids = fromData(golden.get("ids")!);
  const rows = [...golden.keys()].filter((name) => name.startsWith("row_"))
    .sort();
  assert.equal(rows.length, 6);
  const reached = rows.map((name) => {
    const length = Number(name.split("_")[2]);
    const logits = model.forward(aten.contiguous(
      aten.slice(ids, 1, 0, length),
    ));
    const expected = fromData(golden.get(name)!).toArray();
    assertClose(logits.toArray(), expected, { limit: 2e-6, what: name });
    return model.runState().longest_sequence;
  });
  // Lengths 9, 11, 9, 8, 7, 9 on a model trained to 8.
  assert.deepEqual(reached, [9, 11, 11, 11, 8, 9]);
  model.restoreRunState(null);
  assert.deepEqual(model.runState(), { longest_sequence: 8 });
  for (const longest_sequence of [0, 1.5, -1, NaN, 1e12]) {
    assert.throws(() => model.restoreRunState({ longest_sequence }), {
      name: "InputError",
      message:
        `Cannot resume: the checkpoint's "longest_sequence" is ${longest_sequence}, a number of tokens is needed`,
    });
  }
  assert.throws(() => model.restoreRunState({}), /is missing, a number/);
  model.restoreRunState({ longest_sequence: 13 });
  assert.deepEqual(model.runState(), { longest_sequence: 13 });
});
