/**
 * Every operator of the table against what PyTorch answered from Python
 * (`tests/fixtures/make_operators.py`).
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { OPERATORS } from "../../ffi/mod.ts";
import type { DType } from "../../lib/formats/dtype.ts";
import {
  aten,
  manualSeed,
  Tensor,
  tensor,
  tensorScope,
  to,
} from "../../lib/tensor/mod.ts";

interface Dense {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly values: readonly number[];
}

type Word =
  | Dense
  | { readonly complex: Dense }
  | { readonly device: string }
  | number
  | boolean
  | string
  | null
  | readonly Word[];

interface Row {
  readonly name: keyof typeof OPERATORS;
  readonly arguments: readonly Word[];
  readonly result: Word;
  readonly after?: Word;
}

const ROWS: readonly Row[] = JSON.parse(
  Deno.readTextFileSync(
    new URL("../fixtures/operators.json", import.meta.url),
  ),
);

const CPU_CODE = 0xffffffffn;

function decode(word: Word): unknown {
  if (Array.isArray(word)) return word.map(decode);
  if (typeof word !== "object" || word === null) return word;
  if ("device" in word) return CPU_CODE;
  if ("complex" in word) return aten.viewAsComplex(dense(word.complex));
  return dense(word as Dense);
}

function dense({ shape, dtype, values }: Dense): Tensor {
  return aten.reshape(tensor(values, { dtype }), shape);
}

const TOLERANCE: Partial<Record<DType, number>> = {
  float64: 1e-12,
  float32: 3e-6,
};

function assertClose(actual: unknown, expected: Word, name: string): void {
  if (Array.isArray(expected)) {
    const list = actual as readonly unknown[];
    assert.equal(list.length, expected.length, name);
    expected.forEach((each, index) => assertClose(list[index], each, name));
    return;
  }
  if (!(actual instanceof Tensor)) {
    assert.equal(actual, expected ?? undefined, name);
    return;
  }
  const isComplex = "complex" in (expected as object);
  const { shape, dtype, values } =
    (isComplex ? (expected as { complex: Dense }).complex : expected) as Dense;
  const plain = isComplex ? aten.viewAsReal(actual) : actual;
  assert.deepEqual([...plain.shape], [...shape], `shape of ${name}`);
  assert.equal(plain.dtype, dtype, `dtype of ${name}`);
  const tolerance = TOLERANCE[dtype] ?? 0;
  plain.toArray().forEach((value, index) => {
    const wanted = values[index]!;
    assert.ok(
      Math.abs(value - wanted) <= tolerance * Math.max(1, Math.abs(wanted)),
      `${name}[${index}]: ${value}, PyTorch has ${wanted}`,
    );
  });
}

for (const [index, row] of ROWS.entries()) {
  Deno.test(`${row.name} answers as PyTorch does, case ${index}`, () => {
    using _scope = tensorScope();
    const values = row.arguments.map(decode);
    manualSeed(42);
    const call = aten[row.name] as (...values: readonly unknown[]) => unknown;
    const result = call(...values);
    assertClose(result, row.result, row.name);
    if (row.after !== undefined) {
      assertClose(
        values.filter(isTensors),
        (row.after as readonly Word[]).filter((_, at) => isTensors(values[at])),
        row.name,
      );
    }
  });
}

function isTensors(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => each instanceof Tensor);
}

Deno.test("every operator of the table has a case", () => {
  const covered = new Set<string>(ROWS.map((row) => row.name));
  const missing = Object.keys(OPERATORS).filter((name) => !covered.has(name));
  // `backward` is called in tests/tensor/aten_test.ts: its result is a gradient
  assert.deepEqual(missing, ["backward"]);
});

Deno.test("the words that Python's defaults leave out read as their defaults", () => {
  using _scope = tensorScope();
  const x = to(tensor([[3, 1, 2]]), { dtype: "float64" });
  const [values, indices] = aten.topk(x, 2);
  assert.deepEqual([...values.toArray()], [3, 2]);
  assert.deepEqual([...indices.toArray()], [0, 2]);
});
