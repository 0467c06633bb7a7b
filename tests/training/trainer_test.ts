/**
 * The Trainer's loop: logging and saving strategies, what it reports, kinds of
 * models and of arithmetic.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TrainingArguments } from "../../lib/arguments/settings.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";
import { liveTensors } from "../../lib/tensor/mod.ts";
import {
  type LogRow,
  type StepReport,
  Trainer,
} from "../../lib/training/mod.ts";
import { errorOf } from "../formats/temporary.ts";
import {
  inFolder,
  MODELS,
  PAD,
  rowOf,
  tinyArguments,
  type TinyResult,
  tinyRows,
  train,
} from "./tiny_run.ts";

/** 7 rows, 2 per batch, 2 batches per step: 2 steps per epoch. */
async function logged(
  args: Partial<TrainingArguments>,
): Promise<{ losses: number[]; saved: number[] }> {
  return await inFolder(async (folder) => {
    const { history, saved } = await train({ folder, args });
    return {
      losses: history.filter((row) => "loss" in row).map((row) => row.step!),
      saved: saved.map((path) => Number(path.split("-").at(-1))),
    };
  });
}

Deno.test("Trainer.train() logs and saves by steps, and saves at the end as transformers does", async () => {
  const result = await logged({
    max_steps: 5,
    logging_steps: 2,
    save_strategy: "steps",
    save_steps: 3,
  });
  assert.deepEqual(result, { losses: [2, 4], saved: [3, 5] });
});

Deno.test("Trainer.train() logs and saves by epoch, and where it stops within one as transformers does", async () => {
  const epoch = { logging_strategy: "epoch", save_strategy: "epoch" } as const;
  assert.deepEqual(
    await logged({ ...epoch, num_train_epochs: 2 }),
    { losses: [2, 4], saved: [2, 4] },
  );
  assert.deepEqual(
    await logged({ ...epoch, max_steps: 3 }),
    { losses: [2, 3], saved: [2, 3] },
  );
});

Deno.test("Trainer.train() logs no loss with strategy no, but for a first step asked for", async () => {
  const none = { max_steps: 2, logging_strategy: "no" } as const;
  assert.deepEqual(await logged(none), { losses: [], saved: [] });
  assert.deepEqual(
    await logged({ ...none, logging_first_step: true }),
    { losses: [1], saved: [] },
  );
});

Deno.test("Trainer.train() takes shares of all steps as intervals", async () => {
  const result = await logged({
    max_steps: 6,
    logging_steps: 0.5,
    save_strategy: "steps",
    save_steps: 0.4,
  });
  assert.deepEqual(result, { losses: [3, 6], saved: [3, 6] });
});

Deno.test("Trainer.train() keeps save_total_limit checkpoints", async () => {
  await inFolder(async (folder) => {
    const { saved } = await train({
      folder,
      args: {
        max_steps: 5,
        save_strategy: "steps",
        save_steps: 1,
        save_total_limit: 2,
      },
    });
    assert.equal(saved.length, 5);
    const left = [...Deno.readDirSync(folder)].map(({ name }) => name)
      .filter((name) => name.startsWith("checkpoint"));
    assert.deepEqual(left.sort(), ["checkpoint-4", "checkpoint-5"]);
  });
});

Deno.test("Trainer.train() reports every step and logs what it reported", async () => {
  await inFolder(async (folder) => {
    const reports: StepReport[] = [];
    const rows = tinyRows(7);
    const { history, output } = await train({
      folder,
      rows,
      args: { num_train_epochs: 1, warmup_steps: 1, learning_rate: 0.5 },
      options: { callbacks: [{ onStepEnd: (each) => reports.push(each) }] },
    });
    assert.deepEqual(reports.map(({ step }) => step), [1, 2]);
    assert.deepEqual(reports.map(({ epoch }) => epoch), [0.5, 1]);
    assert.deepEqual(reports.map((each) => each.learningRate), [0, 0.5]);
    const tokens = rows.reduce((sum, row) => sum + row.input_ids.length, 0);
    assert.equal(reports.reduce((sum, each) => sum + each.tokens, 0), tokens);
    for (const [index, report] of reports.entries()) {
      assert.deepEqual(history[index], {
        loss: report.loss,
        grad_norm: report.gradNorm,
        learning_rate: report.learningRate,
        epoch: report.epoch,
        step: report.step,
      });
    }
    const mean = (reports[0]!.loss + reports[1]!.loss) / 2;
    assert.equal(output.trainingLoss, mean);
    assert.deepEqual(Object.keys(history[2]!).sort(), [
      "epoch",
      "step",
      "total_flos",
      "train_loss",
      "train_runtime",
      "train_samples_per_second",
      "train_steps_per_second",
    ]);
    assert.equal(history[2]!.train_loss, mean);
  });
});

