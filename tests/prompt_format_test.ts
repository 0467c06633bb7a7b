/**
 * A prompt format that is not built in, in this one file: rows are trained in it,
 * the adapter stores it, and questions are asked in it.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  AutoTokenizer,
  chatPrompt,
  Conversation,
  type Dataset,
  getPeftModel,
  loadDataset,
  ModifiedTrainer,
  PeftModel,
  registerPromptFormat,
  trainingArguments,
} from "../mod.ts";
import { turnFormat } from "../lib/data/mod.ts";
import { CHAT_TEMPLATE_FILE } from "../lib/generation/mod.ts";

const MODEL = "models/tiny-atom";
const ASKED = "<|im_start|>user\n你是谁？<|im_end|>\n<|im_start|>assistant\n";

registerPromptFormat(turnFormat({
  name: "angles",
  system: ["<|im_start|>system\n", { place: "content" }, "<|im_end|>\n"],
  user: ["<|im_start|>user\n", { place: "content" }, "<|im_end|>\n"],
  assistant: "<|im_start|>assistant\n",
  end: "<|im_end|>",
  between: "\n",
}));

async function load(
  folder: string,
  rows: readonly unknown[],
): Promise<Dataset & { readonly tokenizer: AutoTokenizer }> {
  const path = `${folder}/rows.jsonl`;
  Deno.writeTextFileSync(path, rows.map((it) => JSON.stringify(it)).join("\n"));
  const tokenizer = await AutoTokenizer.fromPretrained(MODEL);
  const dataset = await loadDataset(path, {
    tokenizer,
    config: { eos_token_id: 2 },
    maxSeqLength: 256,
    promptFormat: "angles",
  });
  return { ...dataset, tokenizer };
}

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a registered prompt format spells rows, trains their answers only, and asks with the same ids", async () => {
  await inFolder(async (folder) => {
    const { features, promptFormat, tokenizer } = await load(folder, [
      { instruction: "你是谁？", output: "我是小鹦。" },
    ]);
    const [{ input_ids, labels }] = features as [Dataset["features"][number]];
    assert.equal(promptFormat.name, "angles");
    const answerIds = labels.filter((label) => label !== -100);
    const decode = (ids: readonly number[]): string =>
      tokenizer.decode(ids).trim();
    assert.equal(decode(answerIds), "我是小鹦。 <|im_end|>");
    const prompt = await chatPrompt(tokenizer, {
      template: promptFormat.chatTemplate,
    });
    const asked = [{ role: "user", content: "你是谁？" }];
    assert.equal(prompt.text(asked), ASKED);
    assert.deepEqual(
      await prompt.encode(asked),
      input_ids.slice(0, -answerIds.length),
    );
  });
});

Deno.test("a registered prompt format puts the common instruction into a system turn", async () => {
  await inFolder(async (folder) => {
    const row = { instruction: "请简短回答。", input: "你好", output: "好。" };
    const { promptFormat, tokenizer } = await load(folder, [row, row]);
    const prompt = await chatPrompt(tokenizer, {
      template: promptFormat.chatTemplate,
    });
    const asked = [{ role: "user", content: "你是谁？" }];
    const system = "<|im_start|>system\n请简短回答。<|im_end|>\n";
    assert.equal(prompt.text(asked), system + ASKED);
    const other = [{ role: "system", content: "另" }, ...asked];
    assert.equal(
      prompt.text(other),
      system.replace("请简短回答。", "另") + ASKED,
    );
    const turns = [...asked, { role: "assistant", content: "我。" }, ...asked];
    assert.equal(
      prompt.text(turns),
      `${system}${ASKED}我。<|im_end|>\n${ASKED}`,
    );
  });
});

Deno.test("a registered prompt format is stored with the adapter, in each checkpoint too, and chat uses it", async () => {
  await inFolder(async (folder) => {
    const { features, promptFormat, tokenizer } = await load(folder, [
      { instruction: "你是谁？", output: "我是小鹦。" },
      { instruction: "你好", input: "", output: "好。" },
    ]);
    using base = AutoModelForCausalLM.fromPretrained(MODEL);
    {
      using model = getPeftModel(base, { r: 2, target_modules: ["q_proj"] });
      using trainer = new ModifiedTrainer({
        model,
        tokenizer,
        args: trainingArguments({ output_dir: `${folder}/out`, max_steps: 1 }),
        trainDataset: features,
        files: { [CHAT_TEMPLATE_FILE]: promptFormat.chatTemplate },
      });
      await trainer.train();
    }
    // the checkpoint by itself, away from its run
    Deno.renameSync(`${folder}/out/checkpoint-1`, `${folder}/alone`);
    using bare = AutoModelForCausalLM.fromPretrained(MODEL);
    using model = PeftModel.fromPretrained(bare, `${folder}/alone`);
    const prompt = await chatPrompt(tokenizer, { adapter: `${folder}/alone` });
    assert.equal(prompt.source, "adapter");
    assert.equal(prompt.text([{ role: "user", content: "你是谁？" }]), ASKED);
    const options = { maxNewTokens: 4 };
    const conversation = new Conversation({
      model,
      tokenizer,
      prompt,
      options,
    });
    const answer = await Array.fromAsync(conversation.ask("你是谁？"));
    assert.notEqual(answer.join(""), "");
  });
});

Deno.test("registerPromptFormat() refuses a name that is taken, loadDataset() one that is not there", async () => {
  assert.throws(
    () =>
      registerPromptFormat({
        ...turnFormat({ name: "recipe", user: [], assistant: "" }),
      }),
    { message: 'Cannot register prompt format "recipe": the name is taken' },
  );
  await assert.rejects(
    loadDataset("tests/fixtures/data/rows.jsonl", {
      tokenizer: await AutoTokenizer.fromPretrained(MODEL),
      config: { eos_token_id: 2 },
      maxSeqLength: 64,
      promptFormat: "alpaka",
    }),
    {
      name: "InputError",
      message:
        /^Cannot use prompt format "alpaka": there is none of that name, known are auto, recipe, chat, text, chatml, .*, angles$/,
    },
  );
});
