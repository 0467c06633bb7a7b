/**
 * readExamples: what it accepts, and one test per way to be malformed.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readExamples } from "../../lib/data/read_examples.ts";
import { InputError } from "../../lib/input_error.ts";

const ROW = '{"instruction":"问","input":"","output":"答"}';
const ASKED = [
  { role: "user", content: "问", trained: false },
  { role: "assistant", content: "答", trained: true },
];

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

/** The lines of the message after the first, without the path. */
function problems(content: string | Uint8Array): string[] {
  return withFile(content, (path) => {
    try {
      readExamples(path);
    } catch (error) {
      assert(error instanceof InputError, `${error} is no InputError`);
      return error.message.replaceAll(path, "F").split("\n");
    }
    throw new Error("nothing was thrown");
  });
}

Deno.test("readExamples() reads JSONL with a byte order mark, CRLF and blank lines", () => {
  const rows = withFile(`\uFEFF${ROW}\r\n\r\n  \n${ROW}\r\n\n`, readExamples);
  assert.deepEqual(rows, [{ messages: ASKED, line: 1 }, {
    messages: ASKED,
    line: 4,
  }]);
});

Deno.test("readExamples() reads a JSON array and knows each row's line", () => {
  const odd = '{"instruction":"[,{\\"","input":"","output":"}]","more":[1,{}]}';
  const text = `[\n  ${ROW}, ${odd},\n\n${
    ROW.replaceAll(",", ",\n")
  }\n,${ROW}]`;
  const rows = withFile(text, readExamples);
  assert.deepEqual(rows.map(({ line }) => line), [2, 2, 4, 7]);
  assert.equal(rows[1]?.messages[0]?.content, '[,{"');
  assert.equal(withFile(`[${ROW}]`, readExamples).length, 1);
});

Deno.test("readExamples() says where a line is not JSON", () => {
  assert.deepEqual(
    problems(`${ROW}\n{"instruction":"x",\n${ROW.slice(1)}\n`),
    [
      'Cannot read "F": 2 problems, every row needs the texts "instruction" and "output", and may have "input"',
      "F:2:20: the line is not JSON, expected double-quoted property name",
      "F:3:14: the line is not JSON, unexpected non-whitespace character after JSON",
    ],
  );
  const [, cut, word] = problems(`{"instruction":"x\nhello\n`);
  assert.equal(cut, "F:1:18: the line is not JSON, unterminated string");
  assert.equal(word, "F:2: the line is not JSON, unexpected token 'h'");
});

Deno.test("readExamples() names missing keys and wrong types, all of a row's", () => {
  assert.deepEqual(
    problems(
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

Deno.test("readExamples() hints at the seed's misspelt key", () => {
  const [, line] = problems('{"instrution":"a","input":"","output":"b"}');
  assert.equal(
    line,
    'F:1: key "instruction" is missing; there is "instrution", did you mean "instruction"?',
  );
});

Deno.test("readExamples() shows the first twenty problems and counts the rest", () => {
  const lines = problems("{}\n".repeat(15));
  assert.equal(lines.length, 22);
  assert.match(lines[0]!, /: 30 problems, /);
  assert.equal(lines.at(-1), "and 10 more");
});

Deno.test("readExamples() names the lines that are not UTF-8", () => {
  const bad = new TextEncoder().encode(`${ROW}\n#\n${ROW}\n#`);
  bad.forEach((byte, index) => byte === 0x23 && (bad[index] = 0xff));
  assert.deepEqual(problems(bad).slice(1), [
    "F:2: the line is not UTF-8 text",
    "F:4: the line is not UTF-8 text",
  ]);
});

Deno.test("readExamples() refuses half a surrogate pair", () => {
  const [, line] = problems(ROW.replace("问", "\\ud800"));
  assert.match(line!, /"instruction" holds half of a surrogate pair/);
});

Deno.test("readExamples() takes one object over several lines for what it is", () => {
  const lines = problems(ROW.replaceAll(",", ",\n"));
  assert.equal(lines.length, 2);
  assert.match(
    lines[1]!,
    /^F:1: the file is one JSON object over several lines/,
  );
});

Deno.test("readExamples() says where a JSON array is broken", () => {
  const lines = problems(`[\n${ROW}\n${ROW}]`);
  assert.match(lines[1]!, /^F:3:1: the line is not JSON, expected ',' or ']'/);
});

Deno.test("readExamples() refuses an empty file, a missing file and a folder", () => {
  const empty =
    'Cannot read "F": it holds no rows, one JSON object per line is needed';
  assert.deepEqual(problems(""), [empty]);
  assert.deepEqual(problems(" \n\n"), [empty]);
  assert.deepEqual(problems("[]"), [empty]);
  assert.throws(() => readExamples("tests/nowhere.jsonl"), {
    name: "InputError",
    message:
      'Cannot read "tests/nowhere.jsonl": it does not exist, the path of a .jsonl file is needed',
  });
  assert.throws(() => readExamples("tests"), {
    name: "InputError",
    message:
      'Cannot read "tests": it is a folder, the path of a .jsonl file is needed',
  });
});