Deno.test("Trainer.train() counts total_flos as transformers does: 6 per token, padding included, and parameter outside the embedding", async () => {
  await inFolder(async (folder) => {
    const rows = [rowOf([3, 4, 5, 6, 7, 8, 9], 2), rowOf([3, 4, 5], 1)];
    const { history } = await train({
      folder,
      rows,
      args: { max_steps: 2, gradient_accumulation_steps: 1 },
    });
    // two steps of two rows padded to 7; the fixture's own weights and the adapter's matrices
    const weights = readSafetensors(`${MODELS}/llama_gqa/model.safetensors`);
    const adapter = readSafetensors(`${folder}/adapter_model.safetensors`);
    let parameters = 0;
    for (const [name, { shape }] of [...weights, ...adapter]) {
      if (name === "model.embed_tokens.weight") continue;
      parameters += shape.reduce((count, size) => count * size, 1);
    }
    assert.equal(history.at(-1)!.total_flos, 2 * 6 * 14 * parameters);
  });
});

Deno.test("Trainer.train() stops, logs and saves where a callback asks for it", async () => {
  await inFolder(async (folder) => {
    const rows: LogRow[] = [];
    const { output, history, saved } = await train({
      folder,
      args: { max_steps: 9, logging_steps: 100, save_strategy: "no" },
      options: {
        callbacks: [{
          onStepEnd: ({ step }, control) => {
            if (step === 2) control.shouldLog = true;
            if (step === 3) control.shouldSave = true;
            if (step === 4) control.shouldTrainingStop = true;
          },
          onLog: (row) => rows.push(row),
        }],
      },
    });
    assert.equal(output.globalStep, 4);
    assert.equal(output.interruptedAt, null);
    assert.deepEqual(saved, [`${folder}/checkpoint-3`]);
    assert.deepEqual(rows, history);
    assert.deepEqual(history.map(({ step }) => step), [2, 4]);
    assert("loss" in history[0]! && "train_loss" in history[1]!);
    const stops = (path: string): boolean =>
      JSON.parse(Deno.readTextFileSync(`${path}/trainer_state.json`))
        .stateful_callbacks.TrainerControl.args.should_training_stop;
    assert.deepEqual([saved[0]!, folder].map(stops), [false, true]);
    const saves = (path: string): boolean =>
      JSON.parse(Deno.readTextFileSync(`${path}/trainer_state.json`))
        .stateful_callbacks.TrainerControl.args.should_save;
    assert.deepEqual([saved[0]!, folder].map(saves), [true, false]);
  });
});

Deno.test("Trainer.train() stopped from a log row saves no further checkpoint, and goes on when called again", async () => {
  await inFolder(async (folder) => {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, {}, { seed: 1 });
    let limit = 2;
    using trainer = new Trainer({
      model,
      tokenizer: PAD,
      args: tinyArguments({ output_dir: folder, max_steps: 5 }),
      trainDataset: tinyRows(3),
      callbacks: [{
        onLog: ({ step }, control) => {
          control.shouldTrainingStop = step === limit;
        },
      }],
    });
    assert.equal((await trainer.train()).globalStep, 2);
    limit = 0;
    assert.equal((await trainer.train()).globalStep, 5);
  });
});

Deno.test("Trainer writes trainer_state.json with the keys and number forms of transformers", async () => {
  await inFolder(async (folder) => {
    await train({ folder, args: { num_train_epochs: 2 } });
    const text = Deno.readTextFileSync(`${folder}/trainer_state.json`);
    const state = JSON.parse(text);
    assert.deepEqual(Object.keys(state), [
      "best_global_step",
      "best_metric",
      "best_model_checkpoint",
      "epoch",
      "eval_steps",
      "global_step",
      "is_hyper_param_search",
      "is_local_process_zero",
      "is_world_process_zero",
      "log_history",
      "logging_steps",
      "max_steps",
      "num_input_tokens_seen",
      "num_train_epochs",
      "save_steps",
      "stateful_callbacks",
      "total_flos",
      "train_batch_size",
      "trial_name",
      "trial_params",
    ]);
    assert.match(text, /^ {2}"epoch": 2\.0,$/m);
    assert.match(text, /^ {2}"global_step": 4,$/m);
    assert(text.endsWith("\n}\n"));
    assert.equal(state.log_history.length, 5);
    const args = JSON.parse(
      Deno.readTextFileSync(`${folder}/training_args.json`),
    );
    assert.equal(args.num_train_epochs, 2);
  });
});

