/**
 * `gradient_checkpointing` "auto": how many layers fit, the same weights whatever is
 * recomputed, and a resumed run that keeps to what it began with.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";
import {
  type ActivationPlan,
  fewestRecomputed,
  freeForStep,
  type StepMemory,
  stepMemory,
} from "../../lib/training/mod.ts";
import { Trainer } from "../../lib/training/trainer.ts";
import {
  inFolder,
  MODELS,
  PAD,
  TINY_LORA,
  tinyArguments,
  tinyRows,
  train,
} from "./tiny_run.ts";

const AUTO = { gradient_checkpointing: "auto" } as const;
const RUN = {
  ...AUTO,
  max_steps: 4,
  save_strategy: "steps",
  save_steps: 2,
} as const;

function memoryOfStep(): StepMemory {
  const tree = AutoModelForCausalLM.fromConfig(`${MODELS}/llama_gqa`);
  return stepMemory(tree, { tokens: 4000, trained: 4, length: null }, {
    targeted: [],
    dropout: false,
    held: "float32",
    autocast: false,
  });
}

Deno.test("fewestRecomputed() keeps what fits, layer by layer", () => {
  const memory = memoryOfStep();
  const { peakWith, kept, recomputed } = memory;
  assert.equal(peakWith(0), kept);
  assert.equal(peakWith(2), recomputed);
  const fewest = (bytes: number): number => fewestRecomputed(memory, 2, bytes);
  assert.equal(fewest(kept), 0);
  assert.equal(fewest(kept - 1), peakWith(1) < kept ? 1 : 2);
  assert.equal(fewest(0), 2);
  const many = { ...memory, peakWith: (count: number) => 100 - 10 * count };
  assert.deepEqual(
    [100, 99, 71, 70, 0].map((bytes) => fewestRecomputed(many, 8, bytes)),
    [0, 1, 3, 3, 8],
  );
});

Deno.test("freeForStep() is a share of the machine's free memory, less what else the run needs", () => {
  const free = freeForStep(0);
  if (free === null) return assert.notEqual(Deno.build.os, "linux");
  const { available } = Deno.systemMemoryInfo();
  assert(free > 0 && free < available, `${free} of ${available}`);
  assert(freeForStep(available / 2)! < free * 0.9);
  assert.equal(freeForStep(1e15), 0);
});

async function weightsAfter(
  folder: string,
  run: Partial<Parameters<typeof train>[0]>,
): Promise<Uint8Array> {
  await train({ folder, ...run });
  return Deno.readFileSync(`${folder}/adapter_model.safetensors`);
}

Deno.test("Trainer trains the same bytes whatever is recomputed, and as many layers as a checkpoint's budget asks for", async () => {
  await inFolder(async (folder) => {
    const auto = await weightsAfter(`${folder}/auto`, { args: RUN });
    const kept = await weightsAfter(`${folder}/kept`, {
      args: { ...RUN, gradient_checkpointing: false },
    });
    assert.deepEqual(auto, kept);
    const path = `${folder}/auto/checkpoint-2/resume_state.json`;
    const json = JSON.parse(Deno.readTextFileSync(path));
    assert(json.activationBytes > 0);
    for (const bytes of [0, null]) {
      const text = JSON.stringify({ ...json, activationBytes: bytes });
      Deno.writeTextFileSync(path, text);
      const { plan, weights } = await resumed(folder);
      assert.deepEqual(plan, { bytes, layers: 2, recomputed: 2 });
      assert.deepEqual(weights, auto);
    }
    Deno.writeTextFileSync(
      path,
      JSON.stringify({ ...json, activationBytes: "1" }),
    );
    await assert.rejects(
      resumed(folder),
      /"activationBytes" is "1", the file is damaged/,
    );
  });
});

/** A run that goes on after step 2 of `folder`/auto: its plan and its weights. */
async function resumed(
  folder: string,
): Promise<{ plan: ActivationPlan; weights: Uint8Array }> {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = getPeftModel(base, TINY_LORA, { seed: 42 });
  using trainer = new Trainer({
    model,
    tokenizer: PAD,
    args: tinyArguments({ ...RUN, output_dir: `${folder}/resumed` }),
    trainDataset: tinyRows(7),
  });
  await trainer.train({ resumeFromCheckpoint: `${folder}/auto/checkpoint-2` });
  trainer.saveModel();
  const path = `${folder}/resumed/adapter_model.safetensors`;
  return { plan: trainer.activationPlan!, weights: Deno.readFileSync(path) };
}

Deno.test("Trainer has no plan of activations unless asked for one", async () => {
  await inFolder((folder) => {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, TINY_LORA, { seed: 42 });
    for (const asked of [true, "auto"] as const) {
      using trainer = new Trainer({
        model,
        tokenizer: PAD,
        args: tinyArguments({
          gradient_checkpointing: asked,
          output_dir: folder,
        }),
        trainDataset: tinyRows(7),
      });
      const plan = trainer.activationPlan;
      assert.equal(plan === null, asked === true);
      if (plan !== null) assert.equal(plan.recomputed, 0);
    }
    return Promise.resolve();
  });
});
