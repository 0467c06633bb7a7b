/**
 * What a Trainer takes and gives, and what it tells those who watch a run.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { TrainingArguments } from "../arguments/settings.ts";
import type { Batch, Feature } from "../data/batch.ts";
import type { PadTokens } from "../data/collator.ts";
import type { PeftModel } from "../peft/mod.ts";
import type { OutputLock } from "./output_folder.ts";
import type { TrainingPlan } from "./plan.ts";
import type { StepResult } from "./step_engine.ts";
import type { LogRow } from "./trainer_state.ts";

/** What a `Trainer` is made of. */
export interface TrainerOptions {
  /** An adapter to train, or a whole model. */
  readonly model: PeftModel | CausalLm;
  /** How to train. */
  readonly args: TrainingArguments;
  /** The rows, prepared. */
  readonly trainDataset: readonly Feature[];
  /** Pads batches. */
  readonly tokenizer: PadTokens;
  /** Makes a batch of rows. Default the recipe's `data_collator`. */
  readonly dataCollator?: (
    features: readonly Feature[],
    tokenizer: PadTokens,
  ) => Batch;
  /**
   * `tokens`: mean over the trained tokens of the whole accumulation window.
   * `reference`: mean over micro-batches of their means. Default `tokens`.
   */
  readonly loss?: "tokens" | "reference";
  /** Watch the run. */
  readonly callbacks?: readonly TrainerCallback[];
  /** What `training_args.json` shall hold. Default `args`. */
  readonly argsJson?: Readonly<Record<string, unknown>>;
  /** Texts to write beside the weights, by file name, in every checkpoint too. */
  readonly files?: Readonly<Record<string, string>>;
}

/** Options of `Trainer.train()`. */
export interface TrainOptions {
  /** A checkpoint folder, or `true` for the newest in `output_dir`. Default `args.resume_from_checkpoint`. */
  readonly resumeFromCheckpoint?: string | boolean | null;
  /** Aborting finishes the step, saves a checkpoint and ends the run. */
  readonly signal?: AbortSignal;
  /** The lock on `output_dir`, where the caller holds it. Default: held during the run. */
  readonly lock?: OutputLock;
}

/** How a run ended. */
export interface TrainOutput {
  /** Optimizer steps that are done, those before a resume included. */
  readonly globalStep: number;
  /** Mean loss over all steps, those before a resume included. */
  readonly trainingLoss: number;
  /** The checkpoint saved because the run was aborted, or `null`. */
  readonly interruptedAt: string | null;
}

/** One optimizer step, done. */
export interface StepReport extends StepResult {
  /** Steps done, this one included. */
  readonly step: number;
  /** Epochs done, with fraction. */
  readonly epoch: number;
  /** Learning rate of this step. */
  readonly learningRate: number;
  /** Tokens that went through the model, padding not counted. */
  readonly tokens: number;
  /** Tokens whose prediction was trained. */
  readonly trainedTokens: number;
  /** Seconds that the step took. */
  readonly seconds: number;
}

/** What a callback asks for by setting a field to `true`, as in transformers. */
export interface TrainerControl {
  /** End the run after this step, as after the last one. */
  shouldTrainingStop: boolean;
  /** Add a log row after this step. */
  shouldLog: boolean;
  /** Save a checkpoint after this step. */
  shouldSave: boolean;
}

/** Watches a run; every method may be left out. */
export interface TrainerCallback {
  /** Before the first step; `step` is where a resumed run begins, else 0. */
  onTrainBegin?(plan: TrainingPlan, step: number): void;
  /** After each step, before it is logged and saved. */
  onStepEnd?(report: StepReport, control: TrainerControl): void;
  /** A row has been added to `log_history`. */
  onLog?(row: LogRow, control: TrainerControl): void;
  /** A checkpoint has been written. */
  onSave?(folder: string, control: TrainerControl): void;
  /** After the last step, also when the run was aborted or failed. */
  onTrainEnd?(): void;
  /** Something a user should know, in one sentence. */
  onWarning?(message: string): void;
}