/** First and last logged loss. */
function ends({ history }: TinyResult): [number, number] {
  const losses = history.filter((row) => "loss" in row).map((row) => row.loss!);
  assert(losses.every(Number.isFinite), losses.join());
  return [losses[0]!, losses.at(-1)!];
}

/** Eight steps over the same four rows. */
const REPEATED = {
  max_steps: 8,
  per_device_train_batch_size: 4,
  gradient_accumulation_steps: 1,
} as const;

for (
  const [name, model, args] of [
    ["a whole model", "llama_gqa", {}],
    ["a whole model with tied embeddings", "llama_tied", { weight_decay: 0.1 }],
    ["a whole model in bfloat16 arithmetic", "llama_bias", { bf16: true }],
  ] as const
) {
  Deno.test(`Trainer.train() lowers the loss of ${name}, which is saved and read again`, async () => {
    await inFolder(async (folder) => {
      const result = await train({
        folder,
        model,
        lora: null,
        rows: tinyRows(4),
        args: { ...REPEATED, ...args },
      });
      const [first, last] = ends(result);
      assert(last < 0.8 * first, `${first} to ${last}`);
      using trained = AutoModelForCausalLM.fromPretrained(folder);
      assert.equal(trained.config.modelType, "llama");
      const stored = readSafetensors(`${folder}/model.safetensors`);
      assert.equal(stored.has("lm_head.weight"), model !== "llama_tied");
    });
  });
}

for (const torchDtype of ["float32", "bfloat16", "float16"] as const) {
  for (const bf16 of [false, true]) {
    Deno.test(`Trainer.train() lowers the loss of an adapter on ${torchDtype} weights, bf16 ${bf16}`, async () => {
      await inFolder(async (folder) => {
        using base = AutoModelForCausalLM.fromPretrained(
          `${MODELS}/llama_gqa`,
          { torchDtype },
        );
        using model = getPeftModel(base, {
          r: 4,
          lora_alpha: 16,
          target_modules: "all-linear",
        }, { seed: 42 });
        using trainer = new Trainer({
          model,
          tokenizer: PAD,
          args: tinyArguments({ output_dir: folder, bf16, ...REPEATED }),
          trainDataset: tinyRows(4),
        });
        const output = await trainer.train();
        const { logHistory: history } = trainer.state;
        const [first, last] = ends({
          output,
          history,
          saved: [],
          warnings: [],
        });
        assert(last < 0.9 * first, `${first} to ${last}`);
        for (const { tensor } of model.trainedParameters()) {
          assert.equal(tensor.dtype, "float32");
        }
      });
    });
  }
}

Deno.test("Trainer leaves the model usable and no tensor behind", async () => {
  await inFolder(async (folder) => {
    const before = liveTensors();
    {
      using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
      using model = getPeftModel(base, {}, { seed: 1 });
      const live = liveTensors();
      for (const max_steps of [1, 2]) {
        using trainer = new Trainer({
          model,
          tokenizer: PAD,
          args: tinyArguments({ output_dir: folder, max_steps }),
          trainDataset: tinyRows(3),
        });
        const { globalStep } = await trainer.train();
        assert.equal(globalStep, max_steps);
      }
      model.savePretrained(folder);
      // What a first pass makes and keeps: rotation table and one scale per adapter.
      assert.equal(
        liveTensors() - live,
        1 + model.trainedParameters().length / 2,
      );
    }
    assert.equal(liveTensors(), before);
  });
});

for (const gradient_checkpointing of [false, true]) {
  Deno.test(`Trainer.train() holds as many tensors after each of 60 steps, checkpointing ${gradient_checkpointing}`, async () => {
    await inFolder(async (folder) => {
      const held = new Set<number>();
      await train({
        folder,
        rows: tinyRows(9),
        args: {
          max_steps: 60,
          gradient_checkpointing,
          save_strategy: "steps",
          save_steps: 20,
        },
        options: { callbacks: [{ onStepEnd: () => held.add(liveTensors()) }] },
      });
      assert.equal(held.size, 1, `${[...held]}`);
    });
  });
}

Deno.test("Trainer refuses rows that fill no batch", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  const args = tinyArguments();
  const options = { model: base, tokenizer: PAD, args, trainDataset: [] };
  assert.match(
    errorOf(() => new Trainer(options)),
    /^Cannot train on 0 rows/,
  );
});
