/**
 * Operator schemas: read at run time into a plan, and by the compiler into types.
 * The `@ts-expect-error` lines fail `deno check` when a wrong call compiles.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type OperatorOf, parseSchema } from "../../ffi/schema.ts";
import { aten, tensor, tensorScope } from "../../lib/tensor/mod.ts";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;

function assertType<_Condition extends true>(): void {}

Deno.test("parseSchema reads name, overload, types, defaults and results", () => {
  const schema = parseSchema(
    "aten::topk.values(Tensor self, SymInt k, int? dim=-1, bool largest=True, float p=0.5, Tensor? w=None, str way='none') -> (Tensor, Tensor)",
  );
  assert.equal(schema.name, "aten::topk");
  assert.equal(schema.overload, "values");
  assert.deepEqual(schema.arguments, [
    { type: "Tensor", optional: false, name: "self", fallback: undefined },
    { type: "int", optional: false, name: "k", fallback: undefined },
    { type: "int", optional: true, name: "dim", fallback: -1 },
    { type: "bool", optional: false, name: "largest", fallback: true },
    { type: "float", optional: false, name: "p", fallback: 0.5 },
    { type: "Tensor", optional: true, name: "w", fallback: null },
    { type: "str", optional: false, name: "way", fallback: "none" },
  ]);
  assert.deepEqual(schema.results, ["Tensor", "Tensor"]);
});

Deno.test("parseSchema reads lists, no arguments and no results", () => {
  const lists = parseSchema("aten::cat(Tensor[] tensors, SymInt[] n=[]) -> ()");
  assert.deepEqual(lists.arguments.map((each) => each.type), [
    "Tensor[]",
    "int[]",
  ]);
  assert.deepEqual(lists.arguments[1]?.fallback, []);
  assert.deepEqual(lists.results, []);
  assert.deepEqual(parseSchema("aten::now() -> int").arguments, []);
});

Deno.test("parseSchema refuses a text that is not a schema and shows it", () => {
  assert.throws(() => parseSchema("mul(Tensor self) > Tensor"), {
    name: "SyntaxError",
    message: 'Cannot read schema "mul(Tensor self) > Tensor"',
  });
});

Deno.test("OperatorOf derives argument and result types from the text", () => {
  type Topk = OperatorOf<
    "aten::topk(Tensor self, SymInt k, int dim=-1) -> (Tensor, Tensor)",
    string
  >;
  assertType<Same<ReturnType<Topk>, [string, string]>>();
  assertType<Same<Parameters<Topk>[1], number>>();
  assertType<Same<Parameters<Topk>["length"], 2 | 3>>();
  type Weight = OperatorOf<"aten::f(Tensor? w=None) -> Tensor[]", string>;
  assertType<Same<ReturnType<Weight>, string[]>>();
  assertType<Same<ReturnType<OperatorOf<"aten::f(int a) -> ()", 0>>, void>>();
});

Deno.test("OperatorOf gives never for a text with a slip", () => {
  assertType<Same<OperatorOf<"aten::f(Tensor self) > Tensor", 0>, never>>();
  assertType<Same<OperatorOf<"f(Tensor self) -> Tensor", 0>, never>>();
  assertType<Same<OperatorOf<"aten::f(Tensro self) -> Tensor", 0>, never>>();
  assertType<
    Same<OperatorOf<"aten::f(Tensor? s=None, in d) -> Tensor", 0>, never>
  >();
  assertType<Same<OperatorOf<"aten::f(Tensor self) -> Tensro", 0>, never>>();
  assertType<Same<OperatorOf<"aten::f(int a) -> (Tensor, in)", 0>, never>>();
  const slip = (() => 0) as unknown as OperatorOf<
    "aten::f(Tensro self) -> Tensor",
    0
  >;
  // @ts-expect-error a schema with a slip cannot be called
  const call = (): unknown => slip(1);
  assert.equal(call(), 0);
});

Deno.test("calls with wrong arguments do not compile", () => {
  using _scope = tensorScope();
  const x = tensor([[1, 2], [3, 4]]);
  const wrong: (() => unknown)[] = [
    // @ts-expect-error a number is not a tensor
    (): unknown => aten.mul(x, 2),
    // @ts-expect-error a tensor is missing
    (): unknown => aten.mm(x),
    // @ts-expect-error one argument too many
    (): unknown => aten.neg(x, x),
    // @ts-expect-error a string is not a dimension
    (): unknown => aten.unsqueeze(x, "0"),
    // @ts-expect-error there is no such element type
    (): unknown => aten.toDtype(x, "float31"),
    // @ts-expect-error `dim` may not be null
    (): unknown => aten.softmax(x, null),
    // @ts-expect-error a raw integer is not a tensor
    (): unknown => aten.neg({ unsafeHandle: 5n }),
    // @ts-expect-error there is no such operator
    (): unknown => aten.multiply(x, x),
  ];
  assert.equal(wrong.length, 8);
  assert.deepEqual([...aten.mul(x, x).toArray()], [1, 4, 9, 16]);
});
