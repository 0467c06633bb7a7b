/**
 * readJsonFile: Python's JSON, and each way to be no JSON object.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readJsonFile } from "../../lib/formats/json_file.ts";
import { errorOf, errorReading, GOLDEN, inFolder } from "./temporary.ts";

Deno.test("readJsonFile reads NaN and Infinity as Python writes them", () => {
  const { floats, text } = readJsonFile(`${GOLDEN}python.json`);
  assert.deepEqual((floats as number[]).slice(-3), [NaN, Infinity, -Infinity]);
  assert.equal(text, 'é日\u{1f99c}\x7f\x00\n"\\/\u2028');
});

Deno.test("readJsonFile skips a byte order mark", () => {
  inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/a.json`, '\ufeff{"a": 1}');
    assert.deepEqual(readJsonFile(`${folder}/a.json`), { a: 1 });
  });
});

Deno.test("readJsonFile names a missing file and a folder", () => {
  assert.equal(
    errorOf(() => readJsonFile("none.json")),
    'Cannot load "none.json": there is no such file',
  );
  assert.equal(
    errorOf(() => readJsonFile("tests")),
    'Cannot load "tests": it is a folder',
  );
});

const cases: readonly [string, string | Uint8Array, string][] = [
  ["empty file", "", "it is not JSON, it is empty"],
  ["text that ends early", '{"a": [1,', "it is not JSON, it ends too early"],
  [
    "text with a stray word",
    '{\n  "a": abc\n}',
    'it is not JSON, line 2, column 8 has "abc"',
  ],
  ["array", "[1]", "it holds an array, a JSON object is needed"],
  ["mere number", "3", "it holds 3, a JSON object is needed"],
  [
    "text that is not UTF-8",
    Uint8Array.of(0xff),
    "it is not UTF-8 text, save it as UTF-8",
  ],
];
for (const [what, content, expected] of cases) {
  Deno.test(`readJsonFile refuses ${what}`, () => {
    assert.equal(
      errorReading(content, readJsonFile),
      `Cannot load "F": ${expected}`,
    );
  });
}

Deno.test("readJsonFile refuses what is too large before it reads it", () => {
  inFolder((folder) => {
    const path = `${folder}/large.json`;
    Deno.writeTextFileSync(path, "{}");
    Deno.truncateSync(path, 2 ** 40);
    assert.equal(
      errorOf(() => readJsonFile(path)),
      `Cannot load "${path}": it has 1099511627776 bytes, a JSON file of at most 268435456 is read`,
    );
  });
});

Deno.test("readJsonFile keeps a key __proto__ to itself", () => {
  inFolder((folder) => {
    const path = `${folder}/proto.json`;
    Deno.writeTextFileSync(path, '{"__proto__": {"polluted": 1}, "a": [NaN]}');
    const json = readJsonFile(path);
    assert.deepEqual(Object.keys(json), ["__proto__", "a"]);
    assert.equal(json.polluted, undefined);
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });
});
