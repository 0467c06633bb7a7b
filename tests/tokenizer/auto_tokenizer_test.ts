/**
 * AutoTokenizer against transformers 5.18 on four small tokenizers of our own;
 * tests/fixtures/make_data.py made the numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

interface Golden {
  readonly special: Record<"bos" | "eos" | "unk" | "pad", number | null>;
  readonly size: number;
  readonly ids: number[][];
  readonly plain: number[][];
  readonly cut: number[][];
  readonly cut_plain: number[][];
  readonly decoded: string[];
  readonly decoded_skip: string[];
  readonly chat?: string[];
}

const DATA = "tests/fixtures/data";

function golden(): { texts: string[]; tokenizers: Record<string, Golden> } {
  return JSON.parse(Deno.readTextFileSync(`${DATA}/golden.json`));
}

async function messageOf(make: () => Promise<unknown>): Promise<string> {
  try {
    await make();
  } catch (error) {
    assert(error instanceof InputError, `${error} is not an InputError`);
    return error.message;
  }
  throw new Error("nothing was thrown");
}

for (const [name, want] of Object.entries(golden().tokenizers)) {
  const { texts } = golden();
  const load = () => AutoTokenizer.fromPretrained(`${DATA}/${name}`);

  Deno.test(`AutoTokenizer.encode() gives the reference's ids for ${name}`, async () => {
    const tokenizer = await load();
    assert.deepEqual(await tokenizer.encodeBatch(texts), want.ids);
    assert.deepEqual(
      await tokenizer.encodeBatch(texts, { addSpecialTokens: false }),
      want.plain,
    );
    for (const [index, text] of texts.entries()) {
      assert.deepEqual(await tokenizer.encode(text), want.ids[index]);
    }
  });

  Deno.test(`AutoTokenizer.encode() truncates as the reference for ${name}`, async () => {
    const tokenizer = await load();
    assert.deepEqual(
      await tokenizer.encodeBatch(texts, { maxLength: 4 }),
      want.cut,
    );
    assert.deepEqual(
      await tokenizer.encodeBatch(texts, {
        maxLength: 4,
        addSpecialTokens: false,
      }),
      want.cut_plain,
    );
  });

  Deno.test(`AutoTokenizer names the reference's special ids for ${name}`, async () => {
    const tokenizer = await load();
    assert.deepEqual({
      bos: tokenizer.bosTokenId,
      eos: tokenizer.eosTokenId,
      unk: tokenizer.unkTokenId,
      pad: tokenizer.padTokenId,
    }, want.special);
    assert.equal(tokenizer.vocabSize, want.size);
  });

  Deno.test(`AutoTokenizer.decode() gives the reference's text for ${name}`, async () => {
    const tokenizer = await load();
    assert.deepEqual(
      want.ids.map((ids) => tokenizer.decode(ids)),
      want.decoded,
    );
    assert.deepEqual(
      want.ids.map((ids) => tokenizer.decode(ids, { skipSpecialTokens: true })),
      want.decoded_skip,
    );
  });
}

Deno.test("AutoTokenizer.applyChatTemplate() renders as the reference", async () => {
  for (const name of ["legacy", "metaspace"]) {
    const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/${name}`);
    const messages = [
      { role: "system", content: "守规矩" },
      { role: "user", content: "你好" },
      { role: "assistant", content: "好" },
    ];
    const rendered = [false, true].map((addGenerationPrompt) =>
      tokenizer.applyChatTemplate(messages, { addGenerationPrompt })
    );
    assert.deepEqual(rendered, golden().tokenizers[name]?.chat);
  }
});

Deno.test("AutoTokenizer.applyChatTemplate() says that there is no template", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/backend`);
  assert.throws(() => tokenizer.applyChatTemplate([]), {
    name: "InputError",
    message:
      `Cannot apply the chat template of "${DATA}/backend": it has none, chat_template.jinja or "chat_template" in tokenizer_config.json is needed`,
  });
});

Deno.test("AutoTokenizer.encode() keeps concurrent limits apart", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/legacy`);
  const text = "本宫今日在御花园赏梅".repeat(20);
  const lengths = [3, 50, 7].map((maxLength) =>
    tokenizer.encode(text, { maxLength })
  );
  assert.deepEqual((await Promise.all(lengths)).map((ids) => ids.length), [
    3,
    50,
    7,
  ]);
});

Deno.test("AutoTokenizer.savePretrained() writes files that load to the same ids", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const name of ["metaspace", "backend"]) {
      const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/${name}`);
      tokenizer.savePretrained(`${folder}/${name}/deep`);
      const again = await AutoTokenizer.fromPretrained(
        `${folder}/${name}/deep`,
      );
      const text = "<s>Human: 你好<|mark|>🌸";
      assert.deepEqual(await again.encode(text), await tokenizer.encode(text));
      assert.equal(again.padTokenId, tokenizer.padTokenId);
      assert.equal(again.chatTemplate, tokenizer.chatTemplate);
    }
    const tokenizer = await AutoTokenizer.fromPretrained(
      `${folder}/backend/deep`,
    );
    tokenizer.savePretrained(`${folder}/backend/deep/`);
    assert.deepEqual(
      Deno.readFileSync(`${folder}/backend/deep/tokenizer.json`),
      Deno.readFileSync(`${DATA}/backend/tokenizer.json`),
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("AutoTokenizer.fromPretrained() refuses a folder without tokenizer.json", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const load = (name = "") =>
      messageOf(() => AutoTokenizer.fromPretrained(folder + name));
    assert.equal(
      await load("/nowhere"),
      `Cannot load tokenizer from "${folder}/nowhere": it does not exist, the folder of a model in Hugging Face format is needed`,
    );
    assert.equal(
      await load(),
      `Cannot load tokenizer from "${folder}": it has no tokenizer.json, tokenizer.model, qwen.tiktoken, or vocab.json with merges.txt, the folder of a model in Hugging Face format is needed`,
    );
    Deno.writeTextFileSync(`${folder}/tokenizer.model`, "");
    assert.equal(
      await load(),
      `Cannot load tokenizer from "${folder}": in tokenizer.model it has no pieces, a model of SentencePiece is needed`,
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("AutoTokenizer.fromPretrained() refuses a broken tokenizer.json", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const load = (json: string) => {
      Deno.writeTextFileSync(`${folder}/tokenizer.json`, json);
      return messageOf(() => AutoTokenizer.fromPretrained(folder));
    };
    assert.match(await load("{"), /tokenizer\.json is not JSON, /);
    assert.match(await load("[]"), /tokenizer\.json is not a JSON object$/);
    assert.match(
      await load("{}"),
      /in tokenizer\.json model is missing, an object is needed$/,
    );
    const model = { type: "BPE", vocab: { a: 0 }, merges: ["a b"] };
    assert.match(
      await load(JSON.stringify({ model })),
      /which model\.vocab does not have$/,
    );
    const unknown = { type: "WordLevel", vocab: {}, unk_token: null };
    assert.match(
      await load(JSON.stringify({ model: unknown })),
      /model\.unk_token is null, a string/,
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("AutoTokenizer.encodeBatch() and encodeWithOffsets() keep the order of more texts than are encoded at a time", async () => {
  for (const folder of ["legacy", "../sentencepiece/bpe"]) {
    const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/${folder}`);
    for (const count of [0, 255, 256, 257, 512, 600]) {
      const texts = Array.from({ length: count }, (_, i) => `${i} 皇上`);
      const ids = await tokenizer.encodeBatch(texts);
      const found = await tokenizer.encodeWithOffsets(texts);
      assert.deepEqual([ids.length, found.length], [count, count]);
      for (const i of [0, 255, 256, 511, 512, 599].filter((i) => i < count)) {
        assert.deepEqual(ids[i], await tokenizer.encode(texts[i]!));
        assert.deepEqual(found[i]!.ids, ids[i]!.slice(1));
      }
    }
  }
});
