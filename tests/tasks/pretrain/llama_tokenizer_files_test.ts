/**
 * A written tokenizer folder behaves as Llama's tokenizers do.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoTokenizer } from "../../../lib/tokenizer/auto_tokenizer.ts";
import { trainBpe } from "../../../tasks/pretrain/bpe_trainer.ts";
import { writeLlamaTokenizer } from "../../../tasks/pretrain/llama_tokenizer_files.ts";

async function written(texts: readonly string[]): Promise<AutoTokenizer> {
  const folder = Deno.makeTempDirSync();
  try {
    const options = { vocabularySize: 400, longestHan: 4 };
    writeLlamaTokenizer(folder, trainBpe(texts, options));
    return await AutoTokenizer.fromPretrained(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("writeLlamaTokenizer puts one BOS and one space before a text", async () => {
  const tokenizer = await written(["你好", "你好"]);
  const ids = await tokenizer.encode("你好");
  assert.deepEqual(tokenizer.tokensOf(ids), ["<s>", "▁", "你好"]);
  assert.deepEqual(
    [tokenizer.unkTokenId, tokenizer.bosTokenId, tokenizer.eosTokenId],
    [0, 1, 2],
  );
});

Deno.test("writeLlamaTokenizer reads role marks in the text as one token", async () => {
  const tokenizer = await written(["你好"]);
  const ids = await tokenizer.encode("<s>你</s>", { addSpecialTokens: false });
  assert.deepEqual(tokenizer.tokensOf(ids), ["<s>", "▁", "你", "</s>"]);
});

Deno.test("writeLlamaTokenizer spells unknown characters in bytes and back", async () => {
  const tokenizer = await written(["你好"]);
  const text = "你 好\n𠮷😀";
  const ids = await tokenizer.encode(text);
  assert.ok(tokenizer.tokensOf(ids).includes("<0xF0>"));
  assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), text);
});
