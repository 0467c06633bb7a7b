/**
 * The real command for two steps, and the shipped tokenizer against the shipped
 * texts.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../../lib/architectures/mod.ts";
import { AutoTokenizer } from "../../../lib/tokenizer/auto_tokenizer.ts";
import { trainBpe } from "../../../tasks/pretrain/bpe_trainer.ts";
import { llamaTokenizerJson } from "../../../tasks/pretrain/llama_tokenizer_files.ts";
import { PRETRAIN } from "../../../tasks/pretrain.ts";
import { readRows, tokenizerTexts } from "../../../tasks/pretrain/corpus.ts";

const ROOT = new URL("../../../", import.meta.url);

async function pretrain(folder: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "-P=pretrain", "--no-prompt", "tasks/pretrain.ts"],
      ...["--output_dir", folder, "--max_steps", "2", "--batch_size", "2"],
    ],
    cwd: ROOT,
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("pretrain makes a model that loads, with the same bytes each time", async () => {
  const folders = [Deno.makeTempDirSync(), Deno.makeTempDirSync()];
  try {
    const said = await Promise.all(folders.map(pretrain));
    assert.match(said[0]!, /rows, 2400 tokens\n/);
    const [first, second] = folders.map((folder) =>
      Deno.readFileSync(`${folder}/model.safetensors`)
    );
    assert.deepEqual(first, second);
    using model = AutoModelForCausalLM.fromPretrained(folders[0]!);
    const [embedding] = model.namedParameters();
    assert.equal(embedding?.tensor.dtype, "bfloat16");
    const tokenizer = await AutoTokenizer.fromPretrained(folders[0]!);
    assert.equal(tokenizer.vocabSize, model.config.vocabSize);
  } finally {
    for (const folder of folders) Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("the shipped tokenizer is what the shipped texts give", () => {
  const shipped = JSON.parse(
    Deno.readTextFileSync(new URL("models/tiny-atom/tokenizer.json", ROOT)),
  );
  const pathOf = (path: string): string => new URL(path, ROOT).pathname;
  const texts = tokenizerTexts({
    plain: readRows(pathOf(PRETRAIN.plain_path.default)),
    voice: readRows(pathOf(PRETRAIN.voice_path.default)),
  });
  const made = trainBpe(texts, {
    vocabularySize: PRETRAIN.vocab_size.default,
    longestHan: 4,
  });
  assert.deepEqual(llamaTokenizerJson(made), shipped);
});
