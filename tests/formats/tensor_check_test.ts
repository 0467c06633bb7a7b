/**
 * The check of stored tensors against needed ones.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  listProblems,
  tensorProblems,
} from "../../lib/formats/tensor_check.ts";

const WORDS = { asks: "the model asks for", leftOver: "belongs to no layer" };

Deno.test("tensorProblems() names what is missing, misshapen and left over, in this order", () => {
  const stored = new Map([
    ["extra", { shape: [1] }],
    ["good", { shape: [2, 3] }],
    ["turned", { shape: [3, 2] }],
    ["scalar", { shape: [] }],
    ["rotary.inv_freq", { shape: [4] }],
  ]);
  const needed = [
    { name: "turned", shape: [2, 3] },
    { name: "gone", shape: [1] },
    { name: "good", shape: [2, 3] },
    { name: "scalar", shape: [1] },
  ];
  const ignores = (name: string): boolean => name.startsWith("rotary");
  assert.deepEqual(tensorProblems(stored, needed, { ...WORDS, ignores }), [
    '"turned" has shape [3, 2], the model asks for [2, 3]',
    '"gone" is missing',
    '"scalar" has shape [], the model asks for [1]',
    '"extra" belongs to no layer',
  ]);
  assert.deepEqual(
    tensorProblems(stored, needed.slice(2, 3), WORDS).length,
    4,
  );
});

Deno.test("tensorProblems() shows control characters of a name as escapes", () => {
  const stored = new Map([["a\u001b[31m\n", { shape: [1] }]]);
  assert.deepEqual(tensorProblems(stored, [], WORDS), [
    '"a\\u001b[31m\\n" belongs to no layer',
  ]);
});

Deno.test("listProblems() shows ten and counts the rest", () => {
  const problems = Array.from({ length: 12 }, (_, index) => `p${index}`);
  assert.equal(listProblems(problems.slice(0, 2)), "p0; p1");
  assert.equal(
    listProblems(problems.slice(0, 10)),
    problems.slice(0, 10).join("; "),
  );
  assert.match(listProblems(problems), /p9; and 2 more$/);
});
