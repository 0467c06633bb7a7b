/**
 * What a resumed run restores: the files that transformers reads, loss scaling, rates,
 * epochs and sums as if never interrupted.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { PickleValue } from "../../lib/formats/pickle.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { TorchArchive } from "../../lib/formats/torch_archive.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";
import {
  FlatParameters,
  planTraining,
  type StepReport,
} from "../../lib/training/mod.ts";
import { StepEngine } from "../../lib/training/step_engine.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import { AdamW } from "../../lib/training/optimizers/adamw.ts";
import {
  readCheckpoint,
  writeCheckpoint,
} from "../../lib/training/checkpoint.ts";
import {
  readOptimizerFile,
  readScalerFile,
  writeOptimizerFiles,
} from "../../lib/training/optimizer_files.ts";
import { freshState, stateToJson } from "../../lib/training/trainer_state.ts";
import { CPU } from "../../lib/tensor/mod.ts";
import { errorOf } from "../formats/temporary.ts";
import {
  inFolder,
  MODELS,
  numbersOf,
  refusal,
  TINY_LORA,
  tinyArguments,
  train,
} from "./tiny_run.ts";

const TWO_OF_FOUR = {
  max_steps: 4,
  save_strategy: "steps",
  save_steps: 2,
} as const;

Deno.test("Trainer.train() takes rate, epoch and sums from the checkpoint: the first row after a resume is the uninterrupted run's", async () => {
  await inFolder(async (folder) => {
    const args = {
      ...TWO_OF_FOUR,
      max_steps: 7,
      save_steps: 3,
      logging_steps: 2,
      warmup_steps: 2,
    } as const;
    const reports = async (resume: string | null): Promise<StepReport[]> => {
      const seen: StepReport[] = [];
      await train({
        folder: `${folder}/${resume === null ? "whole" : "resumed"}`,
        args,
        options: { callbacks: [{ onStepEnd: (each) => seen.push(each) }] },
        train: { resumeFromCheckpoint: resume },
      });
      return seen;
    };
    const whole = await reports(null);
    const resumed = await reports(`${folder}/whole/checkpoint-3`);
    const lasting = (each: StepReport): object => ({ ...each, seconds: 0 });
    assert.deepEqual(resumed.map(lasting), whole.slice(3).map(lasting));
    assert.deepEqual(
      resumed.map(({ epoch }) => epoch),
      [2, 2.5, 3, 3.5],
    );
    assert(Math.abs(resumed[0]!.learningRate - 0.01 * 4 / 5) < 1e-15);
    const state = (
      name: string,
    ): { log_history: object[]; total_flos: number } =>
      JSON.parse(
        Deno.readTextFileSync(`${folder}/${name}/trainer_state.json`),
      );
    // the row at step 4 has one loss from before the resume and one from after
    for (const at of [0, 1, 2]) {
      assert.deepEqual(
        state("resumed").log_history[at],
        state("whole").log_history[at],
      );
    }
    assert.equal(state("resumed").total_flos, state("whole").total_flos);
  });
});

Deno.test("Trainer refuses to resume what another optimizer has trained", async () => {
  await inFolder(async (folder) => {
    await train({ folder, args: TWO_OF_FOUR });
    const path = `${folder}/checkpoint-4/resume_state.json`;
    const json = JSON.parse(Deno.readTextFileSync(path));
    json.settings.optim = "lion";
    Deno.writeTextFileSync(path, JSON.stringify(json));
    assert.equal(
      await refusal({
        folder,
        args: TWO_OF_FOUR,
        train: { resumeFromCheckpoint: true },
      }),
      'Cannot resume from "F/checkpoint-4": it was trained with --optim lion, whose state cannot be used with --optim adamw_torch_fused',
    );
  });
});

/** Makes a checkpoint one of changed files, but not of damaged ones. */
function forgetChecksums(checkpoint: string): void {
  const path = `${checkpoint}/resume_state.json`;
  const { crc32, ...json } = JSON.parse(Deno.readTextFileSync(path));
  assert(Object.keys(crc32).length === 3, JSON.stringify(crc32));
  Deno.writeTextFileSync(path, JSON.stringify(json));
}

Deno.test("Trainer refuses to resume from weights or moments that are not finite", async () => {
  await inFolder(async (folder) => {
    await train({ folder, args: TWO_OF_FOUR });
    const path = `${folder}/checkpoint-4/adapter_model.safetensors`;
    const tensors = readSafetensors(path);
    const [name, data] = [...tensors].at(-1)!;
    const values = numbersOf(data);
    values[0] = NaN;
    tensors.set(name, { ...data, bytes: new Uint8Array(values.buffer) });
    writeSafetensors(path, tensors);
    forgetChecksums(`${folder}/checkpoint-4`);
    assert.match(
      await refusal({
        folder,
        args: TWO_OF_FOUR,
        train: { resumeFromCheckpoint: true },
      }),
      /^Cannot (resume from|load) .*finite/,
    );
  });
});

Deno.test("Trainer refuses to resume from weights of another type, which would be rounded", async () => {
  await inFolder(async (folder) => {
    await train({ folder, lora: null, args: TWO_OF_FOUR });
    const path = `${folder}/checkpoint-4/model.safetensors`;
    const tensors = readSafetensors(path);
    const [name, { shape, bytes }] = [...tensors][0]!;
    const halves = { shape, bytes: bytes.slice(bytes.length / 2) };
    tensors.set(name, { ...halves, dtype: "bfloat16" });
    writeSafetensors(path, tensors);
    forgetChecksums(`${folder}/checkpoint-4`);
    assert.equal(
      await refusal({
        folder,
        lora: null,
        args: TWO_OF_FOUR,
        train: { resumeFromCheckpoint: true },
      }),
      `Cannot resume from "F/checkpoint-4": "${name}" is bfloat16, not float32`,
    );
  });
});

