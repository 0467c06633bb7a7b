/**
 * Each house rule fires where it must and stays silent where it must not. Whether
 * the tree itself obeys is for `deno lint`, not for this file.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import plugin from "./lint_plugin.ts";

/** The messages that `rule` has for `source` in the file `name`. */
function problemsOf(rule: string, name: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, name, source)
    .filter(({ id }) => id === `lorikeet/${rule}`)
    .map(({ message }) => message);
}

Deno.test("layers lets a file import its own place and those above it", () => {
  const sources: [string, string][] = [
    ["lib/nn/linear.ts", 'import { a } from "./module.ts";'],
    ["lib/nn/linear.ts", 'import { a } from "../tensor/tensor.ts";'],
    ["lib/training/trainer.ts", 'import { a } from "../peft/lora.ts";'],
    ["lib/tensor/tensor.ts", 'import { a } from "../../ffi/mod.ts";'],
    ["ffi/mod.ts", 'export { a } from "./dispatch.ts";'],
    ["ffi/dispatch.ts", 'import type { D } from "../lib/formats/dtype.ts";'],
    ["mod.ts", 'export { a } from "./lib/training/trainer.ts";'],
    ["tasks/train.ts", 'import { a } from "@lorikeet/lorikeet";'],
    ["lib/data/read_examples.ts", 'import { strict } from "node:assert";'],
    ["tests/nn/linear_test.ts", 'import { a } from "../../ffi/symbols.ts";'],
  ];
  for (const [name, source] of sources) {
    assert.deepEqual(problemsOf("layers", name, source), [], name);
  }
});

Deno.test("layers refuses an import from below, in every way to write it", () => {
  const sources = [
    'import { a } from "../training/trainer.ts";',
    'import type { A } from "../training/trainer.ts";',
    'export { a } from "../training/trainer.ts";',
    'export * from "../training/trainer.ts";',
    'const a = import("../training/trainer.ts");',
    'type A = import("../training/trainer.ts").A;',
  ];
  for (const source of sources) {
    assert.deepEqual(problemsOf("layers", "lib/nn/linear.ts", source), [
      'Cannot import "lib/training/trainer.ts" in "lib/nn/linear.ts": ' +
      '"lib/nn" imports only what stands above it in LAYERS of tests/lint_plugin.ts',
    ], source);
  }
});

Deno.test("layers refuses a neighbour on the same line of the table", () => {
  const source = 'import { a } from "../arguments/setting.ts";';
  assert.equal(problemsOf("layers", "lib/tokenizer/a.ts", source).length, 1);
});

Deno.test("layers keeps libtorch out of the folders that work without it", () => {
  const places = ["lib/data", "lib/tokenizer", "lib/arguments", "lib/formats"];
  for (const place of places) {
    const ffi = 'import { a } from "../../ffi/mod.ts";';
    const tensor = 'import { a } from "../tensor/tensor.ts";';
    assert.equal(problemsOf("layers", `${place}/a.ts`, ffi).length, 1, place);
    assert.equal(problemsOf("layers", `${place}/a.ts`, tensor).length, 1);
  }
  const ffi = 'import { a } from "../ffi/mod.ts";';
  assert.equal(problemsOf("layers", "lib/input_error.ts", ffi).length, 1);
});

Deno.test("layers opens ffi by its mod.ts only", () => {
  const source = 'import { a } from "../../ffi/dispatch.ts";';
  assert.deepEqual(problemsOf("layers", "lib/tensor/tensor.ts", source), [
    'Cannot import "ffi/dispatch.ts" in "lib/tensor/tensor.ts": ' +
    'others import "ffi/mod.ts" only',
  ]);
});

Deno.test("layers wants a line in the table for every folder of lib", () => {
  assert.equal(problemsOf("layers", "lib/utils/a.ts", "").length, 1);
  const source = 'import { a } from "../utils/a.ts";';
  assert.equal(problemsOf("layers", "lib/nn/a.ts", source).length, 1);
});

Deno.test("layers knows a file by its absolute path too", () => {
  const file = new URL("../lib/nn/linear.ts", import.meta.url).pathname;
  const source = 'import { a } from "../../mod.ts";';
  assert.equal(problemsOf("layers", file, source).length, 1);
});

