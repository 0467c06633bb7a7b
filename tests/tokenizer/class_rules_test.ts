/**
 * What the class of a tokenizer.model changes: added tokens in a text, spaces in
 * front, where special tokens are numbered.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { SentencePiece } from "../../lib/tokenizer/sentencepiece.ts";
import { readSentencePieceModel } from "../../lib/tokenizer/sentencepiece_model.ts";
import { withTokenizer } from "./temporary_tokenizer.ts";

const DATA = "tests/fixtures/sentencepiece";
const SIZE = 900;

/** An added token of tokenizer_config.json. */
function token(content: string, flags: object = {}): object {
  return { content, special: true, normalized: false, ...flags };
}

/** Ids without tokens around them of `texts` with the model "bpe" and a config. */
async function idsWith(
  config: Readonly<Record<string, unknown>>,
  texts: readonly string[],
): Promise<number[][]> {
  return await withTokenizer(
    `${DATA}/bpe/tokenizer.model`,
    { "tokenizer_config.json": config },
    async (folder) =>
      (await AutoTokenizer.fromPretrained(folder))
        .encodeBatch(texts, { addSpecialTokens: false }),
  );
}

/** SentencePiece's own ids with the model "bpe". */
function ownIds(text: string, addDummyPrefix?: boolean): number[] {
  const bytes = Deno.readFileSync(`${DATA}/bpe/tokenizer.model`);
  return new SentencePiece(readSentencePieceModel(bytes))
    .encode(text, addDummyPrefix);
}

Deno.test("AutoTokenizer reads two whole-word tokens side by side as text", async () => {
  const bos_token = {
    __type: "AddedToken",
    content: "<s>",
    single_word: true,
  };
  assert.deepEqual(
    await idsWith({ bos_token }, ["<s>", "<s><s>", "<s></s>", "<s> <s>"]),
    [
      [1],
      ownIds("<s><s>"),
      ownIds("<s></s>"),
      [1, ...ownIds(" "), 1],
    ],
  );
});

Deno.test("AutoTokenizer takes the spaces around an added token that Python's strip() takes", async () => {
  const added_tokens_decoder = {
    2000: token("<l>", { lstrip: true }),
    2001: token("<r>", { rstrip: true }),
  };
  const texts = ["a\u001c\u0085\u3000<l>", "<r>\u001f\u2028a", "<r>\ufeffa"];
  assert.deepEqual(await idsWith({ added_tokens_decoder }, texts), [
    [...ownIds("a"), 2000],
    [2001, ...ownIds("a")],
    [2001, ...ownIds("\ufeffa")],
  ]);
});

Deno.test("AutoTokenizer splits no token of a tokenizer.model with split_special_tokens, and keeps the ids of added pieces", async () => {
  const added_tokens_decoder = {
    950: token("<|new|>"),
    951: token("朋友", { special: false }),
  };
  const text = "a朋友<|new|></s>";
  const config = { added_tokens_decoder, split_special_tokens: true };
  const own = ownIds(text);
  const [ids] = await idsWith(config, [text]);
  const piece = ownIds("朋友", false);
  assert.equal(piece.length, 1);
  assert.deepEqual(ids, own.map((id) => id === piece[0] ? 951 : id));
  assert(ids!.includes(951));
});

Deno.test("AutoTokenizer counts a token that stands at two ids once", async () => {
  await withTokenizer(
    `${DATA}/bpe/tokenizer.model`,
    {
      "tokenizer_config.json": {
        added_tokens_decoder: { 900: token("<|new|>"), 901: token("朋友") },
      },
    },
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      assert.equal(tokenizer.vocabSize, SIZE + 1);
    },
  );
});

Deno.test("AutoTokenizer drops the first space before a special token that has a role only, without legacy", async () => {
  const config = {
    tokenizer_class: "LlamaTokenizer",
    legacy: false,
    added_tokens_decoder: { 900: token("<|new|>") },
  };
  const [space] = ownIds("▁", false);
  assert.deepEqual(await idsWith(config, ["<|new|>", "<s>"]), [
    [space, 900],
    [1],
  ]);
});

Deno.test("AutoTokenizer puts a space before every stretch with the classes that do not know legacy", async () => {
  for (const tokenizer_class of ["BaichuanTokenizer", "InternLM2Tokenizer"]) {
    assert.deepEqual(
      await idsWith({ tokenizer_class, legacy: false }, ["a<s>a"]),
      [[...ownIds("a"), 1, ...ownIds("a")]],
    );
  }
});

Deno.test("AutoTokenizer reads a tokenizer.model of CodeLlama without a space after special tokens, with its own tokens", async () => {
  const config = { tokenizer_class: "CodeLlamaTokenizer", legacy: true };
  assert.deepEqual(await idsWith(config, ["a<s>a"]), [
    [...ownIds("a"), 1, ...ownIds("a", false)],
  ]);
  await withTokenizer(
    `${DATA}/bpe/tokenizer.model`,
    { "tokenizer_config.json": config },
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      assert.equal(tokenizer.vocabSize, SIZE + 4);
      assert.equal(tokenizer.decode([SIZE]), "▁<PRE>");
    },
  );
});

Deno.test("AutoTokenizer gives InternLM2's class its token for padding", async () => {
  await withTokenizer(
    `${DATA}/bpe/tokenizer.model`,
    { "tokenizer_config.json": { tokenizer_class: "InternLM2Tokenizer" } },
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      assert.equal(tokenizer.padTokenId, 2);
    },
  );
});

Deno.test("AutoTokenizer numbers Qwen v1's special tokens after its ranks where the model has no room for their own ids", async () => {
  for (const [vocab_size, start] of [[1000, 600], [151_936, 151_643]]) {
    await withTokenizer(
      `${DATA}/qwen/qwen.tiktoken`,
      { "config.json": { model_type: "qwen", vocab_size } },
      async (folder) => {
        const tokenizer = await AutoTokenizer.fromPretrained(folder);
        assert.equal(tokenizer.eosTokenId, start);
        assert.deepEqual(await tokenizer.encode("<|extra_204|>"), [
          start! + 207,
        ]);
      },
    );
  }
});
