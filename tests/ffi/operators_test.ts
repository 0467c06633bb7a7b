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
  assert.deepEqual(missing, [...CUDA_ONLY, "pinMemory", "backward"]);
});

/** Operators without a kernel for CPUs. */
const CUDA_ONLY = [
  "raggedAttention",
  "raggedAttentionBackward",
  "efficientAttention",
  "efficientAttentionBackward",
] as const;

interface GoldenSchema {
  readonly name: keyof typeof OPERATORS;
  readonly arguments: readonly string[];
  readonly results: readonly string[];
  /** Whether libtorch_cuda has a kernel of its own. */
  readonly cuda: boolean;
}

const SCHEMAS: readonly GoldenSchema[] = JSON.parse(
  Deno.readTextFileSync(
    new URL("../fixtures/operator_schemas.json", import.meta.url),
  ),
);

/** `int[] dim` of `int[1] dim=[]`: type and name. */
function withoutDefault(argument: string): string {
  return argument.replace(/=.*/, "").replace(/\[\d+\]/, "[]");
}

Deno.test("every operator has the arguments of PyTorch's own schema, and leaves out only those with a default", () => {
  const names = Object.keys(OPERATORS);
  assert.deepEqual(SCHEMAS.map(({ name }) => name), names);
  for (const { name, arguments: golden, results } of SCHEMAS) {
    const [, inside = "", made = ""] = /^[\w:.]+\((.*)\) -> (.*)$/
      .exec(OPERATORS[name])!;
    const own = inside.split(", ");
    const [taken, left] = [
      golden.slice(0, own.length),
      golden.slice(own.length),
    ];
    assert.deepEqual(
      own.map(withoutDefault),
      taken.map(withoutDefault),
      name,
    );
    for (const each of left) assert.match(each, /=/, `${name} lacks ${each}`);
    const spelled = (types: readonly string[]): string =>
      types.join().replaceAll("SymInt", "int");
    assert.equal(
      spelled(made.replace(/[()]/g, "").split(", ")),
      spelled(results),
      name,
    );
  }
});

Deno.test("libtorch_cuda has kernels for what only CUDA devices compute", () => {
  const registered = SCHEMAS.filter(({ cuda }) => cuda).map(({ name }) => name);
  for (const name of CUDA_ONLY) assert.ok(registered.includes(name), name);
});

Deno.test("the dispatcher takes the arguments of CUDA's attention, and only then finds no kernel for a CPU", () => {
  using _scope = tensorScope();
  const x = aten.randn([4, 2, 8]);
  const rows = aten.randn([1, 4, 2, 8]);
  const starts = tensor([0, 4], { dtype: "int32" });
  const [sums, seed] = [aten.randn([2, 4]), tensor(0, { dtype: "int64" })];
  const calls: Record<typeof CUDA_ONLY[number], () => unknown> = {
    raggedAttention: () =>
      aten.raggedAttention(x, x, x, starts, starts, 4, 4, 0, true, false, 0.5),
    // deno-fmt-ignore
    raggedAttentionBackward: () =>
      aten.raggedAttentionBackward(
        x, x, x, x, x, sums, starts, starts, 4, 4, 0, true, seed, seed, 0.5,
      ),
    // deno-fmt-ignore
    efficientAttention: () =>
      aten.efficientAttention(
        rows, rows, rows, null, null, null, null, null, 0, 1, true, 0.5,
      ),
    // deno-fmt-ignore
    efficientAttentionBackward: () =>
      aten.efficientAttentionBackward(
        rows, rows, rows, rows, null, rows, null, null, 4, 4, sums, 0, seed,
        seed, 1, false, 0.5,
      ),
  };
  for (const call of Object.values(calls)) {
    assert.throws(call, { name: "TorchError" });
    assert.throws(call, /Could not run 'aten::_\w+_attention_\w+' with arg/);
  }
});

Deno.test("the words that Python's defaults leave out read as their defaults", () => {
  using _scope = tensorScope();
  const x = to(tensor([[3, 1, 2]]), { dtype: "float64" });
  const [values, indices] = aten.topk(x, 2);
  assert.deepEqual([...values.toArray()], [3, 2]);
  assert.deepEqual([...indices.toArray()], [0, 2]);
});
