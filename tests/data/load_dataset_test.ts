/**
 * loadDataset: what is refused, what a question of the data is, and what stands
 * before one.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type Dataset, loadDataset } from "../../lib/data/load_dataset.ts";
import { chatPrompt } from "../../lib/generation/mod.ts";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

const DATA = "tests/fixtures/data";

async function load(
  rows: readonly unknown[],
  maxSeqLength: number,
  { skip = false, promptFormat = "recipe" } = {},
): Promise<Dataset | string> {
  const path = Deno.makeTempFileSync({ suffix: ".jsonl" });
  try {
    Deno.writeTextFileSync(path, rows.map((r) => JSON.stringify(r)).join("\n"));
    return await loadDataset(path, {
      tokenizer: await AutoTokenizer.fromPretrained(`${DATA}/legacy`),
      config: { eos_token_id: [2, 1] },
      maxSeqLength,
      skipOverlength: skip,
      promptFormat,
    });
  } catch (error) {
    return (error as Error).message.replaceAll(path, "F");
  } finally {
    Deno.removeSync(path);
  }
}

async function loaded(rows: readonly unknown[]): Promise<Dataset> {
  const dataset = await load(rows, 256);
  assert(typeof dataset !== "string", `${dataset}`);
  return dataset;
}

/** How a question without a system message is asked after training on `rows`. */
async function asked(rows: readonly unknown[]): Promise<string> {
  const { promptFormat: { chatTemplate: template } } = await loaded(rows);
  const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/legacy`);
  const prompt = await chatPrompt(tokenizer, { template });
  return prompt.text([{ role: "user", content: "?" }])
    .replace("<s><s>Human: ", "").replace("\n</s><s>Assistant:", "");
}

Deno.test("loadDataset() puts before a question what stands before most questions of the rows", async () => {
  const row = (instruction: string, input?: string): unknown => ({
    instruction,
    ...input === undefined ? {} : { input },
    output: "x",
  });
  const common = "A请回答用户问题: ?";
  const empty = "请回答用户问题: ?";
  const alone = "?请回答用户问题: ";
  assert.equal(
    await asked([row("A", "1"), row("A", "2"), row("B", "3")]),
    common,
  );
  assert.equal(await asked([row("A", "1"), row("A", "2"), row("B")]), common);
  assert.equal(await asked([row("A", "1"), row("B", "2")]), empty);
  assert.equal(
    await asked([row("A", "1"), row("A", "2"), row("B", "3"), row("C", "4")]),
    empty,
  );
  assert.equal(await asked([row("A"), row("B", "")]), alone);
  assert.equal(await asked([row("A"), row("B"), row("C", "1")]), alone);
  const own = ["1", "2", "3"].map((input) => row(input, input));
  assert.equal(await asked([row("A"), row("B"), ...own]), alone);
});

Deno.test("loadDataset() offers the first short question of one line, else the first", async () => {
  const long = "长".repeat(101);
  const question = async (...questions: string[]): Promise<string> =>
    (await loaded(questions.map((input) => ({
      instruction: "A",
      input,
      output: "x",
    })))).question;
  assert.equal(await question(long, "一\n二", " ", "好？", "三"), "好？");
  assert.equal(await question(long, "一\n二"), long);
});

Deno.test("loadDataset() encodes more rows than it takes at a time, in their order", async () => {
  const rows = Array.from({ length: 1500 }, (_, index) => ({
    instruction: "",
    output: `${index}`,
  }));
  const { features } = await loaded(rows);
  assert.equal(features.length, rows.length);
  const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/legacy`);
  for (const index of [0, 1023, 1024, 1499]) {
    const text = tokenizer.decode(features[index]!.input_ids);
    assert.match(text, new RegExp(`Assistant: ?${index}</s>$`));
  }
});

Deno.test("loadDataset() says which max_seq_length is needed when no answer is left", async () => {
  const example = { instruction: "回答", input: "1+1等于几?", output: "2" };
  const whole = await load([example], 256);
  assert(typeof whole !== "string");
  const needed = whole.features[0]!.input_ids.length;
  const longer = { ...example, output: "22" };
  assert.equal(
    await load([example, longer], 8),
    `Cannot train on "F": no row has any of its answer left at max_seq_length 8, the shortest row needs ${needed} and all rows need ${
      needed + 1
    }`,
  );
  assert.match(
    String(await load([example], 8, { skip: true })),
    /left at max_seq_length 8 with skip_overlength, /,
  );
  assert(typeof await load([example], needed) !== "string");
});

Deno.test("loadDataset() refuses a model whose config names no token that ends an answer", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
  await assert.rejects(
    loadDataset("dataset/huanhuan.jsonl", {
      tokenizer,
      config: { eos_token_id: [] },
      maxSeqLength: 64,
      skipOverlength: false,
    }),
    (error) =>
      error instanceof InputError &&
      /config\.json names no eos_token_id, /.test(error.message),
  );
});

Deno.test("loadDataset() refuses a file of empty answers and a limit below 1", async () => {
  const example = { instruction: "回答", input: "", output: "" };
  assert.equal(
    await load([example], 64),
    'Cannot train on "F": every answer is empty, answers with text are needed',
  );
  assert.equal(
    await load([example], 64, { promptFormat: "chat" }),
    'Cannot train on "F": every answer is empty, answers with text are needed',
  );
  assert.equal(
    await load([example], 0),
    "Cannot use max_seq_length 0: it must be a whole number from 1",
  );
});