Deno.test("npm-pinned takes exact versions and nothing else", () => {
  const refused = [
    "npm:yaml",
    "npm:yaml@2",
    "npm:yaml@^2.8.1",
    "npm:@huggingface/jinja@latest",
    "jsr:@std/yaml@1.0.0",
    "https://example.org/mod.ts",
  ];
  for (const it of refused) {
    const found = problemsOf("npm-pinned", "lib/a.ts", `import "${it}";`);
    assert.equal(found.length, 1, it);
    assert.match(found[0] ?? "", /^Cannot import "/);
  }
  const taken = [
    "npm:yaml@2.8.1",
    "npm:@huggingface/jinja@0.5.3",
    "npm:a@1.0.0-rc.1/sub/path.js",
    "node:fs",
    "./npm.ts",
  ];
  for (const it of taken) {
    const found = problemsOf("npm-pinned", "lib/a.ts", `import "${it}";`);
    assert.deepEqual(found, [], it);
  }
});

Deno.test("function-length counts to 60 lines, wide characters or not", () => {
  const body = (lines: number): string =>
    Array.from({ length: lines - 2 }, () => "  // 甄嬛 🐦").join("\n");
  for (
    const [open, close] of [
      ["function f() {", "}"],
      ["const f = () => {", "};"],
      ["const f = function () {", "};"],
    ]
  ) {
    const source = (lines: number): string =>
      `// 🐦\n${open}\n${body(lines)}\n${close}\n`;
    const rule = "function-length";
    assert.deepEqual(problemsOf(rule, "lib/a.ts", source(60)), []);
    assert.deepEqual(problemsOf(rule, "lib/a.ts", source(61)), [
      "Function has 61 lines, at most 60 are read with pleasure",
    ]);
  }
  const long = `class A {\n m() {\n${body(61)}\n}\n}`;
  assert.equal(problemsOf("function-length", "lib/a.ts", long).length, 1);
});

Deno.test("exported-function-arguments takes three at most", () => {
  const refused = [
    "export function f(a: A, b: B, c: C, d: D) {}",
    "export function f(a: A, b: B, c: C, d: D = {}) {}",
    "export function f(a: A, b: B, c: C, ...rest: D[]) {}",
    "export const f = (a: A, b: B, c: C, d: D) => {};",
    "function f(a: A, b: B, c: C, d: D) {}\nexport { f };",
  ];
  for (const source of refused) {
    const found = problemsOf("exported-function-arguments", "a.ts", source);
    assert.equal(found.length, 1, source);
  }
  const taken = [
    "function f(a: A, b: B, c: C, d: D) {}",
    "export function f(a: A, b: B, c: C = {}) {}",
    "export function f(query: A, keys: A, values: A) {}",
    "export function f(a: A, b: B, { c = 1 }: C = {}) {}",
    "export function f(this: T, a: A, b: B, c: C) {}",
    "export function f(a: number, ...rest: string[]) {}",
    "export class A { m(a: A, b: B, c: C, d: D) {} }",
  ];
  for (const source of taken) {
    const found = problemsOf("exported-function-arguments", "a.ts", source);
    assert.deepEqual(found, [], source);
  }
});

Deno.test("no-private-keyword fires on members, methods and parameters", () => {
  const refused = [
    "class A { private a = 1; }",
    "class A { private static m() {} }",
    "class A { constructor(private readonly a: number) {} }",
  ];
  for (const source of refused) {
    const found = problemsOf("no-private-keyword", "a.ts", source);
    assert.equal(found.length, 1, source);
  }
  const taken = "class A { #a = 1; protected b = 2; readonly private = 3; }";
  assert.deepEqual(problemsOf("no-private-keyword", "a.ts", taken), []);
});

Deno.test("no-default-export fires on default exports only", () => {
  const rule = "no-default-export";
  assert.equal(problemsOf(rule, "a.ts", "export default 1;").length, 1);
  assert.deepEqual(problemsOf(rule, "a.ts", "export const a = 1;"), []);
});

Deno.test("quiet-library lets tasks and tests print, and nothing else", () => {
  const rule = "quiet-library";
  const sources = [
    'console.log("a");',
    "Deno.stdout.writeSync(bytes);",
    "Deno.stderr.isTerminal();",
  ];
  for (const source of sources) {
    for (const name of ["lib/nn/a.ts", "ffi/a.ts", "mod.ts"]) {
      assert.equal(problemsOf(rule, name, source).length, 1, name + source);
    }
    for (const name of ["tasks/a.ts", "bench/a.ts", "tests/a_test.ts"]) {
      assert.deepEqual(problemsOf(rule, name, source), [], name + source);
    }
  }
  assert.deepEqual(problemsOf(rule, "lib/nn/a.ts", "Deno.cwd();"), []);
});
