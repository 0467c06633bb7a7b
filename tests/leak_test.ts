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
import { MODELS, PAD, tinyArguments, tinyRows } from "./training/tiny_run.ts";

const STEPS = 500;
const MEBIBYTE = 2 ** 20;

Deno.test("Trainer holds no more memory and tensors after 500 steps than after 100", async () => {
  const before = liveTensors();
  const tensors: number[] = [];
  const bytes: number[] = [];
  {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, { lora_dropout: 0.1 }, { seed: 1 });
    using trainer = new Trainer({
      model,
      tokenizer: PAD,
      args: tinyArguments({
        max_steps: STEPS,
        save_strategy: "no",
        logging_strategy: "no",
      }),
      trainDataset: tinyRows(64),
      callbacks: [{
        onStepEnd(): void {
          tensors.push(liveTensors());
          bytes.push(Deno.memoryUsage().rss);
        },
      }],
    });
    await trainer.train();
  }
  assert.equal(tensors.length, STEPS);
  assert.equal(new Set(tensors.slice(100)).size, 1);
  const grown = (Math.min(...bytes.slice(-50)) - bytes[100]!) / MEBIBYTE;
  assert.ok(grown < 24, `${grown.toFixed(1)} MiB more`);
  assert.equal(liveTensors(), before);
});
