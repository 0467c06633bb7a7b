/**
 * Steps, epochs and intervals of a run, computed as in transformers' Trainer.
 * Numbers in, numbers out.
 *
 * @module
 */

import { InputError } from "../input_error.ts";

/** The settings that a plan depends on, with the names of `TrainingArguments`. */
export interface PlanArguments {
  /** Rows of a micro-batch. */
  readonly per_device_train_batch_size: number;
  /** Micro-batches of one optimizer step. */
  readonly gradient_accumulation_steps: number;
  /** Whether the last micro-batch of an epoch is left out when it is not full. */
  readonly dataloader_drop_last: boolean;
  /** Optimizer steps of the run; 0 or less: given by the number of epochs. */
  readonly max_steps: number;
  /** Passes over the rows, also fractions; used where `max_steps` is not set. */
  readonly num_train_epochs: number;
  /** Steps in which the rate rises; below 1 a fraction of all steps. */
  readonly warmup_steps: number;
  /** Steps between log rows; below 1 a fraction of all steps. */
  readonly logging_steps: number;
  /** Steps between checkpoints; below 1 a fraction of all steps. */
  readonly save_steps: number;
  /** Steps between evaluations; below 1 a fraction of all steps; `null` as log rows. */
  readonly eval_steps: number | null;
}

/** How long a run is. */
export interface TrainingPlan {
  /** Micro-batches of one epoch. */
  readonly batchesPerEpoch: number;
  /** Optimizer steps of one epoch. */
  readonly stepsPerEpoch: number;
  /** Optimizer steps of the run. */
  readonly maxSteps: number;
  /** Number of epochs, a last incomplete one included. */
  readonly epochs: number;
  /** Optimizer steps in which the learning rate rises from 0. */
  readonly warmupSteps: number;
  /** Steps between log rows. */
  readonly loggingSteps: number;
  /** Steps between checkpoints. */
  readonly saveSteps: number;
  /** Steps between evaluations. */
  readonly evalSteps: number;
}

/**
 * Plans a run over `rows` rows.
 *
 * @throws {InputError} when the rows do not fill a micro-batch.
 *
 * @example
 * ```ts
 * import { trainingArguments } from "@lorikeet/lorikeet";
 * import { planTraining } from "@lorikeet/lorikeet/training";
 *
 * const args = trainingArguments({
 *   output_dir: "out",
 *   per_device_train_batch_size: 4,
 *   num_train_epochs: 2,
 * });
 * if (planTraining(10, args).maxSteps !== 6) throw new Error("unexpected plan");
 * ```
 */
export function planTraining(rows: number, args: PlanArguments): TrainingPlan {
  const size = args.per_device_train_batch_size;
  const batchesPerEpoch = args.dataloader_drop_last
    ? Math.floor(rows / size)
    : Math.ceil(rows / size);
  if (batchesPerEpoch === 0) {
    throw new InputError(
      `Cannot train on ${rows} rows: they do not fill one batch of ${size}` +
        (args.dataloader_drop_last ? " and dataloader_drop_last is set" : ""),
    );
  }
  const stepsPerEpoch = Math.ceil(
    batchesPerEpoch / args.gradient_accumulation_steps,
  );
  const limited = args.max_steps > 0;
  const maxSteps = limited
    ? args.max_steps
    : Math.ceil(args.num_train_epochs * stepsPerEpoch);
  const share = (value: number): number =>
    value < 1 ? Math.ceil(maxSteps * value) : Math.trunc(value);
  return {
    batchesPerEpoch,
    stepsPerEpoch,
    maxSteps,
    epochs: limited
      ? Math.ceil(maxSteps / stepsPerEpoch)
      : Math.ceil(args.num_train_epochs),
    warmupSteps: share(args.warmup_steps),
    loggingSteps: share(args.logging_steps),
    saveSteps: share(args.save_steps),
    evalSteps: share(args.eval_steps ?? args.logging_steps),
  };
}

/** The micro-batches of step `step` of an epoch, counted from 0. */
export function windowAt(
  plan: TrainingPlan,
  options: { readonly step: number; readonly accumulation: number },
): { readonly start: number; readonly end: number } {
  const start = options.step * options.accumulation;
  const end = Math.min(start + options.accumulation, plan.batchesPerEpoch);
  return { start, end };
}

/** When something happens, as transformers names it. */
export type IntervalStrategy = "no" | "steps" | "epoch";

/** Whether a row is logged after `step` steps. */
export function logsAt(
  step: number,
  plan: TrainingPlan,
  args: { readonly logging_strategy: IntervalStrategy },
): boolean {
  const { logging_strategy: strategy } = args;
  return isDue(step, plan, { strategy, every: plan.loggingSteps });
}

/** Whether a checkpoint is saved after `step` steps: by interval, and at the end. */
export function savesAt(
  step: number,
  plan: TrainingPlan,
  args: { readonly save_strategy: IntervalStrategy | "best" },
): boolean {
  const { save_strategy: strategy } = args;
  if (strategy === "best") return false;
  return isDue(step, plan, { strategy, every: plan.saveSteps }) ||
    (strategy === "steps" && step >= plan.maxSteps);
}

/** The settings that say when a run is evaluated. */
export interface EvaluationTimes {
  readonly eval_strategy: IntervalStrategy;
  /** Steps, or epochs with strategy `epoch`, before the first evaluation. */
  readonly eval_delay: number;
}

/** Whether the run is evaluated after `step` steps, which are `epoch` epochs. */
export function evaluatesAt(
  { step, epoch }: { readonly step: number; readonly epoch: number },
  plan: TrainingPlan,
  args: EvaluationTimes,
): boolean {
  const { eval_strategy: strategy, eval_delay } = args;
  const since = strategy === "epoch" ? epoch : step;
  if (since < eval_delay) return false;
  return isDue(step, plan, { strategy, every: plan.evalSteps }) ||
    (strategy === "steps" && step >= plan.maxSteps);
}

function isDue(
  step: number,
  plan: TrainingPlan,
  interval: { strategy: IntervalStrategy; every: number },
): boolean {
  if (interval.strategy === "epoch") {
    // the end of the run also ends an epoch, as in transformers
    return step % plan.stepsPerEpoch === 0 || step >= plan.maxSteps;
  }
  return interval.strategy === "steps" && step % interval.every === 0;
}
