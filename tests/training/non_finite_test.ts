/**
 * Runs whose numbers are not finite: they stop with the step and the place, keep
 * the last good checkpoint, and save nothing of it.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";
import { noGrad } from "../../lib/tensor/mod.ts";
import {
  listCheckpoints,
  ModifiedTrainer,
  type StepReport,
} from "../../lib/training/mod.ts";
import { FailedSteps } from "../../lib/training/non_finite.ts";
import { errorOf } from "../formats/temporary.ts";
import {
  inFolder,
  MODELS,
  numbersOf,
  PAD,
  refusal,
  TINY_LORA,
  tinyArguments,
  tinyRows,
  train,
} from "./tiny_run.ts";

const REPORT: StepReport = {
  step: 3,
  epoch: 1,
  loss: 2,
  gradNorm: 1,
  learningRate: 0.1,
  tokens: 9,
  trainedTokens: 4,
  skipped: false,
  failed: false,
  seconds: 1,
};

Deno.test("FailedSteps.add() speaks once, not of float16's skipped steps, and counts steps in a row", () => {
  const steps = new FailedSteps();
  assert.equal(steps.add(REPORT), null);
  const skipped = { ...REPORT, gradNorm: Infinity, skipped: true };
  assert.equal(steps.add(skipped), null);
  assert.equal(steps.inARow, 0);
  const failed = { ...skipped, failed: true };
  assert.match(steps.add(failed)!, /^The loss or the gradients of step 3 are/);
  assert.equal(steps.add(failed), null);
  assert.equal(steps.inARow, 2);
  steps.add(REPORT);
  assert.equal(steps.inARow, 0);
});

/** One number of a weight, at place 5 unless `at` is given. */
interface Change {
  readonly weight: string;
  readonly value: number;
  readonly at?: number;
}

/** A copy of a fixture model, one number of one of its weights changed. */
function spoiledModel(folder: string, change: Change): string {
  const path = `${folder}/model`;
  Deno.mkdirSync(path);
  Deno.copyFileSync(
    `${MODELS}/llama_gqa/config.json`,
    `${path}/config.json`,
  );
  const tensors = new Map<string, TensorData>();
  for (
    const [name, data] of readSafetensors(
      `${MODELS}/llama_gqa/model.safetensors`,
    )
  ) {
    const values = numbersOf(data);
    if (name === change.weight) values[change.at ?? 5] = change.value;
    tensors.set(name, { ...data, bytes: new Uint8Array(values.buffer) });
  }
  assert(tensors.has(change.weight));
  writeSafetensors(`${path}/model.safetensors`, tensors);
  return path;
}

for (
  const [weight, value, place] of [
    ["model.layers.1.mlp.up_proj.weight", NaN, "the output of layer 1"],
    [
      "model.layers.0.input_layernorm.weight",
      Infinity,
      "the output of layer 0",
    ],
    ["model.norm.weight", -Infinity, "the output of the head"],
  ] as const
) {
  Deno.test(`Trainer.train() on a base whose ${weight} holds ${value} stops, names step and place, and saves nothing`, async () => {
    await inFolder(async (folder) => {
      const model = spoiledModel(folder, { weight, value });
      const output = `${folder}/output`;
      using base = AutoModelForCausalLM.fromPretrained(model);
      using adapter = getPeftModel(base, TINY_LORA, { seed: 1 });
      for (
        const [max_steps, message] of [
          [
            9,
            "Cannot go on training after step 3: the loss or the gradients of 3 steps in a row are",
          ],
          [1, "Cannot go on training after step 1: its loss or gradients are"],
        ] as const
      ) {
        using trainer = new ModifiedTrainer({
          model: adapter,
          tokenizer: PAD,
          args: tinyArguments({
            output_dir: output,
            max_steps,
            save_strategy: "steps",
            save_steps: 5,
          }),
          trainDataset: tinyRows(7),
        });
        await assert.rejects(trainer.train(), {
          name: "InputError",
          message:
            `${message} not finite numbers; the first is in ${place}, whose weight "${weight}" ` +
            "in the base model is not finite, a base model with finite weights is needed",
        });
        assert.throws(() => Deno.statSync(output), Deno.errors.NotFound);
      }
    });
  });
}

const SAVING = { max_steps: 9, save_strategy: "steps", save_steps: 1 } as const;
const HIDDEN = 32;
/** An id that all of these rows have. */
const USED = 20;
const ROWS = tinyRows(7).map(({ input_ids, labels }) => ({
  input_ids: [USED, ...input_ids],
  labels: [-100, ...labels],
}));
const LAYER_1 = "model.layers.1.mlp.down_proj.weight";

