/**
 * Prompts of a chat: the adapter's template spells what training spelled, id for id.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { preprocess, promptOf } from "../../lib/data/preprocess.ts";
import {
  adapterChatTemplate,
  chatPrompt,
  promptFrame,
} from "../../lib/generation/mod.ts";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import {
  type ChatMessage,
  renderChatTemplate,
} from "../../lib/tokenizer/chat_template.ts";

const golden = JSON.parse(
  Deno.readTextFileSync("tests/fixtures/generation.json"),
) as {
  instruction: string;
  templates: { messages: ChatMessage[]; text: string }[];
};

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A folder with `template` as its chat template; gone with the block. */
function adapterFolder(template: string): Disposable & { path: string } {
  const path = Deno.makeTempDirSync();
  Deno.writeTextFileSync(`${path}/chat_template.jinja`, template);
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

const folders = [
  ...["legacy", "metaspace", "backend", "byte_level"].map((name) =>
    `tests/fixtures/data/${name}`
  ),
  "models/tiny-atom",
].filter((folder) => exists(`${folder}/tokenizer.json`));
const INSTRUCTIONS = [golden.instruction, "", " 前后空格 ", "a\n\n"];

for (const folder of folders) {
  Deno.test(`adapterChatTemplate() gives the ids of training's prompt for ${folder}`, async () => {
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    for (const instruction of INSTRUCTIONS) {
      for (const input of ["你是谁？", " 1+1等于几?\n", ""]) {
        const { input_ids, labels } = await preprocess(
          { instruction, input, output: "好" },
          { tokenizer, config: { eos_token_id: 2 }, maxSeqLength: 1000 },
        );
        using adapter = adapterFolder(
          adapterChatTemplate(instruction, await promptFrame(tokenizer)),
        );
        const prompt = chatPrompt(tokenizer, { adapter: adapter.path });
        const ids = await prompt.encode([{ role: "user", content: input }]);
        assert.equal(prompt.source, "adapter");
        assert.deepEqual(ids, input_ids.slice(0, labels.lastIndexOf(-100) + 2));
      }
    }
  });
}

Deno.test("adapterChatTemplate() renders as transformers' Jinja renders it", () => {
  const template = adapterChatTemplate(golden.instruction);
  for (const { messages, text } of golden.templates) {
    const rendered = renderChatTemplate(template, messages, {
      addGenerationPrompt: true,
      variables: { bos_token: "<s>", eos_token: "</s>" },
    });
    assert.equal(rendered, text);
  }
});

Deno.test("chatPrompt() takes the adapter's template before the model's, and that before the recipe's", async () => {
  const templated = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/metaspace",
  );
  const plain = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/byte_level",
  );
  using adapter = adapterFolder("{{ messages[-1].content }}!");
  const question = [{ role: "user", content: "?" }];
  const withAdapter = chatPrompt(templated, { adapter: adapter.path });
  assert.equal(withAdapter.text(question), "?!");
  assert.equal(withAdapter.keepsHistory, false);
  const withModel = chatPrompt(templated, {
    adapter: "tests/fixtures/peft/trained",
  });
  assert.equal(withModel.source, "model");
  assert.equal(withModel.keepsHistory, true);
  const recipe = chatPrompt(plain, { instruction: "答" });
  assert.equal(recipe.source, "recipe");
  assert.equal(
    recipe.text(question),
    promptOf({ instruction: "答", input: "?" }),
  );
});

Deno.test("chatPrompt() puts the given instruction before a template's question", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  using adapter = adapterFolder(adapterChatTemplate("训练"));
  const prompt = chatPrompt(tokenizer, {
    adapter: adapter.path,
    instruction: "另一条",
  });
  assert.equal(
    prompt.text([{ role: "user", content: "?" }]),
    "<s>" + promptOf({ instruction: "另一条", input: "?" }),
  );
});

Deno.test("chatPrompt() does not keep history where a template refuses it", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  using adapter = adapterFolder(
    "{% if messages|length > 1 %}{{ raise_exception('one only') }}{% endif %}{{ messages[0].content }}",
  );
  const prompt = chatPrompt(tokenizer, { adapter: adapter.path });
  assert.equal(prompt.keepsHistory, false);
  assert.equal(prompt.text([{ role: "user", content: "x" }]), "x");
  const two = [{ role: "user", content: "x" }, { role: "user", content: "y" }];
  assert.throws(() => prompt.text(two), InputError);
});

Deno.test("adapterChatTemplate() has no BOS where the tokenizer adds none", () => {
  const template = adapterChatTemplate("答", { beginsWithBos: false });
  const text = renderChatTemplate(
    template,
    [{ role: "user", content: "?" }],
    { addGenerationPrompt: true, variables: { bos_token: "<s>" } },
  );
  assert.equal(text, promptOf({ instruction: "答", input: "?" }));
});

Deno.test("chatPrompt() finds the template of a checkpoint's run", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/byte_level",
  );
  using adapter = adapterFolder("of the run");
  const checkpoint = `${adapter.path}/checkpoint-10`;
  Deno.mkdirSync(checkpoint);
  const { source, text } = chatPrompt(tokenizer, { adapter: checkpoint });
  assert.equal(source, "adapter");
  assert.equal(text([{ role: "user", content: "?" }]), "of the run");
});
