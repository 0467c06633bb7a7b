/**
 * A run of four steps in all the ways that must give the same bytes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { LoraConfig } from "../../lib/peft/mod.ts";
import { listCheckpoints } from "../../lib/training/mod.ts";
import { assertClose } from "../closeness.ts";
import { inFolder, train } from "./tiny_run.ts";

/**
 * Trains the adapter `lora` with checkpointing, and resumes from each checkpoint: the
 * files are the same to the byte. Without checkpointing, losses are the same.
 */
export async function trainsToTheSameBytes(
  lora: Partial<LoraConfig>,
  model = "llama_gqa",
): Promise<void> {
  await inFolder(async (folder) => {
    const run = { model, lora, folder } as const;
    const recomputed = {
      max_steps: 4,
      save_strategy: "steps",
      save_steps: 1,
      gradient_checkpointing: true,
    } as const;
    const whole = await train({ ...run, args: recomputed });
    const read = (path: string): Uint8Array =>
      Deno.readFileSync(`${path}/adapter_model.safetensors`);
    const expected = read(folder);
    const losses = whole.history.map(({ loss }) => loss);
    for (const checkpoint of listCheckpoints(folder).slice(0, -1)) {
      await inFolder(async (other) => {
        const resumed = await train({
          ...run,
          folder: other,
          args: recomputed,
          train: { resumeFromCheckpoint: checkpoint },
        });
        assert.deepEqual(resumed.history.map(({ loss }) => loss), losses);
        assert.deepEqual(read(other), expected, checkpoint);
      });
    }
    await inFolder(async (other) => {
      const args = { max_steps: 4 };
      const plain = await train({ ...run, folder: other, args });
      for (const [index, { loss }] of plain.history.entries()) {
        if (loss === undefined) continue;
        assertClose([loss!], [losses[index]!], { limit: 1e-6 });
      }
      assert.notEqual(losses[3], losses[0]);
    });
  });
}
