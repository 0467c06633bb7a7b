/**
 * Prompts of a chat: whose template asks, and that it asks what training spelled,
 * id for id.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type Message, promptFormat } from "../../lib/data/mod.ts";
import { chatPrompt } from "../../lib/generation/mod.ts";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import {
  type ChatMessage,
  renderChatTemplate,
} from "../../lib/tokenizer/chat_template.ts";

interface GoldenTemplate {
  readonly instruction: string | null;
  readonly messages: ChatMessage[];
  readonly text: string;
  readonly ids: number[];
}

const golden: readonly GoldenTemplate[] = JSON.parse(
  Deno.readTextFileSync("tests/fixtures/generation.json"),
).templates;

/** A folder with `template` as its chat template; gone with the block. */
function adapterFolder(template: string): Disposable & { path: string } {
  const path = Deno.makeTempDirSync();
  Deno.writeTextFileSync(`${path}/chat_template.jinja`, template);
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

/** The recipe's template of the tokenizer in a folder. */
async function recipeTemplate(
  tokenizer: AutoTokenizer,
  system: string | null,
): Promise<string> {
  const format = await promptFormat("recipe", {
    tokenizer,
    eosTokenId: 2,
    system,
  });
  return format.chatTemplate;
}

const folders = [
  ...["legacy", "metaspace", "backend", "byte_level"].map((name) =>
    `tests/fixtures/data/${name}`
  ),
  "models/tiny-atom",
];
const INSTRUCTIONS = [
  ...golden.map((it) => it.instruction ?? "无"),
  "",
  " 前 ",
];

for (const folder of folders) {
  Deno.test(`chatPrompt() asks what the recipe's format trains, for ${folder}`, async () => {
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    for (const system of [...INSTRUCTIONS, null]) {
      const format = await promptFormat("recipe", {
        tokenizer,
        eosTokenId: 2,
        system,
      });
      using adapter = adapterFolder(format.chatTemplate);
      const prompt = await chatPrompt(tokenizer, { adapter: adapter.path });
      assert.equal(prompt.source, "adapter");
      for (const content of ["你是谁？", " 1+1等于几?\n", ""]) {
        const asked: Message[] = [
          ...system === null
            ? []
            : [{ role: "system", content: system, trained: false }],
          { role: "user", content, trained: false },
        ];
        const answer = { role: "assistant", content: "", trained: true };
        const [row] = await format.encode(
          [{ messages: [...asked, answer] }],
          1000,
        );
        assert.equal(row!.input_ids.at(-1), 2);
        assert.deepEqual(
          await prompt.encode([{ role: "user", content }]),
          row!.input_ids.slice(0, -1),
        );
        assert.deepEqual(
          await prompt.encode(asked),
          row!.input_ids.slice(0, -1),
        );
      }
    }
  });
}

Deno.test("the recipe's chat template gives transformers' text and ids", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  for (const { instruction, messages, text, ids } of golden) {
    const template = await recipeTemplate(tokenizer, instruction);
    const rendered = renderChatTemplate(template, messages, {
      addGenerationPrompt: true,
      variables: { bos_token: "<s>", eos_token: "</s>" },
    });
    assert.equal(rendered, text);
    const prompt = await chatPrompt(tokenizer, { template });
    assert.deepEqual(await prompt.encode(messages), ids);
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
  const withAdapter = await chatPrompt(templated, { adapter: adapter.path });
  assert.equal(withAdapter.text(question), "?!");
  assert.equal(withAdapter.keepsHistory, false);
  const withModel = await chatPrompt(templated, {
    adapter: "tests/fixtures/peft/trained",
  });
  assert.equal(withModel.source, "model");
  assert.equal(withModel.keepsHistory, true);
  const recipe = await chatPrompt(plain, { instruction: "答" });
  assert.equal(recipe.source, "recipe");
  assert.equal(
    recipe.text(question),
    "<|begin|><s>Human: 答请回答用户问题: ?\n</s><s>Assistant:",
  );
});

Deno.test("chatPrompt() puts the given instruction before a template's question", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  for (const system of ["训练", null]) {
    const prompt = await chatPrompt(tokenizer, {
      template: await recipeTemplate(tokenizer, system),
      instruction: "另一条",
    });
    assert.equal(
      prompt.text([{ role: "user", content: "?" }]),
      "<s><s>Human: 另一条请回答用户问题: ?\n</s><s>Assistant:",
    );
  }
});

Deno.test("chatPrompt() does not keep history where a template refuses it", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  using adapter = adapterFolder(
    "{% if messages|length > 1 %}{{ raise_exception('one only') }}{% endif %}{{ messages[0].content }}",
  );
  const prompt = await chatPrompt(tokenizer, { adapter: adapter.path });
  assert.equal(prompt.keepsHistory, false);
  assert.equal(prompt.text([{ role: "user", content: "x" }]), "x");
  const two = [{ role: "user", content: "x" }, { role: "user", content: "y" }];
  assert.throws(() => prompt.text(two), InputError);
});

Deno.test("chatPrompt() does not keep history where a template leaves answers out", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  const { keepsHistory } = await chatPrompt(tokenizer, {
    template:
      "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
  });
  assert.equal(keepsHistory, false);
});

Deno.test("chatPrompt() finds the template of a checkpoint's run, where an older one has none", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/byte_level",
  );
  using adapter = adapterFolder("of the run");
  const checkpoint = `${adapter.path}/checkpoint-10`;
  Deno.mkdirSync(checkpoint);
  const asked = [{ role: "user", content: "?" }];
  const ofRun = await chatPrompt(tokenizer, { adapter: checkpoint });
  assert.equal(ofRun.source, "adapter");
  assert.equal(ofRun.text(asked), "of the run");
  Deno.writeTextFileSync(`${checkpoint}/chat_template.jinja`, "its own");
  const own = await chatPrompt(tokenizer, { adapter: checkpoint });
  assert.equal(own.text(asked), "its own");
});
