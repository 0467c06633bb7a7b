/**
 * The tokenizer.json that is written beside a lone tokenizer.model: the tokenizers
 * library gives SentencePiece's own ids with it, and there is none where no
 * tokenizer.json could. `compare_tokenizers.py FOLDER --saved` asks transformers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { fileInfo } from "../../lib/formats/file_info.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { mergesOf } from "../../lib/tokenizer/sentencepiece_json.ts";
import { withTokenizer } from "./temporary_tokenizer.ts";

const DATA = "tests/fixtures/sentencepiece";
const { texts } = JSON.parse(
  Deno.readTextFileSync(`${DATA}/golden.json`),
) as { texts: string[] };
const MORE = [
  " a",
  "  a",
  "▁a",
  "<s>a",
  " <s> a</s> b",
  "a<|new|> b",
  "<|new|>a",
  "\n",
  "🌸 x",
];

/** Saves the model `name` with a config; ids before and after, null without a tokenizer.json. */
async function saved(
  name: string,
  config: Readonly<Record<string, unknown>>,
): Promise<{ before: number[][]; after: number[][] | null; json: string }> {
  return await withTokenizer(
    `${DATA}/${name}/tokenizer.model`,
    { "tokenizer_config.json": config },
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      const all = [...texts, ...MORE];
      const before = await tokenizer.encodeBatch(all);
      const output = `${folder}/output`;
      tokenizer.savePretrained(output);
      const path = `${output}/tokenizer.json`;
      const again = await AutoTokenizer.fromPretrained(output);
      assert.equal(again.vocabSize, tokenizer.vocabSize);
      assert.deepEqual(again.specialTokens, tokenizer.specialTokens);
      const after = await again.encodeBatch(all);
      assert.deepEqual(after, before);
      const json = fileInfo(path) === null ? "" : Deno.readTextFileSync(path);
      return { before, after: json === "" ? null : after, json };
    },
  );
}

function token(content: string, flags: object = {}): object {
  return { content, special: true, normalized: false, ...flags };
}

const NEW = { 900: token("<|new|>") };
const CONVERTED: Readonly<Record<string, Record<string, unknown>>> = {
  "Llama's class": { tokenizer_class: "LlamaTokenizer" },
  "Llama's class without legacy": {
    tokenizer_class: "LlamaTokenizer",
    legacy: false,
  },
  "a declared token": {
    tokenizer_class: "LlamaTokenizer",
    added_tokens_decoder: NEW,
    add_eos_token: true,
  },
  "a declared token without legacy": {
    tokenizer_class: "LlamaTokenizer",
    legacy: false,
    added_tokens_decoder: NEW,
  },
  "no space in front": {
    tokenizer_class: "LlamaTokenizer",
    legacy: false,
    add_prefix_space: false,
  },
  "a token that takes spaces": {
    added_tokens_decoder: { 900: token("<|new|>", { rstrip: true }) },
  },
  "code of its own": {
    auto_map: { AutoTokenizer: ["own.OwnTokenizer", null] },
    tokenizer_class: "InternLM2Tokenizer",
  },
};

for (const [name, config] of Object.entries(CONVERTED)) {
  Deno.test(`AutoTokenizer.savePretrained() writes a tokenizer.json with the ids of a tokenizer.model with ${name}`, async () => {
    const { json } = await saved("bpe", config);
    assert.notEqual(json, "");
  });
}

Deno.test("AutoTokenizer.savePretrained() writes a tokenizer.json that transformers takes as it stands", async () => {
  await withTokenizer(
    `${DATA}/bpe/tokenizer.model`,
    { "tokenizer_config.json": CONVERTED["code of its own"]! },
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      tokenizer.savePretrained(`${folder}/output`);
      const config = JSON.parse(
        Deno.readTextFileSync(`${folder}/output/tokenizer_config.json`),
      );
      assert.equal(config.tokenizer_class, "PreTrainedTokenizerFast");
      assert.equal(config.auto_map, undefined);
      assert.equal(config.pad_token, "</s>");
      // a folder saved to itself stays as it is
      tokenizer.savePretrained(folder);
      assert.equal(fileInfo(`${folder}/tokenizer.json`), null);
    },
  );
});

const KEPT: readonly (readonly [string, string, Record<string, unknown>])[] = [
  ["pieces with one score", "bpe_tied", {}],
  ["texts of users after a space in front", "bpe_symbols", {}],
  ["pieces out of use", "bpe_unused", {}],
  ["a unigram model", "unigram_bytes", {}],
  ["spaces that stay as they are", "unescaped", {}],
  ["a token of whole words", "bpe", {
    added_tokens_decoder: { 900: token("word", { single_word: true }) },
  }],
  ["a token that takes spaces without legacy", "bpe", {
    tokenizer_class: "LlamaTokenizer",
    legacy: false,
    added_tokens_decoder: { 900: token("<|new|>", { rstrip: true }) },
  }],
  ["special tokens as text", "bpe", { split_special_tokens: true }],
  ["a piece with another id", "bpe", {
    added_tokens_decoder: { 950: token("</s>") },
  }],
];

for (const [name, model, config] of KEPT) {
  Deno.test(`AutoTokenizer.savePretrained() writes no tokenizer.json beside a tokenizer.model with ${name}`, async () => {
    const { json } = await saved(model, config);
    assert.equal(json, "");
  });
}

/** Pieces of one type with scores that fall. */
function pieces(...texts: string[]): Parameters<typeof mergesOf>[0] {
  return texts.map((piece, i) => ({ piece, score: -i, type: "normal" }));
}

Deno.test("mergesOf() orders pairs by score, the longer left side first, and finds what no order can express", () => {
  assert.deepEqual(mergesOf(pieces("a", "b", "ab", "aba", "ba")), [
    ["a", "b"],
    ["ab", "a"],
    ["a", "ba"],
    ["b", "a"],
  ]);
  assert.deepEqual(mergesOf(pieces("a", "aa", "aaa")), [
    ["a", "a"],
    ["aa", "a"],
    ["a", "aa"],
  ]);
  assert.equal(mergesOf(pieces("a", "ab")), null);
  // joined from left to right: "ab", "abab", "ab" has one such pair at each place
  assert.equal(mergesOf(pieces("a", "b", "ab", "abab", "ababab")), null);
  const [a, b, ab] = pieces("a", "b", "ab");
  assert.equal(
    mergesOf([a!, b!, ab!, { piece: "ba", score: ab!.score, type: "normal" }]),
    null,
  );
});
