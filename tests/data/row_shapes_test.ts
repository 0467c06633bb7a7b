/**
 * The shapes of rows and the kinds of files they come in: what each says, how it
 * is recognised, and one test per way to be malformed.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { gzipSync } from "node:zlib";
import { readExamples } from "../../lib/data/read_examples.ts";
import { InputError } from "../../lib/input_error.ts";
import { seeded } from "../formats/temporary.ts";
import { damaged } from "./damaged.ts";
import { type Content, problems, withFile } from "./row_files.ts";
import { FINETUNE } from "../../lib/arguments/settings.ts";

/** Role, content and whether it is trained, of each message of each row. */
function said(name: string, content: Content, shape = "auto"): string[][] {
  return withFile(
    name,
    content,
    (path) =>
      readExamples(path, { shape }).map(({ messages }) =>
        messages.map(({ role, content, trained }) =>
          `${role}${trained ? "*" : ""}: ${content}`
        )
      ),
  );
}

const TURNS = [
  { role: "user", content: "a" },
  { role: "assistant", content: "b" },
];

const SHAPES: readonly (readonly [string, unknown, readonly string[]])[] = [
  ["instruction", { instruction: "a", output: "b" }, [
    "user: a",
    "assistant*: b",
  ]],
  ["messages", { messages: [{ role: "system", content: "s" }, ...TURNS] }, [
    "system: s",
    "user: a",
    "assistant*: b",
  ]],
  ["messages", {
    messages: [
      { role: "user", content: [{ type: "text", text: "a" }] },
      TURNS[1],
    ],
  }, ["user: a", "assistant*: b"]],
  ["conversations", {
    system: "s",
    conversations: [{ from: "human", value: "a" }, { from: "gpt", value: "b" }],
  }, ["system: s", "user: a", "assistant*: b"]],
  ["prompt_completion", { prompt: "a", completion: "b" }, [
    "user: a",
    "assistant*: b",
  ]],
  ["prompt_completion", {
    prompt: [...TURNS, TURNS[0]],
    completion: [TURNS[1]],
  }, ["user: a", "assistant: b", "user: a", "assistant*: b"]],
  ["text", { text: "a b" }, ["assistant*: a b"]],
];

