/**
 * Files of tiktoken's kind (Qwen v1, GLM-4) against tiktoken 0.12;
 * tests/fixtures/make_sentencepiece.py made the numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { TextStream } from "../../lib/tokenizer/text_stream.ts";

interface Golden {
  readonly size: number;
  readonly ids: number[][];
  readonly decoded: string[];
}

const DATA = "tests/fixtures/sentencepiece";
const golden: { texts: string[]; qwen: Golden; glm4: Golden } =
  JSON.parse(Deno.readTextFileSync(`${DATA}/golden.json`)).tiktoken;
const KINDS = {
  qwen: {
    file: "qwen.tiktoken",
    config: {
      auto_map: { AutoTokenizer: ["tokenization_qwen.QWenTokenizer", null] },
    },
  },
  glm4: {
    file: "tokenizer.model",
    config: { tokenizer_class: "ChatGLM4Tokenizer" },
  },
} as const;

/** Does `work` with a folder that holds a vocabulary and its settings. */
async function withFolder(
  kind: keyof typeof KINDS,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const { file, config } = KINDS[kind];
  try {
    Deno.copyFileSync(`${DATA}/${kind}/${file}`, `${folder}/${file}`);
    Deno.writeTextFileSync(
      `${folder}/tokenizer_config.json`,
      JSON.stringify(config),
    );
    await work(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

for (const kind of ["qwen", "glm4"] as const) {
  const { texts, [kind]: want } = golden;

  Deno.test(`AutoTokenizer gives tiktoken's ids and text for ${kind}`, async () => {
    await withFolder(kind, async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      assert.equal(tokenizer.vocabSize, want.size);
      for (const [i, text] of texts.entries()) {
        const ids = await tokenizer.encode(text, { addSpecialTokens: false });
        assert.deepEqual(ids, want.ids[i], text);
        assert.equal(tokenizer.decode(ids), want.decoded[i]);
        const stream = new TextStream(tokenizer, { skipSpecialTokens: false });
        const streamed = ids.map((id) => stream.push(id)).join("");
        assert.equal(streamed + stream.end(), want.decoded[i]);
      }
    });
  });

  Deno.test(`AutoTokenizer.savePretrained() copies the files of ${kind}`, async () => {
    await withFolder(kind, async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      tokenizer.savePretrained(`${folder}/output`);
      const again = await AutoTokenizer.fromPretrained(`${folder}/output`);
      assert.deepEqual(
        await again.encode("你好"),
        await tokenizer.encode("你好"),
      );
    });
  });
}

Deno.test("AutoTokenizer frames texts with the special tokens of Qwen v1 and GLM-4", async () => {
  await withFolder("qwen", async (folder) => {
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    assert.equal(tokenizer.eosTokenId, 151643);
    assert.equal(tokenizer.padTokenId, 151643);
    assert.deepEqual(await tokenizer.encode("<|im_start|>"), [151644]);
    const plain = await tokenizer.encode("a");
    assert.equal(plain.length, 1);
  });
  await withFolder("glm4", async (folder) => {
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    const start = golden.glm4.size - 14;
    assert.equal(tokenizer.eosTokenId, start);
    assert.deepEqual(await tokenizer.encode("<|user|>"), [
      start + 2,
      start + 4,
      start + 7,
    ]);
  });
});

Deno.test("AutoTokenizer takes a part that is a token as it is, and cuts parts as tiktoken's pattern does", async () => {
  await withFolder("glm4", async (folder) => {
    const path = `${folder}/tokenizer.model`;
    // no pair of neighbours makes them, or they lie across the ends of two parts
    const extra = ["zqxj", "ES", " \xc2"].map((token, i) =>
      `${btoa(token)} ${600 + i}\n`
    );
    const text = Deno.readTextFileSync(path) + extra.join("");
    Deno.writeTextFileSync(path, text);
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    const plain = (part: string): Promise<number[]> =>
      tokenizer.encode(part, { addSpecialTokens: false });
    assert.deepEqual(await plain("zqxj"), [600]);
    assert((await plain("ES")).includes(601));
    assert(!(await plain("we'REST")).includes(601));
    assert((await plain(" ¥")).includes(602));
    // U+0085 is a space
    assert(!(await plain(" \u0085y")).includes(602));
  });
});

const BROKEN: Record<string, readonly [(text: string) => string, string]> = {
  "a line that is not a token": [
    (text) => text.replace("\n", "\n?? 7\n"),
    'line 2 is "?? 7", a token in base64 and its rank are needed',
  ],
  "bytes that are not base64": [
    (text) => text.replace("\n", "\nABCDE 7777\n"),
    'line 2 is "ABCDE 7777", a token in base64 and its rank are needed',
  ],
  "a rank twice": [
    (text) => `${text}${btoa("abcdefgh")} 0\n`,
    "line 601 has a token or a rank that was there before, each once is needed",
  ],
  "a byte that is missing": [
    (text) => text.replace(/^YQ== .*\n/m, ""),
    "there is no token for the byte 97, one for each is needed",
  ],
};

for (const [name, [change, reason]] of Object.entries(BROKEN)) {
  Deno.test(`AutoTokenizer refuses a file of tiktoken's kind with ${name}`, async () => {
    await withFolder("glm4", async (folder) => {
      const path = `${folder}/tokenizer.model`;
      Deno.writeTextFileSync(path, change(Deno.readTextFileSync(path)));
      await assert.rejects(AutoTokenizer.fromPretrained(folder), (error) => {
        assert(error instanceof InputError, `${error}`);
        assert.equal(
          error.message,
          `Cannot load tokenizer from "${folder}": in tokenizer.model ${reason}`,
        );
        return true;
      });
    });
  });
}

Deno.test("AutoTokenizer refuses a file of tiktoken's kind whose class it does not know", async () => {
  await withFolder("glm4", async (folder) => {
    Deno.removeSync(`${folder}/tokenizer_config.json`);
    await assert.rejects(AutoTokenizer.fromPretrained(folder), {
      message:
        `Cannot load tokenizer from "${folder}": in tokenizer.model tokens are in tiktoken's form and their class is "", QWenTokenizer, ChatGLM4Tokenizer or a tokenizer.json is needed`,
    });
  });
});
