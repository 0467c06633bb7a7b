/**
 * loadDataset() with each shape, prompt format and choice of what is trained, and
 * what it says of them.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  loadDataset,
  turnFormat,
  type TurnFormatParts,
} from "../../lib/data/mod.ts";
import { chatPrompt } from "../../lib/generation/mod.ts";
import { GOLDEN, TURNS, withTemplate } from "./chat_rows.ts";

async function loaded(
  row: unknown,
  options: Partial<Parameters<typeof loadDataset>[1]> = {},
): Promise<
  { text: string; learned: string; description: string; asked: string }
> {
  const path = Deno.makeTempFileSync({ suffix: ".jsonl" });
  try {
    Deno.writeTextFileSync(path, JSON.stringify(row));
    const tokenizer = await withTemplate(GOLDEN.templates.chatml!.marked);
    const { features, description, promptFormat, question } = await loadDataset(
      path,
      {
        tokenizer,
        config: { eos_token_id: tokenizer.eosTokenId! },
        maxSeqLength: 1000,
        ...options,
      },
    );
    const { input_ids, labels } = features[0]!;
    const prompt = await chatPrompt(tokenizer.own, {
      template: promptFormat.chatTemplate,
    });
    const text = (ids: readonly number[]): string => tokenizer.own.decode(ids);
    return {
      text: text(input_ids),
      learned: text(labels.filter((id) => id !== -100)),
      description: description.replace(path, "F"),
      asked: prompt.text([{ role: "user", content: question }]),
    };
  } finally {
    Deno.removeSync(path);
  }
}

const MESSAGES = {
  messages: TURNS.map(({ role, content }) => ({ role, content })),
};

Deno.test("loadDataset() trains all answers, the last one, or everything", async () => {
  const all = await loaded(MESSAGES);
  assert.equal(all.learned, "bb<|im_end|>\ndd<|im_end|>\n");
  const last = await loaded(MESSAGES, { trainOn: "last" });
  assert.equal(last.learned, "dd<|im_end|>\n");
  const everything = await loaded(MESSAGES, { trainOn: "everything" });
  assert.equal(everything.learned, everything.text);
  assert.equal(all.text, everything.text);
});

Deno.test("loadDataset() says which shape and prompt format it took, and why", async () => {
  assert.equal(
    (await loaded(MESSAGES)).description,
    "F: messages rows, prompt format chat (the model has a chat template)",
  );
  assert.equal(
    (await loaded({ instruction: "a", output: "b" }, {
      promptFormat: "recipe",
    }))
      .description,
    "F: instruction rows, prompt format recipe (as asked for)",
  );
});

Deno.test("loadDataset() takes the model's template where nothing is asked, the recipe for instruction rows without one or with the recipe's frame, and says why", async () => {
  const instruction = { instruction: "a", output: "b" };
  const why = async (
    row: unknown,
    template: string | null,
  ): Promise<string> =>
    (await loaded(row, { tokenizer: await withTemplate(template) }))
      .description.replace(/^F: \w+ rows, prompt format /, "");
  const { marked } = GOLDEN.templates.chatml!;
  const own = "chat (the model has a chat template)";
  assert.equal(await why(instruction, marked), own);
  assert.equal(await why(MESSAGES, marked), own);
  const none = "recipe (the model has no chat template)";
  assert.equal(await why(instruction, null), none);
  assert.equal(await why(MESSAGES, null), none);
  const atom =
    "{% for m in messages %}{{ ('Human: ' if m.role == 'user' else 'Assistant: ') + m.content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";
  assert.equal(
    await why(instruction, atom),
    "recipe (the model's chat template has the recipe's Human and Assistant turns)",
  );
  assert.equal(await why(MESSAGES, atom), own);
});

Deno.test("loadDataset() takes the format that an adapter was trained in, unless another is asked for", async () => {
  const instruction = { instruction: "a", output: "b" };
  const storedFormat = { name: "recipe", folder: "A" };
  const stored = await loaded(instruction, { storedFormat });
  assert.equal(
    stored.description,
    "F: instruction rows, prompt format recipe (stored with A)",
  );
  const recipe = await loaded(instruction, { promptFormat: "recipe" });
  assert.equal(stored.text, recipe.text);
  const chatml = await loaded(instruction, {
    promptFormat: "chatml",
    storedFormat,
  });
  assert.match(chatml.description, /chatml \(as asked for\)/);
  const chatTemplate =
    "{% for m in messages %}{{ '#' + m.role[0] + m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '#a' }}{% endif %}";
  const other = await loaded(instruction, {
    storedFormat: { name: "chat", chatTemplate, folder: "A" },
  });
  assert.equal(other.text, "#ua<|end|>#ab<|end|>");
  assert.equal(other.asked, "#ua<|end|>#a");
  const ofTexts = { storedFormat: { name: "text", folder: "A" } };
  assert.match((await loaded(MESSAGES, ofTexts)).description, /format chat/);
});

Deno.test("loadDataset() trains texts as they stand, from BOS to EOS, and asks for more of one", async () => {
  const { text, learned, asked } = await loaded({
    text: "some words to learn here",
  });
  assert.equal(text, "<|begin|>some words to learn here<|end|>");
  assert.equal(learned, "some words to learn here<|end|>");
  assert.equal(asked, "<|begin|>some words");
});

Deno.test("loadDataset() puts a prompt and its completion into the model's template, or leaves them as they stand", async () => {
  const row = { prompt: "p:", completion: " c" };
  const chat = await loaded(row);
  assert.equal(chat.learned, " c<|im_end|>\n");
  const text = await loaded(row, { promptFormat: "text" });
  assert.equal(text.text, "<|begin|>p: c<|end|>");
  assert.equal(text.learned, " c<|end|>");
  assert.equal(text.asked, "<|begin|>p:");
});

Deno.test("loadDataset() refuses a named format whose tokens the tokenizer lacks", async () => {
  await assert.rejects(loaded(MESSAGES, { promptFormat: "phi3" }), {
    name: "InputError",
    message:
      'Cannot use prompt format phi3: the tokenizer has no token "<|user|>", "<|assistant|>", --prompt_format recipe needs none',
  });
  const { text, learned } = await loaded(MESSAGES, { promptFormat: "chatml" });
  const turns =
    "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nbb<|im_end|>\n";
  assert.equal(
    text,
    `${turns}${turns.replace("a<|", "c<|").replace("bb", "dd")}`.slice(0, -1),
  );
  assert.equal(learned, "bb<|im_end|>dd<|im_end|>");
});

Deno.test("turnFormat() puts its start before rows and questions, and the tokenizer's BOS alone where only that is asked for", async () => {
  const tokenizer = await withTemplate(null);
  const { bosTokenId, eosTokenId, own } = tokenizer;
  const row = { messages: TURNS.slice(0, 2) };
  const spelled = async (
    parts: Partial<TurnFormatParts>,
  ): Promise<readonly [string, string]> => {
    const format = await turnFormat({
      name: "test",
      user: [{ place: "content" }],
      assistant: "=",
      ...parts,
    }).create({
      tokenizer: {
        ...tokenizer,
        // one that puts BOS before and EOS after a text
        encodeBatch: async (texts, options) =>
          (await own.encodeBatch(texts, {
            ...options,
            addSpecialTokens: false,
          })).map((ids) =>
            options.addSpecialTokens === false
              ? ids
              : [bosTokenId!, ...ids, eosTokenId!]
          ),
      },
      eosTokenId: eosTokenId!,
      system: null,
    });
    const [encoded] = await format.encode([row], 99);
    const prompt = await chatPrompt(own, { template: format.chatTemplate });
    return [
      own.decode(encoded!.input_ids),
      prompt.text(row.messages.slice(0, 1)),
    ];
  };
  assert.deepEqual(await spelled({ start: "^" }), ["^a=bb<|end|>", "^a="]);
  assert.deepEqual(await spelled({ addsSpecialTokens: "bos" }), [
    "<|begin|>a=bb<|end|>",
    "<|begin|>a=",
  ]);
});
