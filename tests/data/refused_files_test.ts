/**
 * Rows that are refused in packed files, beside good files, with weights, and by
 * named formats and templates: each by its file and line.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { gzipSync } from "node:zlib";
import { type DatasetOptions, loadDataset } from "../../lib/data/mod.ts";
import { withTemplate } from "./chat_rows.ts";

const RAISES =
  "{{ raise_exception('never ' + messages[0]['content']) }}{% for message in messages %}{% endfor %}";
const GOOD = { messages: [says("user", "q"), says("assistant", "a")] };

function says(role: string, content: string): object {
  return { role, content };
}

/** What is said of `files`, by name their rows, in the order of their names. */
async function refusal(
  files: Readonly<Record<string, readonly object[]>>,
  { template = null, ...options }: Partial<DatasetOptions> & {
    readonly template?: string | null;
  },
): Promise<string[]> {
  const folder = Deno.makeTempDirSync();
  try {
    const paths = Object.entries(files).map(([name, rows]) => {
      const text = rows.map((row) => JSON.stringify(row)).join("\n");
      const bytes = new TextEncoder().encode(text);
      Deno.writeFileSync(
        `${folder}/${name}`,
        name.endsWith(".gz") ? Uint8Array.from(gzipSync(bytes)) : bytes,
      );
      return `${folder}/${name}`;
    });
    const tokenizer = await withTemplate(template);
    const loaded = loadDataset(paths, {
      tokenizer,
      config: { eos_token_id: 2 },
      maxSeqLength: 50,
      ...options,
    });
    const error = await loaded.then(() => null, (it) => it);
    assert.equal(error?.name, "InputError", `${error}`);
    return error.message.replaceAll(`${folder}/`, "").split("\n");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("loadDataset() names line and turn of a row that is out of order in a packed file beside others with weights", async () => {
  const late = {
    messages: [says("user", "q"), says("assistant", "a"), says("system", "s")],
  };
  const said = await refusal(
    { "a.jsonl": [GOOD], "b.jsonl.gz": [GOOD, late] },
    { promptFormat: "deepseek", weights: [2, 0.5] },
  );
  assert.match(
    said.join("|"),
    /^Cannot read "b.jsonl.gz": 1 problem, .*\|b.jsonl.gz:2: turn 3 is "system" after "assistant", it must be "user" or "tool"$/,
  );
});

Deno.test("loadDataset() hands on what a template raises, for each row by file and line", async () => {
  const said = await refusal(
    { "a.jsonl.gz": [GOOD, GOOD] },
    { promptFormat: "chat", template: RAISES },
  );
  assert.match(said[0]!, /^Cannot spell 2 rows with the chat template: /);
  assert.deepEqual(
    said.slice(1),
    [1, 2].map((line) =>
      `a.jsonl.gz:${line}: cannot apply the chat template to 2 messages: never q`
    ),
  );
});

Deno.test("loadDataset() names the tokens that a named format lacks, and the role that it does not have", async () => {
  assert.match(
    (await refusal({ "a.jsonl": [GOOD] }, { promptFormat: "index" })).join(),
    /^Cannot use prompt format index: the tokenizer has no token "<unk>", "reserved_0", "reserved_1", /,
  );
  const tool = {
    messages: [
      says("user", "q"),
      { role: "assistant", content: null, tool_calls: [{ function: {} }] },
      says("tool", "t"),
      says("assistant", "a"),
    ],
  };
  assert.match(
    (await refusal({ "a.jsonl": [GOOD, tool] }, { promptFormat: "bluelm" }))
      .join(),
    /^Cannot spell a message of role "tool" at a.jsonl:2: prompt format "bluelm" has the roles system, user and assistant$/,
  );
});
