/**
 * Weights that another process cuts while a model uses them. A process that touches
 * a page that is gone dies of SIGBUS, so each case runs in one of its own.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { inFolder } from "../training/tiny_run.ts";

const ROOT = new URL("../../", import.meta.url).href;
const MODEL = "tests/fixtures/models/llama_gqa";

/** What uses the model when `cut()` is called. */
const USES: Record<string, string> = {
  "trained": `
    using adapter = getPeftModel(base, TINY_LORA, { seed: 1 });
    using trainer = new Trainer({
      model: adapter, tokenizer: PAD, trainDataset: tinyRows(7),
      args: tinyArguments({ output_dir: Deno.args[0], max_steps: 3 }),
      callbacks: [{ onStepEnd: cut }],
    });
    await trainer.train();`,
  "asked": `
    for (const id of generate(base, [1, 5, 6], { maxNewTokens: 9, eosTokenIds: [] })) {
      if (id >= 0) cut();
    }`,
};

for (const [use, code] of Object.entries(USES)) {
  Deno.test(`a model that is ${use} while its weights are cut ends in a sentence and exit code 1`, async () => {
    await inFolder((folder) => {
      const path = `${folder}/model.safetensors`;
      for (const name of ["config.json", "model.safetensors"]) {
        Deno.copyFileSync(`${MODEL}/${name}`, `${folder}/${name}`);
      }
      Deno.writeTextFileSync(
        `${folder}/use.ts`,
        `import { AutoModelForCausalLM, generate, getPeftModel, Trainer } from "${ROOT}mod.ts";
         import { PAD, TINY_LORA, tinyArguments, tinyRows } from "${ROOT}tests/training/tiny_run.ts";
         import { runCommand } from "${ROOT}tasks/report_error.ts";
         const cut = () => Deno.truncateSync(${JSON.stringify(path)}, 4096);
         runCommand(async () => {
           using base = AutoModelForCausalLM.fromPretrained(Deno.args[0], { torchDtype: "float32" });
           ${code}
         });`,
      );
      const { code: exitCode, stderr, signal } = new Deno.Command(
        Deno.execPath(),
        { args: ["run", "-q", "-A", "--no-check", `${folder}/use.ts`, folder] },
      ).outputSync();
      assert.equal(signal, null);
      assert.equal(
        new TextDecoder().decode(stderr),
        `Cannot go on with "${path}": another program changed the file while it was in use, ` +
          "start again with a file that stays as it is (a new one may take its name)\n",
      );
      assert.equal(exitCode, 1);
      return Promise.resolve();
    });
  });
}
