/**
 * A beginning that texts share is encoded once: to the ids and offsets that each
 * text has alone, for every kind of tokenizer.json.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoTokenizer } from "../../lib/tokenizer/mod.ts";
import type { NativeEncoding } from "../../lib/tokenizer/native_tokenizer.ts";
import { PrefixCutter } from "../../lib/tokenizer/shared_prefix.ts";
import type { JsonObject } from "../../lib/tokenizer/tokenizer_files.ts";

const FOLDERS = [
  "models/tiny-atom",
  ...["backend", "byte_level", "chat_byte_level", "chat_legacy", "legacy"]
    .map((name) => `tests/fixtures/data/${name}`),
  "tests/fixtures/data/metaspace",
  ...["gpt2", "gpt2_prefix_bos", "qwen2", "no_config"]
    .map((name) => `tests/fixtures/tokenizers/parts/${name}`),
  ...["clip", "llama3", "mixture", "prefix", "unigram", "wordpiece"]
    .map((name) => `tests/fixtures/tokenizers/${name}`),
];
const BEGINNINGS = [
  "<s>Human: 现在你要扮演皇帝身边的女人--甄嬛，她说话很有分寸，从不多言，也不轻易得罪人。请回答用户问题: ",
  "<|im_start|>system\nYou are a helpful assistant who always answers in one line.<|im_end|>\n<|im_start|>user\n",
  "  The cat sat on the mat: it's a fine day's work, isn't it? (e\u0301) naïve, 你好世界！",
  `${"x".repeat(60)}.`,
  "👩🏽‍🚀 Ⅷ ½ 𝒳𝔜 御花园 word: 3 < 4 != 5 => 一二三四五六七八九十，好。So many things to say",
];
const ENDS = [
  ..."a:'<=.， \n好é\u0301\u0338…1▁".split(""),
  ...["'s", "</s>", "<|im_end|>", " word", "  two", "\n\n", "👩🏽‍🚀", "御花园"],
];

/** A sequence of numbers below one that is always the same. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Twelve texts that share a beginning. */
function sharing(random: () => number): string[] {
  const below = (limit: number): number => Math.floor(random() * limit);
  const beginning = BEGINNINGS[below(BEGINNINGS.length)]! +
    BEGINNINGS[below(BEGINNINGS.length)]!;
  const cut = beginning.slice(0, 50 + below(beginning.length));
  return Array.from({ length: 12 }, () =>
    cut.toWellFormed() +
    Array.from(
      { length: 1 + below(6) },
      () => ENDS[below(ENDS.length)]!,
    ).join(""));
}

for (const folder of FOLDERS) {
  Deno.test(`encodeBatch() gives texts with a shared beginning the ids and offsets of each alone, ${folder}`, async () => {
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    const random = seeded(11);
    for (let round = 0; round < 12; round++) {
      const texts = sharing(random);
      for (
        const options of [
          {},
          { addSpecialTokens: false },
          { maxLength: 20 + round },
        ]
      ) {
        const together = await tokenizer.encodeBatch(texts, options);
        for (const [at, text] of texts.entries()) {
          assert.deepEqual(
            together[at],
            await tokenizer.encode(text, options),
            JSON.stringify(text),
          );
        }
      }
      const together = await tokenizer.encodeWithOffsets(texts);
      for (const [at, text] of texts.entries()) {
        const [alone] = await tokenizer.encodeWithOffsets([text]);
        assert.deepEqual(together[at], alone, JSON.stringify(text));
      }
    }
  });
}

for (const folder of ["models/tiny-atom", "tests/fixtures/tokenizers/llama3"]) {
  Deno.test(`encodeBatch() makes of a long text only the ids that are kept, ${folder}`, async () => {
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    const random = seeded(4);
    const parts = [
      ...BEGINNINGS,
      "a, b",
      "词。",
      " ".repeat(600),
      "🙂\n",
      "'s",
    ];
    const texts = Array.from({ length: 6 }, () => {
      let text = "";
      while (text.length < 60_000) {
        text += parts[Math.floor(random() * parts.length)];
      }
      return text;
    });
    texts.push("-".repeat(60_000));
    for (const addSpecialTokens of [true, false]) {
      const whole = await tokenizer.encodeBatch(texts, { addSpecialTokens });
      for (const maxLength of [40, 700]) {
        const kept = await tokenizer.encodeBatch(texts, {
          maxLength,
          addSpecialTokens,
        });
        assert.deepEqual(kept, whole.map((ids) => ids.slice(0, maxLength)));
      }
    }
  });
}

