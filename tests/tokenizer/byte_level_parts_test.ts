/**
 * Folders of vocab.json and merges.txt against AutoTokenizer of transformers 5.18;
 * tests/fixtures/make_tokenizers.py made them.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

interface Golden {
  readonly ids: number[][];
  readonly plain: number[][];
  readonly decoded: string[];
  readonly size: number;
  readonly eos: number;
  readonly pad: number | null;
}

const DATA = "tests/fixtures/tokenizers";
const { texts, tokenizers } = JSON.parse(
  Deno.readTextFileSync(`${DATA}/parts.json`),
) as { texts: string[]; tokenizers: Record<string, Golden> };

for (const [name, want] of Object.entries(tokenizers)) {
  Deno.test(`AutoTokenizer gives the reference's ids and text for vocab.json and merges.txt of ${name}`, async () => {
    const tokenizer = await AutoTokenizer.fromPretrained(
      `${DATA}/parts/${name}`,
    );
    assert.deepEqual({
      ids: await tokenizer.encodeBatch(texts),
      plain: await tokenizer.encodeBatch(texts, { addSpecialTokens: false }),
      decoded: want.ids.map((ids) => tokenizer.decode(ids)),
      size: tokenizer.vocabSize,
      eos: tokenizer.eosTokenId,
      pad: tokenizer.padTokenId,
    }, want);
  });
}

/** Calls `work` with a copy of the folder of Qwen2's parts. */
async function withParts(
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    for (const { name } of Deno.readDirSync(`${DATA}/parts/qwen2`)) {
      Deno.copyFileSync(`${DATA}/parts/qwen2/${name}`, `${folder}/${name}`);
    }
    await work(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("AutoTokenizer.savePretrained() copies vocab.json and merges.txt", async () => {
  await withParts(async (folder) => {
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    tokenizer.savePretrained(`${folder}/output`);
    Deno.copyFileSync(`${folder}/config.json`, `${folder}/output/config.json`);
    const again = await AutoTokenizer.fromPretrained(`${folder}/output`);
    assert.deepEqual(
      await again.encodeBatch(texts),
      await tokenizer.encodeBatch(texts),
    );
  });
});

Deno.test("AutoTokenizer.savePretrained() names the class that only config.json told, so that the output loads alone", async () => {
  for (const name of ["no_config", "qwen2"]) {
    const output = Deno.makeTempDirSync();
    try {
      const tokenizer = await AutoTokenizer.fromPretrained(
        `${DATA}/parts/${name}`,
      );
      tokenizer.savePretrained(output);
      const config = JSON.parse(
        Deno.readTextFileSync(`${output}/tokenizer_config.json`),
      );
      assert.match(config.tokenizer_class, /^(GPT2|Qwen2)Tokenizer$/);
      const again = await AutoTokenizer.fromPretrained(output);
      assert.deepEqual(
        await again.encodeBatch(texts),
        await tokenizer.encodeBatch(texts),
      );
    } finally {
      Deno.removeSync(output, { recursive: true });
    }
  }
});

const BROKEN: readonly (readonly [string, (folder: string) => void, string])[] =
  [
    [
      "another class",
      (folder) =>
        Deno.writeTextFileSync(
          `${folder}/tokenizer_config.json`,
          '{"tokenizer_class": "RobertaTokenizer"}',
        ),
      'it has vocab.json and merges.txt of the class "RobertaTokenizer", a tokenizer.json is needed, or the class GPT2Tokenizer or Qwen2Tokenizer or Qwen3_5Tokenizer or CohereTokenizer or GPTNeoXTokenizer',
    ],
    [
      "a line that is no pair",
      (folder) =>
        Deno.writeTextFileSync(`${folder}/merges.txt`, "#version: 0.2\na b c"),
      'in merges.txt line 2 is "a b c", two tokens with a space are needed',
    ],
    [
      "an id that is no number",
      (folder) => Deno.writeTextFileSync(`${folder}/vocab.json`, '{"a": "b"}'),
      'in vocab.json model.vocab["a"] is "b", a whole number from 0 on is needed',
    ],
    [
      "no merges.txt",
      (folder) => Deno.removeSync(`${folder}/merges.txt`),
      "it has no tokenizer.json, tokenizer.model, qwen.tiktoken, or vocab.json with merges.txt, the folder of a model in Hugging Face format is needed",
    ],
  ];

for (const [name, damage, reason] of BROKEN) {
  Deno.test(`AutoTokenizer refuses vocab.json and merges.txt with ${name}`, async () => {
    await withParts(async (folder) => {
      damage(folder);
      await assert.rejects(AutoTokenizer.fromPretrained(folder), (error) => {
        assert(error instanceof InputError, `${error}`);
        assert.equal(
          error.message,
          `Cannot load tokenizer from "${folder}": ${reason}`,
        );
        return true;
      });
    });
  });
}
