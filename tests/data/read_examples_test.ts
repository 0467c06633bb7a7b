/**
 * readExamples: what it accepts, and one test per way to be malformed.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { loadDataset } from "../../lib/data/load_dataset.ts";
import { readExamples } from "../../lib/data/read_examples.ts";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { seeded } from "../formats/temporary.ts";
import { damaged } from "./damaged.ts";

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
      assert(error instanceof InputError, `${error} is not an InputError`);
      return error.message.replaceAll(path, "F").split("\n");
    }
    throw new Error("nothing was thrown");
  });
}

Deno.test("readExamples() reads JSONL with a byte order mark, CRLF and blank lines", () => {
  const rows = withFile(`\uFEFF${ROW}\r\n\r\n  \n${ROW}\r\n\n`, readExamples);
  assert.deepEqual(
    rows.map(({ messages, line }) => ({ messages, line })),
    [{ messages: ASKED, line: 1 }, { messages: ASKED, line: 4 }],
  );
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

Deno.test("readExamples() splits lines as Python does, at CR and CRLF too", () => {
  const rows = withFile(`${ROW}\r${ROW}\r\n${ROW}\n`, readExamples);
  assert.deepEqual(rows.map(({ line }) => line), [1, 2, 3]);
});

Deno.test("readExamples() takes a row without an input as one with an empty input, but not with a misspelt one", () => {
  const [row] = withFile('{"instruction":"问","output":"答"}', readExamples);
  assert.deepEqual(row!.messages, ASKED);
  const [, line] = problems('{"instruction":"a","inputs":"b","output":"c"}');
  assert.equal(
    line,
    'F:1: key "input" is missing; there is "inputs", did you mean "input"?',
  );
});

Deno.test("readExamples() gives instruction and input as system and user messages", () => {
  const text = '{"instruction":"","input":"问","output":"答"}';
  const [row] = withFile(text, readExamples);
  assert.deepEqual(row!.messages, [
    { role: "system", content: "", trained: false },
    ...ASKED,
  ]);
});

/** Odd contents that are rows all the same. */
const ROWS: Readonly<Record<string, string>> = {
  "other keys nested 20,000 deep": `{"instruction":"a","output":"b","x":${
    "[".repeat(20_000)
  }${"]".repeat(20_000)}}`,
  "a line of a million columns": `{"instruction":"${
    "a".repeat(1e6)
  }","output":"b"}`,
  "an array with a string of a million escapes": `[{"instruction":"${
    '\\"'.repeat(1e6)
  }","output":"b"}]`,
  "keys that JavaScript has names for":
    '{"__proto__":{"instruction":1},"constructor":2,"instruction":"a","output":"b"}',
  "half a surrogate pair in a key":
    '{"\\ud800":1,"instruction":"a","output":"b"}',
};

for (const [what, text] of Object.entries(ROWS)) {
  Deno.test(`readExamples() reads ${what}`, () => {
    assert.equal(withFile(text, readExamples).length, 1);
  });
}

/** Odd contents, and what is said of the first line. */
const REFUSED: readonly (readonly [string, string, string | RegExp])[] = [
  [
    "a row nested 20,000 deep",
    `${"[".repeat(20_000)}${"]".repeat(20_000)}`,
    "F:1: the row is a list, it must be a JSON object",
  ],
  [
    "an instruction nested 20,000 deep",
    `{"instruction":${'{"a":'.repeat(20_000)}1${
      "}".repeat(20_000)
    },"output":""}`,
    'F:1: "instruction" is an object, it must be a text',
  ],
  [
    "brackets that are never closed",
    "[".repeat(200_000),
    "F:1:200001: the line is not JSON, unexpected end of JSON input",
  ],
  [
    "a number of 100,000 digits",
    `{"instruction":${"9".repeat(1e5)},"output":""}`,
    'F:1: "instruction" is the number Infinity, it must be a text',
  ],
  [
    "own keys of an object's prototype",
    '{"__proto__":{"instruction":"a"},"output":"b"}',
    'F:1: key "instruction" is missing',
  ],
  [
    "control characters in a key, which do not reach the terminal",
    '{"instruction\\u0000\\u001b[2J":"a","output":"b"}',
    'F:1: key "instruction" is missing; there is "instruction\\u0000\\u001b[2J", did you mean "instruction"?',
  ],
  [
    "control characters outside of a string, which do not reach the terminal",
    "\u001b[2J",
    "F:1: the line is not JSON, unexpected token '\\u001b'",
  ],
  [
    "a key of a million characters",
    `{"${"k".repeat(1e6)}":"a","output":"b"}`,
    'F:1: key "instruction" is missing',
  ],
];

for (const [what, text, said] of REFUSED) {
  Deno.test(`readExamples() refuses ${what}, in a sentence`, () => {
    assert.equal(problems(text)[1], said);
  });
}

Deno.test("loadDataset() answers 1,500 damaged files with rows or a sentence", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/rows.jsonl`;
  const random = seeded(5);
  const row = ROW.replaceAll(/[问答]/g, "words and 词 ".repeat(9));
  const files = [`${row}\n${row}\n`, `[${row},\n${row}]`].map((text) =>
    new TextEncoder().encode(text)
  );
  let loaded = 0;
  try {
    for (let index = 0; index < 1500; index++) {
      Deno.writeFileSync(path, damaged(files[index % 2]!, random));
      try {
        const { features } = await loadDataset(path, {
          tokenizer,
          config: { eos_token_id: 2 },
          maxSeqLength: 512,
        });
        loaded += features.length > 0 ? 1 : 0;
      } catch (error) {
        assert(error instanceof InputError, `${index}: ${error}`);
        // deno-lint-ignore no-control-regex
        assert.doesNotMatch(error.message, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
      }
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
  assert(loaded > 100 && loaded < 1400, `${loaded} were loaded`);
});