Deno.test("encodeBatch() makes all ids of a long text whose beginning has too few", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const long = `<|${"x".repeat(96)}|>`;
    for (const { name } of Deno.readDirSync(LLAMA3)) {
      const text = Deno.readTextFileSync(`${LLAMA3}/${name}`);
      Deno.writeTextFileSync(
        `${folder}/${name}`,
        text.replaceAll("<|end|>", long),
      );
    }
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    // 110 ids, and then a place to cut
    const text = long.repeat(110) + "a, ".repeat(3000);
    const whole = await tokenizer.encode(text);
    assert(whole.length > 3000 && whole[5] === whole[105]);
    assert.deepEqual(
      await tokenizer.encode(text, { maxLength: 700 }),
      whole.slice(0, 700),
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("encodeBatch() takes the end of a text where the tokenizer is cut on the left", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
    tokenizer.savePretrained(folder);
    const path = `${folder}/tokenizer_config.json`;
    const config = JSON.parse(Deno.readTextFileSync(path));
    Deno.writeTextFileSync(
      path,
      JSON.stringify({ ...config, truncation_side: "left" }),
    );
    const left = await AutoTokenizer.fromPretrained(folder);
    const text = "词, a, ".repeat(9000);
    const options = { addSpecialTokens: false };
    assert.deepEqual(
      await left.encode(text, { ...options, maxLength: 30 }),
      (await tokenizer.encode(text, options)).slice(-30),
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

const LLAMA3 = "tests/fixtures/tokenizers/llama3";

const read = (folder: string): JsonObject =>
  JSON.parse(Deno.readTextFileSync(`${folder}/tokenizer.json`));

/** The texts that reach the library for `texts`. */
async function encoded(
  json: JsonObject,
  texts: readonly string[],
): Promise<string[]> {
  const seen: string[] = [];
  const encoder = {
    encodeBatch(batch: readonly string[]): Promise<NativeEncoding[]> {
      seen.push(...batch);
      return Promise.resolve(batch.map(() => ({
        getIds: () => [1],
        getSpecialTokensMask: () => [0],
      })));
    },
  };
  await PrefixCutter.of(json)?.encodeBatch(texts, {
    encoder,
    addSpecialTokens: true,
  });
  return seen;
}

const INSTRUCTION = BEGINNINGS[0]!;
const QUESTIONS = Array.from({ length: 9 }, (_, at) => `${INSTRUCTION}a${at}`);

Deno.test("PrefixCutter hands the recipe's instruction to the library once, for both kinds of tokenizers", async () => {
  for (
    const folder of ["models/tiny-atom", "tests/fixtures/tokenizers/llama3"]
  ) {
    const seen = await encoded(read(folder), QUESTIONS);
    const [beginning, anchor, ...rest] = seen;
    assert.equal(anchor, beginning!.slice(-1), folder);
    assert.equal(beginning! + rest[3]!.slice(1), QUESTIONS[3]);
    assert(rest.every((text) => text.length < 12), rest[0]!);
  }
});

Deno.test("PrefixCutter leaves texts whole where a token could reach across, or the tokenizer is of no known kind", async () => {
  const atom = read("models/tiny-atom");
  const llama3 = read("tests/fixtures/tokenizers/llama3");
  const added = (json: JsonObject, token: object): JsonObject => ({
    ...json,
    added_tokens: [...json["added_tokens"] as object[], token],
  });
  const model = atom["model"] as JsonObject;
  const letters = "abcdefghijklmnopqrstuvwxyz".repeat(3);
  const whole: [string, JsonObject, string][] = [
    ["single_word", added(atom, { content: "x", single_word: true }), ""],
    ["dropout", { ...atom, model: { ...model, dropout: 0.1 } }, ""],
    ["merges", { ...atom, model: { ...model, ignore_merges: true } }, ""],
    ["suffix", {
      ...atom,
      model: { ...model, end_of_word_suffix: "</w>" },
    }, ""],
    ["normalizer", { ...atom, normalizer: { type: "NFKC" } }, ""],
    ["lower", { ...llama3, normalizer: { type: "Lowercase" } }, ""],
    ["pattern", {
      ...llama3,
      pre_tokenizer: {
        type: "Split",
        pattern: { Regex: "\\S+" },
        behavior: "Isolated",
        invert: false,
      },
    }, ""],
    ["no punctuation", llama3, letters],
    ["token with the colon", added(llama3, { content: "a:" }), `${letters}:`],
    ["apostrophe", llama3, `${letters}'`],
    ["no letter", llama3, `${"12345 ".repeat(20)}!!`],
  ];
  for (const [name, json, beginning] of whole) {
    const texts = beginning === ""
      ? QUESTIONS
      : QUESTIONS.map((_, at) => `${beginning}${at}`);
    const seen = await encoded(json, texts);
    assert(seen.length === 0 || seen[0] === texts[0], name);
  }
  const differing = QUESTIONS.map((_, at) => letters + (at === 0 ? ":" : "b"));
  assert.equal((await encoded(llama3, differing))[0], differing[0]);
  const joined = {
    ...atom,
    model: {
      ...model,
      vocab: Object.fromEntries(
        // each pair of the instruction in a piece
        [...INSTRUCTION].map((it, at) => [it + (INSTRUCTION[at + 1] ?? ""), at])
          .concat([...INSTRUCTION].map((it, at) => [it, 1000 + at])),
      ),
    },
  };
  assert.equal((await encoded(joined, QUESTIONS))[0], QUESTIONS[0]);
  assert.equal((await encoded(atom, QUESTIONS.slice(0, 7))).length, 7);
});
