/**
 * The recipe's trainer: its archive stands beside peft's files.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { readTorchArchive } from "../../lib/formats/torch_archive.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";
import { ModifiedTrainer } from "../../lib/training/mod.ts";
import { inFolder, MODELS, PAD, tinyArguments, tinyRows } from "./tiny_run.ts";

Deno.test("ModifiedTrainer saves the trained tensors as adapter_model.bin too, in checkpoints as well", async () => {
  await inFolder(async (folder) => {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, {}, { seed: 1 });
    using trainer = new ModifiedTrainer({
      model,
      tokenizer: PAD,
      args: tinyArguments({
        output_dir: folder,
        max_steps: 2,
        save_strategy: "steps",
        save_steps: 2,
      }),
      trainDataset: tinyRows(4),
    });
    await trainer.train();
    assert.equal(trainer.saveModel(), folder);
    for (const place of [folder, `${folder}/checkpoint-2`]) {
      const archive = readTorchArchive(`${place}/adapter_model.bin`);
      const tensors = readSafetensors(`${place}/adapter_model.safetensors`);
      assert.deepEqual(new Map([...archive].sort()), tensors);
    }
  });
});
