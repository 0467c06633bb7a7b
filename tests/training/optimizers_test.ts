/**
 * Each optimizer against PyTorch, transformers, schedulefree and peft
 * (`tests/fixtures/make_optimizers.py`): ten clipped steps give the same losses
 * and norms, and a resumed run the same bytes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TrainingArguments } from "../../lib/arguments/settings.ts";
import {
  parseTrainArguments,
  trainingArguments,
} from "../../lib/arguments/train_arguments.ts";
import type { Batch } from "../../lib/data/batch.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { InputError } from "../../lib/input_error.ts";
import { PeftModel } from "../../lib/peft/mod.ts";
import { optimizerNames } from "../../lib/training/optimizers.ts";
import { scheduleFactor, scheduleOf } from "../../lib/training/schedules.ts";
import { StepEngine, type StepInput } from "../../lib/training/step_engine.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import { liveTensors } from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import {
  GOLDEN,
  goldenBatch,
  inFolder,
  MODELS,
  refusal,
  tinyArguments,
  train,
} from "./tiny_run.ts";

interface Golden {
  readonly optim: string;
  readonly optim_args: string | null;
  readonly lora_plus?: number;
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly after: number;
}

const runs: readonly Golden[] = JSON.parse(
  Deno.readTextFileSync(`${GOLDEN}/optimizers.json`),
);

function batch(): Batch {
  return goldenBatch(readSafetensors(`${GOLDEN}/grads.safetensors`));
}

function inputOf(step: number, learningRate: number): StepInput {
  return { learningRate, loss: "tokens", seed: [step] };
}

function tenSteps(
  model: PeftModel,
  { optim, optim_args, lora_plus }: Golden,
): { losses: number[]; norms: number[] } {
  const args = tinyArguments({
    optim,
    optim_args,
    weight_decay: 0.05,
    lr_scheduler_type: "cosine",
    warmup_steps: 2,
  });
  using engine = new StepEngine(trainableModel(model), args, {
    ...lora_plus && { loraPlus: { lrRatio: lora_plus } },
  });
  const schedule = scheduleOf(args, { warmupSteps: 2, maxSteps: 10 });
  const steps = Array.from({ length: 10 }, (_, step) => {
    const factor = scheduleFactor(schedule, step);
    return engine.step([batch()], inputOf(step, args.learning_rate * factor));
  });
  return {
    losses: steps.map(({ loss }) => loss),
    norms: steps.map(({ gradNorm }) => gradNorm),
  };
}

for (const golden of runs) {
  const { optim, optim_args, lora_plus } = golden;
  const title = [optim, optim_args, lora_plus && "with LoRA+"].filter(Boolean);
  Deno.test(`${title.join(" ")} takes the reference's ten steps`, () => {
    const atStart = liveTensors();
    {
      using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
      using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
      const { losses, norms } = tenSteps(model, golden);
      assertClose(losses, golden.losses, { limit: 2e-5, what: "losses" });
      assertClose(norms, golden.norms, { limit: 2e-4, what: "norms" });
      // the loss of the weights that are left in the model
      using left = new StepEngine(trainableModel(model), tinyArguments());
      const { loss } = left.step([batch()], inputOf(10, 0));
      assertClose([loss], [golden.after], { limit: 2e-5, what: "after" });
    }
    assert.equal(liveTensors(), atStart);
  });
}

Deno.test("every optimizer has a golden run", () => {
  const tested = new Set(runs.map(({ optim }) => optim));
  const synonyms = ["adamw_torch_fused", "lion"];
  const missing = optimizerNames().filter((name) =>
    !tested.has(name) && !synonyms.includes(name) && !name.includes("sgd_")
  );
  assert.deepEqual(missing, []);
});

const RESUMED: readonly Partial<TrainingArguments>[] = [
  { optim: "sgd", optim_args: "momentum=0.9,nesterov=true" },
  { optim: "adagrad", optim_args: "lr_decay=0.1" },
  { optim: "rmsprop", optim_args: "momentum=0.5,centered=true" },
  { optim: "adafactor" },
  { optim: "lion_32bit", learning_rate: 0.001 },
  { optim: "schedule_free_adamw", warmup_steps: 3 },
  { optim: "muon" },
];

for (const values of RESUMED) {
  Deno.test(`a run with ${values.optim} resumes to the same bytes from every step`, async () => {
    await inFolder(async (folder) => {
      const args = {
        ...values,
        lr_scheduler_type: "cosine_with_restarts",
        lr_scheduler_kwargs: { num_cycles: 2 },
        weight_decay: 0.01,
        max_steps: 4,
        save_strategy: "steps",
        save_steps: 1,
      } as const;
      const options = { loraPlus: { lrRatio: 3 } };
      const whole = { folder: `${folder}/whole`, args, options };
      await train(whole);
      const bytes = (name: string): Uint8Array =>
        Deno.readFileSync(`${folder}/${name}/adapter_model.safetensors`);
      for (const step of [1, 2, 3]) {
        const { warnings } = await train({
          ...whole,
          folder: `${folder}/resumed`,
          train: {
            resumeFromCheckpoint: `${folder}/whole/checkpoint-${step}`,
          },
        });
        assert.deepEqual(warnings, []);
        assert.deepEqual(bytes("resumed"), bytes("whole"), `step ${step}`);
      }
      // a checkpoint has the weights that are evaluated, like the end of a run
      assert.deepEqual(bytes("whole/checkpoint-4"), bytes("whole"));
    });
  });
}

Deno.test("resuming tells that settings of optimizer, schedule or LoRA+ have changed", async () => {
  await inFolder(async (folder) => {
    const args = {
      optim: "sgd",
      optim_args: "momentum=0.9",
      lr_scheduler_type: "polynomial",
      lr_scheduler_kwargs: { power: 2 },
      max_steps: 2,
      save_strategy: "steps",
      save_steps: 1,
    } as const;
    const options = { loraPlus: { lrRatio: 3 } };
    await train({ folder, args, options });
    const checkpoint = `${folder}/checkpoint-1`;
    assert.equal(
      await refusal({
        folder,
        args,
        train: { resumeFromCheckpoint: checkpoint },
      }),
      'Cannot resume from "F/checkpoint-1": it was trained with LoRA+ {"lrRatio":3}, whose groups of parameters cannot be used without LoRA+',
    );
    const { warnings } = await train({
      folder,
      args: {
        ...args,
        optim_args: "momentum=0.8",
        lr_scheduler_kwargs: { power: 3 },
      },
      options,
      train: { resumeFromCheckpoint: checkpoint },
    });
    const [warning = ""] = warnings;
    for (
      const each of [
        "optim_args momentum=0.9 → momentum=0.8",
        'lr_scheduler_kwargs {"power":2} → {"power":3}',
      ]
    ) assert(warning.includes(each), warning);
  });
});

const REFUSED: [Partial<TrainingArguments>, string][] = [
  [
    { optim: "sgd", optim_args: "momentum=0.9,alpha=1" },
    'Cannot use --optim_args "momentum=0.9,alpha=1" with --optim sgd: it has no setting "alpha=1", expected momentum=NUMBER, dampening=NUMBER, nesterov=true|false',
  ],
  [
    { optim: "rmsprop", optim_args: "centered=perhaps" },
    'Cannot use --optim_args "centered=perhaps" with --optim rmsprop: it has no setting "centered=perhaps", expected alpha=NUMBER, eps=NUMBER, momentum=NUMBER, centered=true|false',
  ],
  [
    { optim_args: "eps=1e-6" },
    'Cannot use --optim_args "eps=1e-6" with --optim adamw_torch_fused: it has no setting "eps=1e-6", expected none',
  ],
  [
    { optim: "muon", optim_args: "adjust_lr_fn=none" },
    'Cannot use --optim_args "adjust_lr_fn=none" with --optim muon: it has no setting "adjust_lr_fn", expected original or match_rms_adamw',
  ],
  [
    { lr_scheduler_kwargs: { min_lr: 1 } },
    'Cannot use --lr_scheduler_type "linear": it has no setting "min_lr" in --lr_scheduler_kwargs, expected none',
  ],
  [
    {
      lr_scheduler_type: "cosine_with_min_lr",
      lr_scheduler_kwargs: { lr: 1 },
    },
    'Cannot use --lr_scheduler_type "cosine_with_min_lr": it has no setting "lr" in --lr_scheduler_kwargs, expected some of num_cycles, min_lr, min_lr_rate',
  ],
  [
    { lr_scheduler_type: "cosine_with_min_lr" },
    'Cannot use --lr_scheduler_type "cosine_with_min_lr": expected one of min_lr and min_lr_rate in --lr_scheduler_kwargs',
  ],
  [
    { lr_scheduler_type: "polynomial", learning_rate: 1e-8 },
    'Cannot use --lr_scheduler_type "polynomial": lr_end (1e-7) must be smaller than initial lr (1e-8)',
  ],
  [
    { lr_scheduler_type: "warmup_stable_decay" },
    'Cannot use --lr_scheduler_type "warmup_stable_decay": expected num_decay_steps in --lr_scheduler_kwargs',
  ],
  [
    {
      lr_scheduler_type: "warmup_stable_decay",
      lr_scheduler_kwargs: { num_decay_steps: 99 },
      max_steps: 3,
    },
    'Cannot use --lr_scheduler_type "warmup_stable_decay": 0 steps of warm-up and 99 of decay are more than the 3 steps of the run',
  ],
  [
    {
      lr_scheduler_type: "warmup_stable_decay",
      lr_scheduler_kwargs: { num_decay_steps: 1, decay_type: "steep" },
    },
    'Cannot use --lr_scheduler_type "warmup_stable_decay": "decay_type" is "steep", expected one of "linear", "1-sqrt", "cosine"',
  ],
];

Deno.test("a setting that an optimizer or schedule does not have is refused with those it has", async () => {
  await inFolder(async (folder) => {
    for (const [args, expected] of REFUSED) {
      assert.equal(await refusal({ folder, args }), expected);
    }
  });
});

Deno.test("names of optimizers that differ in memory only are read as the one here, and told", () => {
  const read = (...flags: string[]) => {
    const parsed = parseTrainArguments(flags, { optimizers: optimizerNames() });
    assert(!("help" in parsed));
    return { optim: parsed.training.optim, notes: parsed.notes };
  };
  assert.deepEqual(read("--optim", "paged_adamw_8bit"), {
    optim: "adamw_torch_fused",
    notes: [
      "Optimizer: --optim paged_adamw_8bit is computed as adamw_torch_fused",
    ],
  });
  assert.deepEqual(read("--optim", "lion_8bit").optim, "lion_32bit");
  assert.deepEqual(read("--adafactor"), {
    optim: "adafactor",
    notes: ["Names of transformers 4: --adafactor is --optim adafactor"],
  });
  assert.equal(
    trainingArguments({ optim: "adamw_hf" }).optim,
    "adamw_torch_fused",
  );
  assert.throws(() => read("--optim", "galore_adamw"), (error: unknown) => {
    assert(error instanceof InputError && error.exitCode === 2);
    assert.match(error.message, /"galore_adamw": not supported yet, expected/);
    assert.doesNotMatch(error.message, /8bit/);
    return true;
  });
});
