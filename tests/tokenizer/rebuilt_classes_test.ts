/**
 * A tokenizer.json under the classes that transformers builds anew, against
 * AutoTokenizer of transformers 5.18; tests/fixtures/make_tokenizers.py made the
 * numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { withTokenizer } from "./temporary_tokenizer.ts";

interface Case {
  readonly base: string;
  readonly config: Record<string, unknown>;
  readonly modelConfig: Record<string, unknown>;
  readonly size: number;
  readonly ids: number[][];
  readonly plain: number[][];
  readonly decoded: string[];
}

const DATA = "tests/fixtures/tokenizers";
const { texts, cases } = JSON.parse(
  Deno.readTextFileSync(`${DATA}/classes.json`),
) as { texts: string[]; cases: Case[] };

/** Calls `work` with the tokenizer and the folder of a case. */
function loaded(
  { base, config, modelConfig }: Omit<Case, "ids" | "plain" | "decoded">,
  work: (tokenizer: AutoTokenizer, folder: string) => Promise<void>,
): Promise<void> {
  const files = {
    "tokenizer_config.json": config,
    ...(Object.keys(modelConfig).length > 0 && { "config.json": modelConfig }),
  };
  return withTokenizer(
    `${DATA}/${base}/tokenizer.json`,
    files,
    async (folder) =>
      await work(await AutoTokenizer.fromPretrained(folder), folder),
  );
}

for (const it of cases) {
  const name = `${it.base} as ${it.config["tokenizer_class"]} of ${
    it.modelConfig["model_type"]
  }`;
  Deno.test(`AutoTokenizer gives the reference's ids and text for ${name}, and keeps them when saved`, async () => {
    await loaded(it, async (tokenizer, folder) => {
      const { ids, plain, decoded, size } = it;
      assert.deepEqual({
        ids: await tokenizer.encodeBatch(texts),
        plain: await tokenizer.encodeBatch(texts, { addSpecialTokens: false }),
        decoded: ids.map((row) => tokenizer.decode(row)),
        size: tokenizer.vocabSize,
      }, { ids, plain, decoded, size });
      // the output folder has no config.json that tells the model's type
      tokenizer.savePretrained(`${folder}/output`);
      const again = await AutoTokenizer.fromPretrained(`${folder}/output`);
      assert.deepEqual(await again.encodeBatch(texts), ids);
    });
  });
}

Deno.test("AutoTokenizer keeps tokenizer.json under a class of the other kind of vocabulary, which would lose the text", async () => {
  const ids = async (base: string, name: string): Promise<number[][]> => {
    let found: number[][] = [];
    const config = { tokenizer_class: name };
    await loaded({ base, config, modelConfig: {}, size: 0 }, async (it) => {
      found = await it.encodeBatch(texts, { addSpecialTokens: false });
    });
    return found;
  };
  for (
    const [base, names] of [
      ["llama3", ["LlamaTokenizer", "GemmaTokenizer"]],
      ["../data/legacy", ["GPT2Tokenizer", "Qwen2Tokenizer"]],
    ] as const
  ) {
    const asItStands = await ids(base, "PreTrainedTokenizerFast");
    for (const name of names) {
      assert.deepEqual(await ids(base, name), asItStands);
    }
  }
});
