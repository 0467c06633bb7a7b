/**
 * The settings of tokenizer_config.json and its neighbours against transformers
 * 5.18, and values of the wrong type; tests/fixtures/make_tokenizers.py made the
 * numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { withTokenizer } from "./temporary_tokenizer.ts";

interface Variant {
  readonly base: string;
  readonly config: Record<string, unknown>;
  readonly ids: number[][];
  readonly plain: number[][];
  readonly cut: number[][];
  readonly decoded: string[];
  readonly decoded_skip: string[];
}

const DATA = "tests/fixtures/tokenizers";
const { texts, variants } = JSON.parse(
  Deno.readTextFileSync(`${DATA}/settings.json`),
) as { texts: string[]; variants: Record<string, Variant> };

for (const [name, want] of Object.entries(variants)) {
  Deno.test(`AutoTokenizer gives the reference's ids and text with the settings of ${name}`, async () => {
    const files = {
      "tokenizer_config.json": want.config,
      "config.json": { model_type: "llama" },
    };
    await withTokenizer(
      `${DATA}/${want.base}/tokenizer.json`,
      files,
      async (folder) => {
        const tokenizer = await AutoTokenizer.fromPretrained(folder);
        assert.deepEqual({
          ids: await tokenizer.encodeBatch(texts),
          plain: await tokenizer.encodeBatch(texts, {
            addSpecialTokens: false,
          }),
          cut: await tokenizer.encodeBatch(texts, { maxLength: 4 }),
          decoded: want.ids.map((ids) => tokenizer.decode(ids)),
          decoded_skip: want.ids.map((ids) =>
            tokenizer.decode(ids, { skipSpecialTokens: true })
          ),
        }, {
          ids: want.ids,
          plain: want.plain,
          cut: want.cut,
          decoded: want.decoded,
          decoded_skip: want.decoded_skip,
        });
      },
    );
  });
}

Deno.test("AutoTokenizer keeps the ids of added tokens where special tokens are plain text", async () => {
  const config = {
    split_special_tokens: true,
    additional_special_tokens: ["<|new|>"],
    added_tokens_decoder: {
      "400": { content: "<|new|>", special: true },
      "401": { content: "<mark>", special: false },
    },
  };
  const files = { "tokenizer_config.json": config };
  await withTokenizer(
    `${DATA}/llama3/tokenizer.json`,
    files,
    async (folder) => {
      const json = JSON.parse(
        Deno.readTextFileSync(`${folder}/tokenizer.json`),
      );
      json.added_tokens = json.added_tokens.slice(0, 2);
      Deno.writeTextFileSync(`${folder}/tokenizer.json`, JSON.stringify(json));
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      const ids = await tokenizer.encode("<mark><|new|>", {
        addSpecialTokens: false,
      });
      assert.equal(ids[0], 401);
      assert(ids.length > 2 && !ids.includes(400), `${ids}`);
      assert.equal(tokenizer.decode([401, 400]), "<mark><|new|>");
    },
  );
});

const WRONG: readonly [string, unknown, string][] = [
  [
    "tokenizer_config.json",
    { bos_token: 3, truncation_side: "up", split_special_tokens: "yes" },
    'bos_token is 3, a string or {"content": …} is needed; ' +
    'split_special_tokens is "yes", true or false is needed; ' +
    'truncation_side is "up", left or right is needed',
  ],
  [
    "tokenizer_config.json",
    { added_tokens_decoder: { a: { content: "x", special: 1 } } },
    'added_tokens_decoder["a"] is named by no id, a whole number is needed; ' +
    'added_tokens_decoder["a"].special is 1, true or false is needed',
  ],
  [
    "tokenizer_config.json",
    { chat_template: [{ name: "default" }], tokenizer_class: [] },
    "tokenizer_class is [], a string is needed; " +
    'chat_template is [{"name":"default"}], a string or a list of {"name": …, "template": …} is needed',
  ],
  [
    "special_tokens_map.json",
    { eos_token: ["</s>"], additional_special_tokens: ["ok", 1, "\u001b[31m"] },
    'eos_token is ["</s>"], a string or {"content": …} is needed; ' +
    'additional_special_tokens["1"] is 1, a string or {"content": …} is needed',
  ],
  [
    "added_tokens.json",
    { "\u001b[31m": "a" },
    '"\\u001b[31m" has the id "a", a whole number from 0 on is needed',
  ],
];

for (const [file, content, message] of WRONG) {
  Deno.test(`AutoTokenizer.fromPretrained() refuses ${file} with ${message.slice(0, 40)}`, async () => {
    await withTokenizer(
      `${DATA}/llama3/tokenizer.json`,
      { [file]: content },
      async (folder) => {
        await assert.rejects(() => AutoTokenizer.fromPretrained(folder), {
          name: "InputError",
          message:
            `Cannot load tokenizer from "${folder}": in ${file} ${message}`,
        });
      },
    );
  });
}

Deno.test("AutoTokenizer.fromPretrained() says in which files something is wrong", async () => {
  const files = {
    "tokenizer_config.json": { legacy: 1 },
    "added_tokens.json": { a: -1 },
  };
  await withTokenizer(
    `${DATA}/llama3/tokenizer.json`,
    files,
    async (folder) => {
      try {
        await AutoTokenizer.fromPretrained(folder);
        throw new Error("nothing was thrown");
      } catch (error) {
        assert(error instanceof InputError, `${error} is not an InputError`);
        assert.match(
          error.message,
          /in tokenizer_config\.json legacy is 1, .*; in added_tokens\.json "a" has the id -1/,
        );
      }
    },
  );
});

Deno.test("AutoTokenizer.savePretrained() names the class that keeps the ids without config.json", async () => {
  const files = {
    "tokenizer_config.json": {
      tokenizer_class: "LlamaTokenizer",
      legacy: true,
      bos_token: "<s>",
    },
    "config.json": { model_type: "mistral" },
  };
  await withTokenizer(
    `${DATA}/../data/legacy/tokenizer.json`,
    files,
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      tokenizer.savePretrained(`${folder}/output`);
      const again = await AutoTokenizer.fromPretrained(`${folder}/output`);
      const text = "<s> a  b</s> 你好";
      assert.deepEqual(await again.encode(text), await tokenizer.encode(text));
      const config = JSON.parse(
        Deno.readTextFileSync(`${folder}/output/tokenizer_config.json`),
      );
      assert.equal(config.tokenizer_class, "PreTrainedTokenizerFast");
      assert.equal(config.bos_token, "<s>");
    },
  );
});

Deno.test("AutoTokenizer.savePretrained() copies every file of a tokenizer byte for byte", async () => {
  const files = {
    "tokenizer_config.json": { tokenizer_class: "PreTrainedTokenizerFast" },
    "special_tokens_map.json": { bos_token: "<|begin|>" },
    "added_tokens.json": { "<|begin|>": 0 },
    "tokenizer.model": "model",
    "vocab.txt": "vocab",
    "config.json": {},
  };
  await withTokenizer(
    `${DATA}/llama3/tokenizer.json`,
    files,
    async (folder) => {
      Deno.mkdirSync(`${folder}/additional_chat_templates`);
      Deno.writeTextFileSync(
        `${folder}/additional_chat_templates/tool_use.jinja`,
        "{{ tools }}",
      );
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      tokenizer.savePretrained(`${folder}/output`);
      const names = [
        ...Object.keys(files).filter((name) => name !== "config.json"),
        "tokenizer.json",
        "additional_chat_templates/tool_use.jinja",
      ];
      for (const name of names) {
        assert.deepEqual(
          Deno.readFileSync(`${folder}/output/${name}`),
          Deno.readFileSync(`${folder}/${name}`),
        );
      }
      const found = [...Deno.readDirSync(`${folder}/output`)].length;
      assert.equal(found, names.length);
    },
  );
});
