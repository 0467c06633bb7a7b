/**
 * readRows: what it accepts, and one test per way to be malformed.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readRows } from "../../lib/data/jsonl.ts";
import { editDistance } from "../../lib/data/rows.ts";
import { InputError } from "../../lib/input_error.ts";

const ROW = '{"instruction":"问","input":"","output":"答"}';

function withFile<T>(
  content: string | Uint8Array,
  use: (path: string) => T,
): T {
  const path = Deno.makeTempFileSync({ suffix: ".jsonl" });
  try {
    const bytes = typeof content === "string"
      ? new TextEncoder().encode(content)
      : content;
    Deno.writeFileSync(path, bytes);
    return use(path);
  } finally {
    Deno.removeSync(path);
  }
}

/** The lines of the complaint after the first, without the path. */
function complaints(content: string | Uint8Array): string[] {
  return withFile(content, (path) => {
    try {
      readRows(path);
    } catch (error) {
      assert(error instanceof InputError, `${error} is no InputError`);
      return error.message.replaceAll(path, "F").split("\n");
    }
    throw new Error("nothing was thrown");
  });
}

Deno.test("readRows() reads JSONL with a byte order mark, CRLF and blank lines", () => {
  const rows = withFile(`\uFEFF${ROW}\r\n\r\n  \n${ROW}\r\n\n`, readRows);
  assert.deepEqual(rows, [
    { instruction: "问", input: "", output: "答", line: 1 },
    { instruction: "问", input: "", output: "答", line: 4 },
  ]);
});

Deno.test("readRows() reads a JSON array and knows each row's line", () => {
  const odd = '{"instruction":"[,{\\"","input":"","output":"}]","more":[1,{}]}';
  const text = `[\n  ${ROW}, ${odd},\n\n${
    ROW.replaceAll(",", ",\n")
  }\n,${ROW}]`;
  const rows = withFile(text, readRows);
  assert.deepEqual(rows.map(({ line }) => line), [2, 2, 4, 7]);
  assert.equal(rows[1]?.instruction, '[,{"');
  assert.equal(withFile(`[${ROW}]`, readRows).length, 1);
});

Deno.test("readRows() says where a line is not JSON", () => {
  assert.deepEqual(
    complaints(`${ROW}\n{"instruction":"x",\n${ROW.slice(1)}\n`),
    [
      'Cannot read "F": 2 faults, every row needs the texts "instruction", "input" and "output"',
      "F:2:20: the line is not JSON, expected double-quoted property name",
      "F:3:14: the line is not JSON, unexpected non-whitespace character after JSON",
    ],
  );
  const [, cut, word] = complaints(`{"instruction":"x\nhello\n`);
  assert.equal(cut, "F:1:18: the line is not JSON, unterminated string");
  assert.equal(word, "F:2: the line is not JSON, unexpected token 'h'");
});

Deno.test("readRows() names missing keys and wrong types, all of a row's", () => {
  assert.deepEqual(
    complaints(
      '{"instruction":3,"input":null}\n[1]\n"text"\n{"instruction":["a"],"input":{},"output":true}',
    ).slice(1),
    [
      'F:1: "instruction" is the number 3, it must be a text',
      'F:1: "input" is null, it must be a text',
      'F:1: key "output" is missing',
      "F:2: the row is a list, it must be a JSON object",
      "F:3: the row is a text, it must be a JSON object",
      'F:4: "instruction" is a list, it must be a text',
      'F:4: "input" is an object, it must be a text',
      'F:4: "output" is the boolean true, it must be a text',
    ],
  );
});

Deno.test("readRows() hints at the seed's misspelt key", () => {
  const [, line] = complaints('{"instrution":"a","input":"","output":"b"}');
  assert.equal(
    line,
    'F:1: key "instruction" is missing; there is "instrution", did you mean "instruction"?',
  );
});

Deno.test("readRows() shows the first twenty faults and counts the rest", () => {
  const lines = complaints("{}\n".repeat(10));
  assert.equal(lines.length, 22);
  assert.match(lines[0]!, /: 30 faults, /);
  assert.equal(lines.at(-1), "and 10 more");
});

Deno.test("readRows() names the lines that are not UTF-8", () => {
  const bad = new TextEncoder().encode(`${ROW}\n#\n${ROW}\n#`);
  bad.forEach((byte, index) => byte === 0x23 && (bad[index] = 0xff));
  assert.deepEqual(complaints(bad).slice(1), [
    "F:2: the line is not UTF-8 text",
    "F:4: the line is not UTF-8 text",
  ]);
});

Deno.test("readRows() refuses half a surrogate pair", () => {
  const [, line] = complaints(ROW.replace("问", "\\ud800"));
  assert.match(line!, /"instruction" holds half of a surrogate pair/);
});

Deno.test("readRows() takes one object over several lines for what it is", () => {
  const lines = complaints(ROW.replaceAll(",", ",\n"));
  assert.equal(lines.length, 2);
  assert.match(
    lines[1]!,
    /^F:1: the file is one JSON object over several lines/,
  );
});

Deno.test("readRows() says where a JSON array is broken", () => {
  const lines = complaints(`[\n${ROW}\n${ROW}]`);
  assert.match(lines[1]!, /^F:3:1: the line is not JSON, expected ',' or ']'/);
});

Deno.test("readRows() refuses an empty file, a missing file and a folder", () => {
  const empty =
    'Cannot read "F": it holds no rows, one JSON object per line is needed';
  assert.deepEqual(complaints(""), [empty]);
  assert.deepEqual(complaints(" \n\n"), [empty]);
  assert.deepEqual(complaints("[]"), [empty]);
  assert.throws(() => readRows("tests/nowhere.jsonl"), {
    name: "InputError",
    message:
      'Cannot read "tests/nowhere.jsonl": it does not exist, the path of a .jsonl file is needed',
  });
  assert.throws(() => readRows("tests"), {
    name: "InputError",
    message:
      'Cannot read "tests": it is a folder, the path of a .jsonl file is needed',
  });
});

Deno.test("editDistance() counts insertions, deletions and replacements", () => {
  assert.equal(editDistance("instrution", "instruction"), 1);
  assert.equal(editDistance("ouptut", "output"), 2);
  assert.equal(editDistance("", "input"), 5);
});
