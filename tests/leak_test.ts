/**
 * Memory over a long run: neither tensors nor bytes add up.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../lib/architectures/mod.ts";
import { getPeftModel } from "../lib/peft/mod.ts";
import { liveTensors } from "../lib/tensor/mod.ts";
import { Trainer } from "../lib/training/mod.ts";
import { bytesInUse, CAN_COUNT_BYTES } from "./native_memory.ts";
import { MODELS, PAD, tinyArguments, tinyRows } from "./training/tiny_run.ts";

const STEPS = 500;
const MEBIBYTE = 2 ** 20;

for (const sharedPrefix of [true, false]) {
  const rows = sharedPrefix ? "rows end to end" : "padded rows";
  Deno.test(`Trainer holds no more memory and tensors after 500 steps than after 100: ${rows}`, async () => {
    const before = liveTensors();
    const seen = await followed(sharedPrefix);
    assert.equal(seen.tensors.length, STEPS);
    assert.equal(new Set(seen.tensors.slice(100)).size, 1);
    assert.equal(liveTensors(), before);
    const resident = grown(seen.resident);
    assert.ok(resident < 24, `${resident.toFixed(1)} MiB more`);
    if (!CAN_COUNT_BYTES) return;
    const inUse = grown(seen.inUse);
    assert.ok(inUse < 1, `${inUse.toFixed(2)} MiB more in use`);
  });
}

/** What each step of a run leaves behind. */
interface Seen {
  readonly tensors: number[];
  readonly resident: number[];
  readonly inUse: number[];
}

async function followed(sharedPrefix: boolean): Promise<Seen> {
  const seen: Seen = { tensors: [], resident: [], inUse: [] };
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = getPeftModel(base, { lora_dropout: 0.1 }, { seed: 1 });
  using trainer = new Trainer({
    model,
    tokenizer: PAD,
    sharedPrefix,
    args: tinyArguments({
      max_steps: STEPS,
      save_strategy: "no",
      logging_strategy: "no",
    }),
    trainDataset: tinyRows(64),
    callbacks: [{
      onStepEnd(): void {
        seen.tensors.push(liveTensors());
        seen.resident.push(Deno.memoryUsage().rss);
        if (CAN_COUNT_BYTES) seen.inUse.push(bytesInUse());
      },
    }],
  });
  await trainer.train();
  return seen;
}

/** How far the least of the last 50 steps lies above the least of steps 100 to 150, in MiB. */
function grown(bytes: readonly number[]): number {
  const least = (from: number): number =>
    Math.min(...bytes.slice(from, from + 50));
  return (least(STEPS - 50) - least(100)) / MEBIBYTE;
}