for (
  const [precision, args] of [
    ["float32", {}],
    ["bfloat16", { bf16: true }],
    ["gradient checkpointing", { gradient_checkpointing: true }],
    ["both", { bf16: true, gradient_checkpointing: true }],
  ] as const
) {
  for (
    const [weight, value, place] of [
      [LAYER_1, Infinity, "output of layer 1, whose weight"],
      [LAYER_1, NaN, "output of layer 1, whose weight"],
      ["model.embed_tokens.weight", NaN, "output of the embedding, whose"],
      ["model.embed_tokens.weight", Infinity, "output of the embedding, whose"],
      ["lm_head.weight", -Infinity, "output of the head, whose weight"],
      // finite activations, whose gradients are beyond float32
      [
        "model.layers.1.post_attention_layernorm.weight",
        3e19,
        'gradient of "model.layers.0.self_attn.q_proj.lora_A.weight"',
      ],
    ] as const
  ) {
    Deno.test(`Trainer.train() of an adapter with ${precision} on a base whose ${weight} holds ${value} names step and place, and no checkpoint`, async () => {
      await inFolder(async (folder) => {
        const at = USED * HIDDEN + 5;
        const model = /embed|head/.test(weight)
          ? spoiledModel(folder, { weight, value, at })
          : spoiledModel(folder, { weight, value });
        const message = await refusal({
          folder: `${folder}/output`,
          model,
          rows: ROWS,
          args: { ...SAVING, ...args },
        });
        assert(
          message.startsWith(
            "Cannot go on training after step 3: the loss or the gradients of " +
              `3 steps in a row are not finite numbers; the first is in the ${place}`,
          ),
          message,
        );
        // those that were saved have finite weights, but no update
        assert(!message.includes("checkpoint"), message);
        for (const step of [1, 2]) {
          const file = `${folder}/output/checkpoint-${step}`;
          const saved = readSafetensors(`${file}/adapter_model.safetensors`);
          for (const data of saved.values()) {
            assert(numbersOf(data).every(Number.isFinite));
          }
        }
      });
    });
  }

  Deno.test(`Trainer.train() of a whole model with ${precision} refuses weights that are not finite before the first step, used or not`, async () => {
    for (
      const [weight, value, at] of [
        [LAYER_1, NaN, 5],
        ["lm_head.weight", -Infinity, 5],
        ["model.embed_tokens.weight", Infinity, USED * HIDDEN],
        // id 1 is in no row: no loss and no gradient shows it
        ["model.embed_tokens.weight", NaN, HIDDEN],
      ] as const
    ) {
      await inFolder(async (folder) => {
        const message = await refusal({
          folder: `${folder}/output`,
          model: spoiledModel(folder, { weight, value, at }),
          lora: null,
          rows: ROWS,
          args: { ...SAVING, ...args },
        });
        assert.equal(
          message,
          `Cannot train "${weight}": before step 1 it has numbers that are ` +
            "not finite, a model with finite weights is needed",
        );
        assert.throws(
          () => Deno.statSync(`${folder}/output`),
          Deno.errors.NotFound,
        );
      });
    }
  });
}

Deno.test("Trainer.train() of a whole model whose gradients are not finite names step and gradient, and saves no such weights", async () => {
  await inFolder(async (folder) => {
    const weight = "model.layers.1.post_attention_layernorm.weight";
    const message = await refusal({
      folder: `${folder}/output`,
      model: spoiledModel(folder, { weight, value: 3e19 }),
      lora: null,
      args: { ...SAVING, save_steps: 5 },
    });
    assert.match(
      message,
      /^Cannot go on training after step 3: .* the first is in the gradient of "model.embed_tokens.weight", a lower --learning_rate, .* is needed$/,
    );
    assert.throws(
      () => Deno.statSync(`${folder}/output`),
      Deno.errors.NotFound,
    );
  });
});

Deno.test("Trainer.train() that goes wrong names no checkpoint that was removed meanwhile", async () => {
  await inFolder(async (folder) => {
    const first = { ...SAVING, max_steps: 2 };
    await train({ folder, args: first });
    const removed = {
      onTrainBegin: (): void =>
        Deno.removeSync(`${folder}/checkpoint-2`, { recursive: true }),
    };
    const message = await refusal({
      folder,
      args: { ...SAVING, learning_rate: 1e39 },
      options: { callbacks: [removed] },
      train: { resumeFromCheckpoint: true },
    });
    assert.match(message, /^Cannot save "F\/checkpoint-3": .* is needed$/);
  });
});

