/**
 * One test per way that rows of each shape, and CSV, can be malformed.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { problems } from "./row_files.ts";

const turns = (...roles: string[]): string =>
  JSON.stringify({ messages: roles.map((role) => ({ role, content: "x" })) });
const shareGpt = (...conversations: unknown[]): string =>
  JSON.stringify({ conversations });
const good = turns("user", "assistant");

const REFUSED: readonly (readonly [string, string, string])[] = [
  [
    "a row of another shape",
    `${good}\n{"text":"x"}`,
    '2: the row has the keys of shape text ("text"), it must be of shape messages',
  ],
  [
    "a conversation that begins with an answer",
    turns("assistant", "user", "assistant"),
    '1: turn 1 is "assistant" at the beginning, it must be "system" or "user"',
  ],
  [
    "two questions in a row",
    turns("user", "user", "assistant"),
    '1: turn 2 is "user" after "user", it must be "assistant"',
  ],
  [
    "two answers in a row",
    turns("user", "assistant", "assistant"),
    '1: turn 3 is "assistant" after "assistant", it must be "user" or "tool"',
  ],
  [
    "a late system turn",
    turns("user", "assistant", "system"),
    '1: turn 3 is "system" after "assistant", it must be "user" or "tool"',
  ],
  [
    "a tool's answer that nobody asked for",
    turns("user", "tool", "assistant"),
    '1: turn 2 is "tool" after "user", it must be "assistant"',
  ],
  [
    "a conversation without an answer",
    turns("system", "user"),
    '1: no turn is "assistant", an answer to learn is needed',
  ],
  [
    "a last question without an answer",
    `\n${turns("user", "assistant", "user")}`,
    '2: turn 3 is "user" and the last one, an "assistant" turn must answer it',
  ],
  [
    "no turns",
    '{"messages":[]}',
    '1: "messages" is empty, a question and an answer are needed',
  ],
  [
    "messages that are a text",
    '{"messages":"hi"}',
    '1: "messages" is a text, it must be a list',
  ],
  [
    "a turn that is a text",
    '{"messages":["hi"]}',
    '1: turn 1 is a text, it must be an object with "role" and "content"',
  ],
  [
    "an unknown role",
    turns("human", "assistant"),
    '1: turn 1 has the role "human", it must be one of system, developer, user, assistant, tool',
  ],
  [
    "a turn without a content",
    '{"messages":[{"role":"user"},{"role":"assistant","content":"x"}]}',
    '1: turn 1: "content" is missing, it must be a text',
  ],
  [
    "an image",
    '{"messages":[{"role":"user","content":[{"type":"image"}]},{"role":"assistant","content":"x"}]}',
    '1: turn 1: "content" has parts that are not texts, only text is trained',
  ],
  [
    "tools that are no list",
    good.replace("{", '{"tools":{},'),
    '1: "tools" is an object, it must be a list of objects',
  ],
  [
    "half a surrogate pair in a turn",
    good.replace('"x"', '"\\ud800"'),
    '1: turn 1: "content" holds half of a surrogate pair, it must be Unicode text',
  ],
  [
    "an unknown sender",
    shareGpt({ from: "me", value: "x" }),
    '1: turn 1 is from "me", it must be from one of system, human, user, gpt, chatgpt, assistant, function_call, observation, tool',
  ],
  [
    "a sender's value that is a number",
    shareGpt({ from: "human", value: 1 }, { from: "gpt", value: "x" }),
    '1: turn 1: "value" is the number 1, it must be a text',
  ],
  [
    "a function call that is none",
    shareGpt({ from: "human", value: "x" }, {
      from: "function_call",
      value: "x",
    }),
    '1: turn 2: "value" is not a function call, it must be JSON with "name" and "arguments"',
  ],
  [
    "a ShareGPT row out of order",
    shareGpt({ from: "gpt", value: "x" }),
    '1: turn 1 is "assistant" at the beginning, it must be "system" or "user"',
  ],
  [
    "two system texts",
    JSON.stringify({
      system: "s",
      conversations: [{ from: "system", value: "s" }, {
        from: "human",
        value: "x",
      }, { from: "gpt", value: "x" }],
    }),
    '1: there are two system texts, the key "system" and turn 1',
  ],
  [
    "a completion that is missing",
    '{"prompt":"x"}',
    '1: key "completion" is missing',
  ],
  [
    "a misspelt completion",
    '{"prompt":"x","completions":"x"}',
    '1: key "completion" is missing; there is "completions", did you mean "completion"?',
  ],
  [
    "a completion without turns",
    '{"prompt":[{"role":"user","content":"x"}],"completion":[]}',
    '1: "completion" is empty, an answer to learn is needed',
  ],
  [
    "a text that is null",
    '{"text":null}',
    '1: "text" is null, it must be a text',
  ],
];

for (const [what, text, sentence] of REFUSED) {
  Deno.test(`readExamples() refuses ${what}, with line and turn`, () => {
    assert.deepEqual(problems("r.jsonl", text), [sentence]);
  });
}

const REFUSED_CSV: readonly (readonly [string, string, string])[] = [
  [
    "a row with too many cells",
    "text\na\nb,c\n",
    "3: the row has 2 cells, it must have 1 as the first line has",
  ],
  [
    "an open quote",
    'text\n"a\nb\n',
    "3: the line is not CSV, a quoted cell is not closed",
  ],
  [
    "a quote inside a cell",
    'text\na"b\n',
    "2: the line is not CSV, a quote stands inside a cell that is not quoted, put the whole cell into quotes",
  ],
  [
    "text after a quote",
    'text\n"a"b\n',
    '2: the line is not CSV, a closing quote is followed by text, a quote inside a quoted cell is written ""',
  ],
  [
    "two columns of one name",
    "text,text\na,b\n",
    '1: two columns are called "text", each needs a name of its own',
  ],
];

for (const [what, text, sentence] of REFUSED_CSV) {
  Deno.test(`readExamples() refuses CSV with ${what}`, () => {
    assert.deepEqual(problems("r.csv", text), [sentence]);
  });
}