function keysIn(value: PickleValue | undefined): string[] {
  assert(value instanceof Map);
  return [...value.keys()].map(String).sort();
}

/** The number of updates that `optimizer.pt` says of a parameter. */
function stepIn(checkpoint: string, state: PickleValue | undefined): number {
  assert(state instanceof Map);
  using archive = new TorchArchive(`${checkpoint}/optimizer.pt`);
  const step = archive.tensorIn(state.get("step"), "step");
  assert.deepEqual(step?.shape, []);
  return numbersOf(step!)[0]!;
}

Deno.test("writeOptimizerFiles() writes the keys that torch's AdamW and LambdaLR and transformers' Trainer look for", async () => {
  await inFolder(async (folder) => {
    await train({
      folder,
      lora: null,
      args: { ...TWO_OF_FOUR, weight_decay: 0.3 },
    });
    const open = (name: string): Map<PickleValue, PickleValue> => {
      using archive = new TorchArchive(`${folder}/checkpoint-4/${name}`);
      return archive.object() as Map<PickleValue, PickleValue>;
    };
    const optimizer = open("optimizer.pt");
    const states = optimizer.get("state") as Map<number, PickleValue>;
    assert.deepEqual(keysIn(states.get(0)), ["exp_avg", "exp_avg_sq", "step"]);
    assert.equal(stepIn(`${folder}/checkpoint-4`, states.get(0)), 4);
    const groups = optimizer.get("param_groups") as Map<string, PickleValue>[];
    assert.equal(
      keysIn(groups[0]).join(" "),
      "amsgrad betas capturable decoupled_weight_decay differentiable eps foreach " +
        "fused initial_lr lr maximize params weight_decay",
    );
    assert.deepEqual(
      groups.map((group) => group.get("weight_decay")),
      [0.3, 0],
    );
    const numbers = groups.flatMap((group) => group.get("params") as number[]);
    assert.deepEqual(numbers, [...states.keys()]);
    // norms do not decay: two in each of two layers, and the last
    assert.equal((groups[1]!.get("params") as number[]).length, 5);
    const scheduler = open("scheduler.pt");
    assert.deepEqual(keysIn(scheduler), [
      "_get_lr_called_within_step",
      "_is_initial",
      "_last_lr",
      "_step_count",
      "base_lrs",
      "last_epoch",
      "lr_lambdas",
    ]);
    assert.equal(scheduler.get("last_epoch"), 4);
    assert.deepEqual(scheduler.get("base_lrs"), [0.01, 0.01]);
    assert.deepEqual(scheduler.get("_last_lr"), [0, 0]);
    assert.deepEqual(keysIn(open("rng_state.pth")), [
      "cpu",
      "cuda",
      "numpy",
      "python",
    ]);
  });
});

Deno.test("readScalerFile() gives the loss scale back as it was written, and refuses another file", async () => {
  await inFolder((folder) => {
    using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using parameters = new FlatParameters([...model.namedParameters()], CPU);
    using optimizer = new AdamW(parameters);
    const content = {
      parameters,
      optimizer,
      baseRate: 1,
      nextRate: 1,
      seed: [1],
    };
    writeOptimizerFiles(folder, { ...content, lossScaler: null });
    assert.equal(readScalerFile(folder), null);
    // nothing has been updated, so there is no state of the optimizer yet
    assert.equal(readOptimizerFile(folder, parameters).size, 0);
    const lossScaler = { scale: 2048, goodSteps: 17 };
    writeOptimizerFiles(folder, { ...content, lossScaler });
    assert.deepEqual(readScalerFile(folder), lossScaler);
    Deno.copyFileSync(`${folder}/scheduler.pt`, `${folder}/scaler.pt`);
    assert.match(
      errorOf(() => readScalerFile(folder)),
      /scaler\.pt": it has no "scale" and "_growth_tracker"/,
    );
    return Promise.resolve();
  });
});

Deno.test("readCheckpoint() restores the loss scale: the next step overflows or not as it would have", async () => {
  await inFolder((folder) => {
    const args = tinyArguments();
    const precision = { autocast: null, lossScaling: true };
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, TINY_LORA, { seed: 1 });
    const trainable = trainableModel(model);
    {
      using engine = new StepEngine(trainable, args, { precision });
      engine.lossScaler = { scale: 2 ** 20, goodSteps: 5 };
      writeCheckpoint(folder, {
        engine,
        step: 3,
        state: stateToJson(
          { ...freshState(), globalStep: 3 },
          {
            plan: planTraining(7, args),
            batchSize: 2,
            saving: true,
            stopping: false,
          },
        ),
        resume: {
          lossSum: 1,
          unlogged: { sum: 0, count: 0 },
          optimizer: { step: 0 },
          modelState: {},
          settings: {},
        },
        rates: { base: 1, next: 1 },
        seed: [1],
        onlyModel: false,
        saveModel: (path) => trainable.save(path),
      });
    }
    using engine = new StepEngine(trainableModel(model), args, {
      precision,
    });
    readCheckpoint(`${folder}/checkpoint-3`, {
      engine,
      weights: trainable.read,
      check: () => {},
    });
    assert.deepEqual(engine.lossScaler, { scale: 2 ** 20, goodSteps: 5 });
    return Promise.resolve();
  });
});
