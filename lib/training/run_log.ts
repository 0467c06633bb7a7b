/**
 * What a run logs: the sums of losses, which a checkpoint saves so that a resumed
 * run reports the same numbers as an uninterrupted one, and the log rows computed
 * from them.
 *
 * @module
 */

import type { TrainingArguments } from "../arguments/settings.ts";
import type { TrainingPlan } from "./plan.ts";
import type { StepReport } from "./trainer_options.ts";
import type { LogRow, TrainerState } from "./trainer_state.ts";

/** Sums of losses. */
export interface LossSums {
  /** Sum of the losses of all steps. */
  readonly lossSum: number;
  /** Sum and number of the losses since the last log row. */
  readonly unlogged: { readonly sum: number; readonly count: number };
}

/** The row that transformers logs for the steps since the last one. */
export function lossRow(loss: number, report: StepReport): LogRow {
  return {
    loss,
    grad_norm: report.gradNorm,
    learning_rate: report.learningRate,
  };
}

/** The input of {@linkcode endRow}. */
export interface EndOfRun {
  readonly state: TrainerState;
  readonly plan: TrainingPlan;
  readonly args: TrainingArguments;
  /** Number of rows in the dataset. */
  readonly rows: number;
  /** The step after which this session began. */
  readonly first: number;
  /** Duration of this session in seconds. */
  readonly seconds: number;
  /** Sum of the losses of all steps. */
  readonly lossSum: number;
}

/**
 * The last row of a run: rates are of the steps in this session, the mean loss
 * is of all steps.
 */
export function endRow(run: EndOfRun): LogRow {
  const { args, plan, seconds, state } = run;
  const steps = state.globalStep - run.first;
  const rows = args.max_steps > 0
    ? steps * args.per_device_train_batch_size *
      args.gradient_accumulation_steps
    : run.rows * steps / plan.stepsPerEpoch;
  return {
    train_runtime: rounded(seconds, 4),
    train_samples_per_second: rounded(rows / seconds, 3),
    train_steps_per_second: rounded(steps / seconds, 3),
    total_flos: state.totalFlos,
    train_loss: run.lossSum / Math.max(state.globalStep, 1),
  };
}

/** `value` with `digits` decimals, as transformers logs times and rates. */
export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Sums up losses. */
export class LossLog {
  #total: number;
  #sum: number;
  #count: number;

  /** Starts at zero, or continues from `sums`. */
  constructor(sums: LossSums = { lossSum: 0, unlogged: { sum: 0, count: 0 } }) {
    this.#total = sums.lossSum;
    this.#sum = sums.unlogged.sum;
    this.#count = sums.unlogged.count;
  }

  /** The present sums. */
  get sums(): LossSums {
    return {
      lossSum: this.#total,
      unlogged: { sum: this.#sum, count: this.#count },
    };
  }

  /** Sum of the losses of all steps. */
  get total(): number {
    return this.#total;
  }

  /** Adds a loss; with `filter`, a NaN or infinite loss counts as the mean so far. */
  add(loss: number, options: { readonly filter: boolean }): void {
    const known = options.filter && !Number.isFinite(loss)
      ? this.#sum / Math.max(this.#count, 1)
      : loss;
    this.#total += known;
    this.#sum += known;
    this.#count++;
  }

  /** The mean loss since the last row; starts a new mean. */
  take(): number {
    const mean = this.#sum / this.#count;
    this.#sum = this.#count = 0;
    return mean;
  }
}