for (const [shape, row, messages] of SHAPES) {
  const json = JSON.stringify(row);
  Deno.test(`readExamples() recognises ${shape} rows such as ${json}`, () => {
    assert.deepEqual(said("r.jsonl", `${json}\n${json}`), [messages, messages]);
    withFile(
      "r.jsonl",
      json,
      (path) => assert.equal(readExamples(path)[0]!.shape, shape),
    );
    assert.deepEqual(said("r.jsonl", json, shape), [messages]);
  });

  Deno.test(`readExamples() answers 300 damaged files of ${shape} rows such as ${json} with rows or a sentence`, () => {
    const random = seeded(json.length);
    const long = json.replaceAll(/"([abs])"/g, '"$1 words"');
    const files = [`${long}\n${json}\n`, `[${json},\n${long}]`].map((text) =>
      new TextEncoder().encode(text)
    );
    let read = 0;
    for (let index = 0; index < 300; index++) {
      withFile("r.json", damaged(files[index % 2]!, random), (path) => {
        try {
          read += readExamples(path).length > 0 ? 1 : 0;
        } catch (error) {
          assert(error instanceof InputError, `${index}: ${error}`);
          // deno-lint-ignore no-control-regex
          assert.doesNotMatch(error.message, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
        }
      });
    }
    assert(read > 0 && read < 290, `${read} were read`);
  });
}

Deno.test("readExamples() hands tools and tool calls on as the template takes them", () => {
  const tools = [{ type: "function", function: { name: "f" } }];
  const call = { type: "function", function: { name: "f", arguments: {} } };
  const json = JSON.stringify({
    tools,
    messages: [
      TURNS[0],
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", content: "1", name: "f" },
      TURNS[1],
    ],
  });
  withFile("r.jsonl", json, (path) => {
    const [row] = readExamples(path);
    assert.deepEqual(row?.tools, tools);
    assert.deepEqual(row?.messages[1], {
      role: "assistant",
      content: "",
      contentIs: "null",
      trained: true,
      tool_calls: [call],
    });
    assert.equal(row?.messages[2]?.["name" as "role"], "f");
  });
  const shareGpt = JSON.stringify({
    tools: JSON.stringify(tools),
    conversations: [
      { from: "human", value: "a" },
      { from: "function_call", value: '{"name":"f","arguments":{}}' },
      { from: "observation", value: "1" },
      { from: "gpt", value: "b" },
    ],
  });
  withFile("r.jsonl", shareGpt, (path) => {
    const [row] = readExamples(path);
    assert.deepEqual(row?.tools, tools);
    assert.deepEqual(row?.messages.map(({ role }) => role), [
      "user",
      "assistant",
      "tool",
      "assistant",
    ]);
    assert.deepEqual(row?.messages[1]?.["tool_calls" as "role"], [call]);
  });
});

const CSV = 'instruction,input,output\r\n"a, ""b""\nc",,d\r\n\r\ne,f,g\r\n';
const CSV_ROWS = [['user: a, "b"\nc', "assistant*: d"], [
  "system: e",
  "user: f",
  "assistant*: g",
]];

Deno.test("readExamples() reads CSV, quoted cells with line ends and all", () => {
  assert.deepEqual(said("r.csv", `\ufeff${CSV}`), CSV_ROWS);
  withFile(
    "r.csv",
    CSV,
    (path) =>
      assert.deepEqual(readExamples(path).map(({ line }) => line), [2, 5]),
  );
});

Deno.test("readExamples() reads lists that a CSV cell holds as JSON", () => {
  const cell = JSON.stringify(TURNS).replaceAll('"', '""');
  assert.deepEqual(said("r.csv", `messages\n"${cell}"\n`), [[
    "user: a",
    "assistant*: b",
  ]]);
});

Deno.test("readExamples() unpacks .gz of each kind of file", () => {
  const json = JSON.stringify({ messages: TURNS });
  const rows = [["user: a", "assistant*: b"]];
  const packed = (text: string): Uint8Array<ArrayBuffer> =>
    Uint8Array.from(gzipSync(text));
  assert.deepEqual(said("r.jsonl.gz", packed(json)), rows);
  assert.deepEqual(said("r.json.gz", packed(`[${json}]`)), rows);
  assert.deepEqual(said("r.csv.gz", packed(CSV)), CSV_ROWS);
  for (const wrong of [packed(json).slice(0, 20), new Uint8Array(4)]) {
    assert.throws(() => said("r.jsonl.gz", wrong), {
      name: "InputError",
      message: /it is not a whole gzip file, pack it anew$/,
    });
  }
});

Deno.test("readExamples() answers 300 damaged CSV files with rows or a sentence", () => {
  const random = seeded(9);
  const bytes = new TextEncoder().encode(CSV.repeat(2));
  let read = 0;
  for (let index = 0; index < 300; index++) {
    const packed = index % 3 === 0;
    const file = packed
      ? damaged(gzipSync(bytes), random)
      : damaged(bytes, random);
    withFile(packed ? "r.csv.gz" : "r.csv", file, (path) => {
      try {
        read += readExamples(path).length > 0 ? 1 : 0;
      } catch (error) {
        assert(error instanceof InputError, `${index}: ${error}`);
      }
    });
  }
  assert(read > 10 && read < 290, `${read} were read`);
});

Deno.test("readExamples() takes the shape that is forced, and refuses rows of another", () => {
  const both = '{"text":"t","prompt":"p","completion":"c"}';
  assert.deepEqual(said("r.jsonl", both), [["user: p", "assistant*: c"]]);
  assert.deepEqual(said("r.jsonl", both, "text"), [["assistant*: t"]]);
  const good = JSON.stringify({ messages: TURNS });
  assert.deepEqual(problems("r.jsonl", good, "text"), [
    '1: the row has the keys of shape messages ("messages"), it must be of shape text',
  ]);
  assert.throws(() => said("r.jsonl", both, "alpaca"), {
    name: "InputError",
    message: new RegExp(
      `known are ${FINETUNE.dataset_shape.choices.join(", ")}$`,
    ),
  });
});
