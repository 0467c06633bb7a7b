/**
 * What makes a run come out as it does is in its checkpoints; resumed with any of it
 * changed, a run says so by name.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { TrainingArguments } from "../../lib/arguments/settings.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { LoraConfig } from "../../lib/peft/mod.ts";
import { planTraining } from "../../lib/training/plan.ts";
import { runSettings } from "../../lib/training/run_settings.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import {
  inFolder,
  MODELS,
  numbersOf,
  PAD,
  TINY_LORA,
  tinyArguments,
  tinyRows,
  type TinyRun,
  train,
} from "./tiny_run.ts";

const TWO_OF_FOUR = {
  max_steps: 4,
  save_strategy: "steps",
  save_steps: 2,
} as const;

/** The warnings of a run that resumes after two of four steps with something changed. */
async function warningsOf(changed: Partial<TinyRun>): Promise<string[]> {
  return await inFolder(async (folder) => {
    await train({ folder, args: TWO_OF_FOUR });
    const { warnings } = await train({
      ...changed,
      folder,
      args: { ...TWO_OF_FOUR, ...changed.args },
      train: { resumeFromCheckpoint: `${folder}/checkpoint-2` },
    });
    return warnings.map((each) => each.replace(/^.*would have: /, ""));
  });
}

/** Changed arguments, and what is said of them. */
const CHANGED: readonly (readonly [Partial<TrainingArguments>, string])[] = [
  [{ learning_rate: 0.02 }, "learning_rate 0.01 → 0.02"],
  [{ weight_decay: 0.1 }, "weight_decay 0 → 0.1"],
  [{ adam_beta1: 0.8 }, "adam_beta1 0.9 → 0.8"],
  [{ adam_beta2: 0.99 }, "adam_beta2 0.999 → 0.99"],
  [{ adam_epsilon: 1e-6 }, "adam_epsilon 1e-8 → 0.000001"],
  [{ max_grad_norm: 0.5 }, "max_grad_norm 1 → 0.5"],
  [{ bf16: true }, "bf16 false → true"],
  [{ seed: 7, data_seed: 42 }, "seed 42 → 7"],
  [{ data_seed: 7 }, "data_seed 42 → 7"],
  [{ dataloader_drop_last: true }, "dataloader_drop_last false → true"],
  [{ warmup_steps: 1 }, "warmup_steps 0 → 1"],
  [{ max_steps: 5 }, "max_steps 4 → 5"],
  [
    { per_device_train_batch_size: 1 },
    "per_device_train_batch_size 2 → 1",
  ],
  [
    { gradient_accumulation_steps: 1 },
    "gradient_accumulation_steps 2 → 1",
  ],
  [{ lr_scheduler_type: "cosine" }, "lr_scheduler_type linear → cosine"],
  [
    { lr_scheduler_type: "constant" },
    "lr_scheduler_type linear → constant; max_steps 4 → none",
  ],
];

for (const [args, expected] of CHANGED) {
  Deno.test(`Trainer.train() resumed with another setting says so: ${expected}`, async () => {
    assert.deepEqual(await warningsOf({ args }), [expected]);
  });
}

for (
  const [changed, expected] of [
    [{ lora_dropout: 0 }, "lora_dropout 0.1 → 0"],
    [{ lora_alpha: 16 }, "lora_alpha 8 → 16"],
    [{ use_rslora: true }, "use_rslora false → true"],
    [{ alpha_pattern: { q_proj: 3 } }, 'alpha_pattern {} → {"q_proj":3}'],
  ] as [Partial<LoraConfig>, string][]
) {
  Deno.test(`Trainer.train() resumed with another adapter setting says so: ${expected}`, async () => {
    const warnings = await warningsOf({ lora: { ...TINY_LORA, ...changed } });
    assert.deepEqual(warnings, [expected]);
  });
}

Deno.test("Trainer.train() resumed with rows in another order, other labels, another loss, padding or another base says so", async () => {
  const rows = tinyRows(7);
  const hash = /^hash of the rows \w{16} → \w{16}$/;
  const [reordered] = await warningsOf({ rows: rows.toReversed() });
  assert.match(reordered!, hash);
  const [relabelled] = await warningsOf({
    rows: rows.map(({ input_ids }) => ({ input_ids, labels: input_ids })),
  });
  assert.match(relabelled!, hash);
  assert.deepEqual(
    await warningsOf({ options: { loss: "reference" } }),
    ["loss tokens → reference"],
  );
  assert.deepEqual(
    await warningsOf({ options: { sharedPrefix: false } }),
    ["shared_prefix true → false"],
  );
  const [other] = await warningsOf({ model: "llama_tied" }).catch(
    (error) => [String(error)],
  );
  assert.match(other!, /has shape|hash of the base weights/);
});

Deno.test("Trainer.train() resumed on a base of the same shapes with other weights says so", async () => {
  await inFolder(async (folder) => {
    const model = `${folder}/model`;
    Deno.mkdirSync(model);
    const source = `${MODELS}/llama_gqa`;
    Deno.copyFileSync(`${source}/config.json`, `${model}/config.json`);
    const name = "model.layers.1.mlp.up_proj.weight";
    const tensors = readSafetensors(`${source}/model.safetensors`);
    const values = numbersOf(tensors.get(name)!).map((value) => value * 1.01);
    tensors.set(name, {
      ...tensors.get(name)!,
      bytes: new Uint8Array(values.buffer),
    });
    writeSafetensors(`${model}/model.safetensors`, tensors);
    const output = `${folder}/output`;
    await train({ folder: output, args: TWO_OF_FOUR });
    const { warnings } = await train({
      folder: output,
      model,
      args: TWO_OF_FOUR,
      train: { resumeFromCheckpoint: `${output}/checkpoint-2` },
    });
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0]!,
      /would have: hash of the base weights \w{16} → \w{16}$/,
    );
  });
});

Deno.test("runSettings() hashes rows of more ids than a call takes arguments, and sees the last label", () => {
  using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  const args = tinyArguments();
  const hash = (lastLabel: number): unknown => {
    const input_ids = new Array<number>(200_000).fill(7);
    const trainDataset = [{ input_ids, labels: input_ids.with(-1, lastLabel) }];
    return runSettings({
      options: { model, tokenizer: PAD, args, trainDataset },
      plan: planTraining(1, args),
      trainable: trainableModel(model),
    })["hash of the rows"];
  };
  assert.notEqual(hash(7), hash(8));
});

Deno.test("Trainer.train() resumed with a constant rate may go on for longer without a word", async () => {
  await inFolder(async (folder) => {
    for (const name of ["constant", "constant_with_warmup"]) {
      const args = { ...TWO_OF_FOUR, lr_scheduler_type: name };
      await train({ folder, args });
      const { warnings, output } = await train({
        folder,
        args: { ...args, max_steps: 6 },
        train: { resumeFromCheckpoint: `${folder}/checkpoint-4` },
      });
      assert.deepEqual(warnings, []);
      assert.equal(output.globalStep, 6);
    }
  });
});
