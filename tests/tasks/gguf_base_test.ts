/**
 * A GGUF file as the base model of the commands: trained on, and found again by its
 * adapter alone.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { PeftModel } from "../../lib/peft/mod.ts";
import { type Run, runOf, taskCommand } from "./task_process.ts";

const GGUF = "tests/fixtures/gguf/llama.gguf";

async function run(task: string, flags: readonly string[]): Promise<Run> {
  return runOf(await taskCommand(task, flags).output());
}

Deno.test("train --model_path file.gguf makes an adapter that names the file, and chat --adapter answers with both", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const rows = `${folder}/rows.jsonl`;
    const row = { instruction: "Hi", input: "", output: "the world" };
    Deno.writeTextFileSync(rows, `${JSON.stringify(row)}\n`.repeat(4));
    const output = `${folder}/output`;
    const trained = await run("train", [
      ...["--model_path", GGUF, "--dataset_path", rows],
      ...["--output_dir", output, "--max_steps", "2"],
      ...["--logging_steps", "1", "--max_seq_length", "60"],
      ...["--sample_question", "none"],
    ]);
    assert.equal(trained.code, 0, trained.error);
    const config = JSON.parse(
      Deno.readTextFileSync(`${output}/adapter_config.json`),
    );
    assert.equal(config.base_model_name_or_path, GGUF);
    const asked = await run("chat", [
      ...["--adapter", output, "--prompt", "Hi"],
      ...["--max_new_tokens", "4", "--no_do_sample"],
    ]);
    assert.equal(asked.code, 0, asked.error);
    using model = AutoModelForCausalLM.fromPretrained(GGUF);
    using _adapted = PeftModel.fromPretrained(model, output);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
