/**
 * pythonJson and writePythonJson against the text that Python prints.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  PyFloat,
  pythonFloat,
  pythonJson,
  writePythonJson,
} from "../../lib/formats/python_json.ts";
import type { PythonJson } from "../../lib/formats/python_json.ts";
import { GOLDEN, inFolder } from "./temporary.ts";

// deno-fmt-ignore
const FLOATS = [
  2, 1e-5, 1e-4, 1.5e-7, 1e15, 1e16, 1.2345678901234568e17, 5e-324, 0.1, -0,
  1e22, 12345678.5, 0.3333333333333333, NaN, Infinity, -Infinity,
];

Deno.test("pythonJson prints what json.dumps(indent=2, sort_keys=True) prints", () => {
  const value: PythonJson = {
    floats: FLOATS.map((it) => new PyFloat(it)),
    ints: [0, -5, 12487168064, 2n ** 70n],
    text: 'é日\u{1f99c}\x7f\x00\n"\\/\u2028',
    none: null,
    true: true,
    empty: [[], {}, ""],
    nested: { b: { x: 1 }, a: [1, [2, { k: 3.5 }]] },
    "\uffee": 1,
    "\u{1f99c}": 2,
    "10": 1,
    "9": 2,
    B: 3,
    ["__proto__"]: 4,
  };
  assert.equal(
    pythonJson(value),
    Deno.readTextFileSync(`${GOLDEN}python.json`),
  );
});

Deno.test("pythonJson prints a whole number as int, another as float", () => {
  assert.equal(pythonJson(3), "3");
  assert.equal(pythonJson(1e21), "1000000000000000000000");
  assert.equal(pythonJson(0.00001), "1e-05");
  assert.equal(pythonJson(NaN), "NaN");
});

Deno.test("pythonFloat reads back as the same number", () => {
  for (const value of FLOATS) {
    assert.ok(Object.is(Number(pythonFloat(value)), value), `${value}`);
  }
});

Deno.test("pythonJson refuses what has no JSON form", () => {
  assert.throws(
    () => pythonJson({ a: undefined } as unknown as PythonJson),
    {
      name: "TypeError",
      message: "Cannot write undefined as JSON: it has no JSON form",
    },
  );
});

Deno.test("writePythonJson ends the file with a line feed only when asked", () => {
  inFolder((folder) => {
    const path = `${folder}/out.json`;
    writePythonJson(path, { r: 8 });
    assert.equal(Deno.readTextFileSync(path), '{\n  "r": 8\n}');
    writePythonJson(path, { r: 8 }, { trailingNewline: true });
    assert.equal(Deno.readTextFileSync(path), '{\n  "r": 8\n}\n');
  });
});
