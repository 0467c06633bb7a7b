/**
 * What a run tells those who watch it.
 *
 * @module
 */

import type { TrainingPlan } from "./plan.ts";
import type { LogRow } from "./trainer_state.ts";

/** One optimizer step, done. */
export interface StepReport {
  /** Steps done, this one included. */
  readonly step: number;
  /** Epochs done, with fraction. */
  readonly epoch: number;
  /** Mean loss over the step's trained tokens. */
  readonly loss: number;
  /** Norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** Learning rate of this step. */
  readonly learningRate: number;
  /** Tokens that went through the model, padding not counted. */
  readonly tokens: number;
  /** Tokens whose prediction was trained. */
  readonly trainedTokens: number;
  /** Whether float16 gradients overflowed, so that nothing was changed. */
  readonly skipped: boolean;
  /** Seconds that the step took. */
  readonly seconds: number;
}

/** Watches a run; every method may be left out. */
export interface TrainerCallback {
  /** Before the first step; `step` is where a resumed run begins, else 0. */
  onTrainBegin?(plan: TrainingPlan, step: number): void;
  /** After each step. */
  onStepEnd?(report: StepReport): void;
  /** A row has been added to `log_history`. */
  onLog?(row: LogRow): void;
  /** A checkpoint has been written. */
  onSave?(folder: string): void;
  /** After the last step, also when the run was aborted or failed. */
  onTrainEnd?(): void;
  /** Something a user should know, in one sentence. */
  onWarning?(message: string): void;
}
