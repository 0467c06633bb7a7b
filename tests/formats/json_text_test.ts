/**
 * parseJson and duplicateKey: where a text stops being JSON, and keys that come twice.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { duplicateKey, parseJson } from "../../lib/formats/json_text.ts";

const faults: readonly [string, string][] = [
  ["{,}", 'line 1, column 2 has ","'],
  ["[1,]", 'line 1, column 4 has "]"'],
  ["[}", 'line 1, column 2 has "}"'],
  ['{"a":}', 'line 1, column 6 has "}"'],
  ['{"a":1,}', 'line 1, column 8 has "}"'],
  ['{"a":1]', 'line 1, column 7 has "]"'],
  ["{a:1}", 'line 1, column 2 has "a"'],
  ["{'a':1}", 'line 1, column 2 has "\'"'],
  ['{"a"\n:\ntrue false}', 'line 3, column 6 has "false"'],
  ["{} {}", 'line 1, column 4 has "{"'],
  ["1, 2", 'line 1, column 2 has ","'],
  ["[1 // why\n]", 'line 1, column 4 has "/"'],
  ["[nulls]", 'line 1, column 2 has "nulls"'],
  ['["a', 'line 1, column 2 has "\\""'],
  ["[1", "it ends too early"],
  [" \n", "it is empty"],
];
for (const [text, expected] of faults) {
  Deno.test(`parseJson says where ${JSON.stringify(text)} breaks`, () => {
    assert.throws(() => parseJson(text), {
      name: "SyntaxError",
      message: expected,
    });
  });
}

Deno.test("parseJson refuses a number that only looks like one", () => {
  assert.throws(() => parseJson("[1.2.3]"), SyntaxError);
  assert.throws(() => parseJson("[NaN, 01]"), SyntaxError);
});

Deno.test("parseJson leaves the word NaN in a string alone", () => {
  assert.deepEqual(parseJson('{"NaN": [NaN, "NaN", "-Infinity"]}'), {
    NaN: [NaN, "NaN", "-Infinity"],
  });
});

Deno.test("duplicateKey finds a key twice in one object, however spelt", () => {
  assert.equal(duplicateKey('{"a": {"b": 1, "\\u0062": 2}}'), "b");
  assert.equal(duplicateKey('{"__proto__": 1, "__proto__": 2}'), "__proto__");
  assert.equal(
    duplicateKey('{"a": {"a": 1}, "b": [{"a": 1}, "a:"]}'),
    undefined,
  );
});

Deno.test("duplicateKey reads a very long string", () => {
  const long = "x".repeat(5_000_000) + '\\"';
  assert.equal(duplicateKey(`{"a": "${long}", "b": 1, "a": 2}`), "a");
});

Deno.test("parseJson reads 500 levels and refuses more, whatever stands in strings", () => {
  const nested = (open: string, close: string, depth: number): string =>
    open.repeat(depth) + "1" + close.repeat(depth);
  assert.ok(parseJson(nested("[", "]", 500)));
  const inText = `["${"[".repeat(20000)}\\\\", "\\"${"{".repeat(20000)}"]`;
  assert.equal((parseJson(inText) as string[])[0]?.length, 20001);
  for (
    const text of [
      nested("[", "]", 501),
      nested('{"a":', "}", 20000),
      "[".repeat(20000),
      `["\\\\",${nested("[", "]", 20000)}]`,
      `{"a": NaN, "b": ${nested("[", "]", 501)}}`,
    ]
  ) {
    assert.throws(() => parseJson(text), {
      name: "SyntaxError",
      message: /^line 1, column \d+ is nested more than 500 levels deep$/,
    });
  }
});
