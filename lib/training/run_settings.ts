/**
 * Everything that determines the result of a run. It is written into each
 * checkpoint, and a resumed run that differs from it in anything warns the user.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { TrainingArguments } from "../arguments/settings.ts";
import type { Feature } from "../data/batch.ts";
import { InputError, quoted } from "../input_error.ts";
import { aten, type Tensor, tensorScope, toData } from "../tensor/mod.ts";
import { optimizerNamed } from "./optimizers.ts";
import type { TrainingPlan } from "./plan.ts";
import { scheduleFactor, scheduleOf } from "./schedules.ts";
import type { RunSettings, TrainableModel } from "./trainable_model.ts";
import type { TrainerOptions } from "./trainer_options.ts";
import type { TrainerState } from "./trainer_state.ts";

/** The input of {@linkcode runSettings}. */
export interface SettingsSource {
  readonly options: TrainerOptions;
  readonly plan: TrainingPlan;
  readonly trainable: TrainableModel;
}

/** Names of the settings that are taken unchanged from the arguments. */
const FROM_ARGUMENTS = [
  "learning_rate",
  "weight_decay",
  "adam_beta1",
  "adam_beta2",
  "adam_epsilon",
  "max_grad_norm",
  "per_device_train_batch_size",
  "gradient_accumulation_steps",
  "dataloader_drop_last",
  "train_sampling_strategy",
  "label_smoothing_factor",
  "neftune_noise_alpha",
  "seed",
  "bf16",
  "fp16",
] as const;

/** The settings of a run. */
export function runSettings(source: SettingsSource): RunSettings {
  const { options, plan, trainable } = source;
  const { args, trainDataset, loss = "tokens", sharedPrefix = true } = options;
  return {
    ...Object.fromEntries(FROM_ARGUMENTS.map((name) => [name, args[name]])),
    ...scheduleSettings(args, plan),
    ...trainable.settings,
    optim: optimizerNamed(args.optim).names[0],
    data_seed: args.data_seed ?? args.seed,
    loss,
    ...options.loraPlus && { lora_plus: JSON.stringify(options.loraPlus) },
    shared_prefix: sharedPrefix,
    device: trainable.model.device.type,
    rows: trainDataset.length,
    "hash of the rows": hashOfRows(trainDataset),
    "hash of the base weights": hashOfWeights(trainable),
  };
}

/** `max_steps` matters only where the learning rate depends on it. */
function scheduleSettings(
  args: TrainingArguments,
  { warmupSteps, maxSteps }: TrainingPlan,
): RunSettings {
  const schedule = scheduleOf(args, { warmupSteps, maxSteps });
  const longer = { ...schedule, maxSteps: 2 * maxSteps };
  const isBound = [0.25, 0.5, 0.75, 1].some((share) => {
    const step = warmupSteps + Math.ceil(share * maxSteps);
    return scheduleFactor(schedule, step) !== scheduleFactor(longer, step);
  });
  const { lr_scheduler_type, lr_scheduler_kwargs, optim_args } = args;
  return {
    lr_scheduler_type,
    ...lr_scheduler_kwargs &&
      { lr_scheduler_kwargs: JSON.stringify(lr_scheduler_kwargs) },
    ...optim_args && { optim_args },
    warmup_steps: warmupSteps,
    ...isBound && { max_steps: maxSteps },
  };
}

/** A hash of ids and labels of all rows, in order. */
function hashOfRows(rows: readonly Feature[]): string {
  const hash = createHash("sha256");
  for (const { input_ids, labels } of rows) {
    // no spread: a row may have more ids than a call takes arguments
    const numbers = new Int32Array(1 + input_ids.length + labels.length);
    numbers[0] = input_ids.length;
    numbers.set(input_ids, 1);
    numbers.set(labels, 1 + input_ids.length);
    hash.update(new Uint8Array(numbers.buffer));
  }
  return hash.digest("hex").slice(0, 16);
}

const SAMPLES = 16;

/**
 * A hash of the weights that are not trained: name, type and shape of each, and
 * 16 of its elements at equal distances. Other weights, types or sizes change it;
 * a single changed number may not.
 */
function hashOfWeights({ model, parameters }: TrainableModel): string {
  const trained = new Set(parameters.map((each) => each.path));
  const hash = createHash("sha256");
  for (const { path, tensor } of model.namedParameters()) {
    if (trained.has(path)) continue;
    hash.update(`${path} ${tensor.dtype} ${tensor.shape.join()}\n`);
    hash.update(samplesOf(tensor));
  }
  return hash.digest("hex").slice(0, 16);
}

function samplesOf(tensor: Tensor): Uint8Array {
  using _scope = tensorScope();
  const flat = aten.view(aten.detach(tensor), [tensor.size]);
  const step = Math.max(1, Math.floor(tensor.size / SAMPLES));
  return toData(aten.slice(flat, 0, 0, tensor.size, step)).bytes;
}

/** Each setting that differs, as `learning_rate 0.01 → 0.02`. */
function changedSettings(
  before: Readonly<Record<string, unknown>>,
  now: RunSettings,
): string[] {
  const names = [...new Set([...Object.keys(now), ...Object.keys(before)])];
  const shown = (value: unknown): string =>
    value === undefined
      ? "none"
      : typeof value === "string"
      ? value
      : JSON.stringify(value);
  return names
    .filter((name) => shown(before[name]) !== shown(now[name]))
    .map((name) => `${name} ${shown(before[name])} → ${shown(now[name])}`);
}

/** A checkpoint to resume from, and the run that resumes. */
export interface ResumeCheck {
  readonly state: TrainerState;
  readonly resume: { readonly settings: Readonly<Record<string, unknown>> };
  readonly plan: TrainingPlan;
  readonly settings: RunSettings;
}

/**
 * Warnings for the user: what makes a run resumed from `folder` differ from the
 * run that was interrupted.
 *
 * @throws {InputError} when the checkpoint has more steps than the run, or
 *   another optimizer or another LoRA+.
 */
export function checkResume(
  folder: string,
  { state, resume, plan, settings }: ResumeCheck,
): string[] {
  const { maxSteps } = plan;
  const start = `Cannot resume from ${quoted(folder)}: `;
  if (state.globalStep > maxSteps) {
    throw new InputError(
      `${start}its global_step is ${state.globalStep}, but this run has ${maxSteps} steps; ` +
        "a larger --max_steps or --num_train_epochs, or an earlier checkpoint, is needed",
    );
  }
  if (resume.settings.optim !== settings.optim) {
    throw new InputError(
      `${start}it was trained with --optim ${resume.settings.optim}, whose state cannot be used with --optim ${settings.optim}`,
    );
  }
  const loraPlus = (each: Readonly<Record<string, unknown>>): string =>
    each.lora_plus === undefined
      ? "without LoRA+"
      : `with LoRA+ ${each.lora_plus}`;
  if (loraPlus(resume.settings) !== loraPlus(settings)) {
    throw new InputError(
      `${start}it was trained ${
        loraPlus(resume.settings)
      }, whose groups of parameters cannot be used ${loraPlus(settings)}`,
    );
  }
  const changed = changedSettings(resume.settings, settings);
  return [
    ...changed.length === 0 ? [] : [
      `Resuming from ${
        quoted(folder)
      } gives other results than the interrupted run would have: ${
        changed.join("; ")
      }`,
    ],
    ...state.globalStep < maxSteps ? [] : [
      `Nothing is left to do: ${
        quoted(folder)
      } is after the last of ${maxSteps} steps`,
    ],
  ];
}