Deno.test("Trainer.train() leaves out the update of a step with gradients that are not finite, warns, and goes on", async () => {
  await inFolder(async (folder) => {
    const rows = tinyRows(6);
    const args = {
      max_steps: 6,
      per_device_train_batch_size: 1,
      gradient_accumulation_steps: 1,
    };
    const reports: StepReport[] = [];
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using adapter = getPeftModel(base, { r: 2 }, { seed: 1 });
    const embedding = base.inputEmbeddings();
    const weight = embedding.parameter("weight")!;
    using bad = weight.add(weight, NaN);
    using trainer = new ModifiedTrainer({
      model: adapter,
      tokenizer: PAD,
      args: tinyArguments({ ...args, output_dir: folder }),
      trainDataset: rows,
      callbacks: [{
        onStepEnd: (report) => {
          reports.push(report);
          const isBad = [1, 2].includes(report.step);
          embedding.setParameter("weight", isBad ? bad : weight);
        },
        onWarning: (message) => warnings.push(message),
      }],
    });
    const warnings: string[] = [];
    const { globalStep } = await trainer.train();
    assert.equal(globalStep, 6);
    assert.deepEqual(
      reports.map(({ skipped }) => skipped),
      [false, true, true, false, false, false],
    );
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /^The loss or the gradients of step 2 are not/);
    // the schedule goes by updates, as after a skipped step of float16
    const rates = reports.map(({ learningRate }) => learningRate);
    assert.equal(rates[1], rates[3]);
    trainer.saveModel();
  });
});

Deno.test("Trainer.train() with a learning rate beyond all bounds keeps the last good checkpoint through rotation", async () => {
  await inFolder(async (folder) => {
    const args = {
      max_steps: 20,
      save_strategy: "steps",
      save_steps: 1,
      save_total_limit: 1,
    } as const;
    await train({ folder, args: { ...args, max_steps: 2 } });
    const message = await refusal({
      folder,
      args: { ...args, learning_rate: 1e39 },
      train: { resumeFromCheckpoint: true },
    });
    assert.match(
      message,
      /^Cannot save "F\/checkpoint-3": after step 3 trained weights are not finite numbers, a lower --learning_rate is needed; the last good checkpoint is "F\/checkpoint-2"$/,
    );
    assert.deepEqual(listCheckpoints(folder), [`${folder}/checkpoint-2`]);
    const later = await refusal({
      folder,
      args: { ...args, learning_rate: 1e30, save_steps: 50 },
      train: { resumeFromCheckpoint: true },
    });
    assert.match(
      later,
      /^Cannot go on training after step \d+: the loss or the gradients of 3 steps in a row .*"F\/checkpoint-2"$/,
    );
    assert.deepEqual(listCheckpoints(folder), [`${folder}/checkpoint-2`]);
  });
});

Deno.test("Trainer.train() that goes wrong names the checkpoint that it has saved itself", async () => {
  await inFolder(async (folder) => {
    const message = await refusal({
      folder,
      args: {
        max_steps: 9,
        save_strategy: "steps",
        save_steps: 1,
        // the first step of a warm-up has rate 0
        warmup_steps: 2,
        learning_rate: 1e39,
      },
    });
    assert.match(
      message,
      /^Cannot save "F\/checkpoint-2": .*; the last good checkpoint is "F\/checkpoint-1"$/,
    );
  });
});

Deno.test("Trainer.saveModel() refuses weights that are not finite", async () => {
  await inFolder((folder) => {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using adapter = getPeftModel(base, { r: 2 }, { seed: 1 });
    using trainer = new ModifiedTrainer({
      model: adapter,
      tokenizer: PAD,
      args: tinyArguments({ output_dir: `${folder}/o` }),
      trainDataset: tinyRows(2),
    });
    const first = adapter.trainedParameters()[1]!;
    {
      using _frozen = noGrad();
      first.tensor.fill(NaN);
    }
    assert.match(
      errorOf(() => trainer.saveModel()),
      /^Cannot save ".*\/o": after step 0 trained weights are not finite/,
    );
    assert.deepEqual([...Deno.readDirSync(folder)], []);
    return Promise.resolve();
  });
});
