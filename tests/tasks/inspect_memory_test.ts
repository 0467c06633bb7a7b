/**
 * What `deno task inspect` computes the memory of a run from: the largest batch, and
 * how the base is held and stored.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  getPeftModel,
  parseTrainArguments,
} from "../../mod.ts";
import { type RunMemory, runMemory } from "../../tasks/inspect_memory.ts";
import { describeParameters } from "../../tasks/inspect_model.ts";
import { type CheckedRun, checkRun } from "../../tasks/train_checks.ts";

const GGUF = "tests/fixtures/gguf/llama.gguf";

interface Checked {
  readonly checked: CheckedRun;
  readonly memory: RunMemory;
}

/** The memory of a run on rows whose answers have `answers` words. */
async function memoryOf(
  answers: readonly number[],
  ...flags: readonly string[]
): Promise<Checked> {
  const folder = Deno.makeTempDirSync();
  try {
    const rows = `${folder}/rows.jsonl`;
    const lines = answers.map((words) =>
      JSON.stringify({ instruction: "Hello", output: "the ".repeat(words) })
    );
    Deno.writeTextFileSync(rows, lines.join("\n"));
    const parsed = parseTrainArguments([
      ...["--model_path", GGUF, "--dataset_path", rows],
      ...["--target_modules", "all-linear", "--max_seq_length", "200"],
      ...["--dataset_cache", "false", ...flags],
    ]);
    assert(!("help" in parsed));
    const checked = await checkRun(parsed, { output: false, weights: false });
    const counts = { base: 1000, trainable: 10 };
    return { checked, memory: runMemory(checked, parsed, counts) };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("runMemory() computes a step for the largest of the batches, wherever it is", async () => {
  for (const long of [0, 3, 6]) {
    const answers = Array.from({ length: 7 }, (_, at) => at === long ? 30 : 2);
    const { memory, checked } = await memoryOf(
      answers,
      ...["--per_device_train_batch_size", "1"],
    );
    const lengths = checked.dataset.features.map(({ input_ids }) =>
      input_ids.length
    );
    assert.equal(memory.batch.tokens, Math.max(...lengths));
    const { labels } = checked.dataset.features[long]!;
    assert.equal(
      memory.batch.trained,
      labels.slice(1).filter((id) => id !== -100).length,
    );
  }
});

Deno.test("runMemory() computes padded batches where the model's batches are padded", async () => {
  const answers = [2, 40, 2, 2];
  const size = ["--per_device_train_batch_size", "4"];
  const { memory, checked } = await memoryOf(answers, ...size);
  const lengths = checked.dataset.features.map(({ input_ids }) =>
    input_ids.length
  );
  const padded = 4 * Math.max(...lengths);
  const apart = lengths.reduce((sum, length) => sum + length, 0);
  assert(memory.batch.tokens < apart && apart < padded);
  const asked = await memoryOf(answers, ...size, "--shared_prefix", "false");
  assert.equal(asked.memory.batch.tokens, padded);
  Object.assign(checked.tree.config, { attentionDropout: 0.1 });
  assert.notEqual(checked.tree.paddingReason, null);
  const parsed = parseTrainArguments([
    ...["--model_path", GGUF, "--target_modules", "all-linear", ...size],
  ]);
  assert(!("help" in parsed));
  const { batch } = runMemory(checked, parsed, { base: 1000, trainable: 10 });
  assert.equal(batch.tokens, padded);
});

Deno.test("runMemory() counts a GGUF file beside the numbers that its weights are unpacked to", async () => {
  const { memory } = await memoryOf([2, 2]);
  assert.equal(memory.held, "float32");
  assert.equal(memory.converted, true);
  assert.equal(memory.base, 4 * 1000 + Deno.statSync(GGUF).size);
});

Deno.test("describeParameters() counts a head that is tied to the embedding once, as the loaded model does", async () => {
  const { checked } = await memoryOf([2, 2]);
  assert.equal(checked.tree.config.tieWordEmbeddings, true);
  using base = AutoModelForCausalLM.fromPretrained(GGUF);
  const { r } = checked.adapter.config;
  using model = getPeftModel(base, {
    r,
    target_modules: "all-linear",
  });
  const lines = describeParameters(checked);
  assert(lines.includes(model.trainableParametersLine()), lines.join("\n"));
});
