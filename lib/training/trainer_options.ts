/**
 * Input and output of a Trainer, and the callbacks that follow a run.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { TrainingArguments } from "../arguments/settings.ts";
import type { Batch, Feature } from "../data/batch.ts";
import type { PadTokens } from "../data/collator.ts";
import type { PeftModel } from "../peft/mod.ts";
import type { EvalPrediction, EvaluationRows } from "./evaluations.ts";
import type { LoraPlus } from "./lora_plus.ts";
import type { OutputLock } from "./output_folder.ts";
import type { TrainingPlan } from "./plan.ts";
import type { StepResult } from "./step_engine.ts";
import type { TokenLoss } from "./loss.ts";
import type { LogRow, TrainerState } from "./trainer_state.ts";

/** The parts of a `Trainer`. */
export interface TrainerOptions {
  /** An adapter to train, or a whole model. */
  readonly model: PeftModel | CausalLm;
  /** The training arguments. */
  readonly args: TrainingArguments;
  /** The rows, as ids and labels. */
  readonly trainDataset: readonly Feature[];
  /** The rows to evaluate, or several sets of them by name. Default: none. */
  readonly evalDataset?: EvaluationRows;
  /** Its padding token fills up batches that are padded. */
  readonly tokenizer: PadTokens;
  /**
   * Whether rows lie end to end in a batch, with tokens that rows begin with in
   * common computed once. Losses and gradients are the same, except that dropout
   * draws one mask for a shared token instead of one for each row. Has no effect
   * where the model has a `paddingReason`. Default `true`.
   */
  readonly sharedPrefix?: boolean;
  /**
   * Makes a batch of rows. Default {@linkcode sharedRows}, or the recipe's
   * `data_collator` where rows are padded.
   */
  readonly dataCollator?: (
    features: readonly Feature[],
    tokenizer: PadTokens,
  ) => Batch;
  /**
   * `tokens`: the mean over the trained tokens of the whole accumulation window.
   * `reference`: the mean over micro-batches of their means, as in the recipe.
   * Default `tokens`.
   */
  readonly loss?: "tokens" | "reference";
  /**
   * The loss of tokens in place of cross entropy, in training and evaluation.
   * It needs no smoothing of labels.
   */
  readonly computeLossFunc?: TokenLoss;
  /** Further metrics of an evaluation, by their names without prefix. */
  readonly computeMetrics?: (
    prediction: EvalPrediction,
  ) => Readonly<Record<string, number>>;
  /**
   * Bytes that are free for the run, which `gradient_checkpointing auto` keeps to;
   * with `null` all layers are recomputed. Default: {@linkcode freeMemory}'s.
   */
  readonly freeMemory?: number | null;
  /** A higher learning rate for `B` than for `A`. Default: one rate for all. */
  readonly loraPlus?: LoraPlus;
  /** Follow the run. */
  readonly callbacks?: readonly TrainerCallback[];
  /** The content of `training_args.json`. Default `args`. */
  readonly argsJson?: Readonly<Record<string, unknown>>;
  /** Texts to write next to the weights, by file name; also into every checkpoint. */
  readonly files?: Readonly<Record<string, string>>;
}

/** Options of `Trainer.train()`. */
export interface TrainOptions {
  /** A checkpoint folder, or `true` for the newest in `output_dir`. Default `args.resume_from_checkpoint`. */
  readonly resumeFromCheckpoint?: string | boolean | null;
  /** Aborting finishes the step, saves a checkpoint and ends the run. */
  readonly signal?: AbortSignal;
  /**
   * The lock on `output_dir`, if the caller holds it already. Default: the run
   * locks the folder itself.
   */
  readonly lock?: OutputLock;
}

/** How a run ended. */
export interface TrainOutput {
  /** Number of optimizer steps, those before a resume included. */
  readonly globalStep: number;
  /** Mean loss over all steps, those before a resume included. */
  readonly trainingLoss: number;
  /** The checkpoint saved because the run was aborted, or `null`. */
  readonly interruptedAt: string | null;
}

/** A finished optimizer step. */
export interface StepReport extends StepResult {
  /** Number of steps, this one included. */
  readonly step: number;
  /** Number of epochs, with fraction. */
  readonly epoch: number;
  /** Learning rate of this step. */
  readonly learningRate: number;
  /** Tokens in the step's batches, without padding. */
  readonly tokens: number;
  /** Tokens whose prediction was trained. */
  readonly trainedTokens: number;
  /** Duration of the step in seconds. */
  readonly seconds: number;
}

/** What a callback asks for by setting a field to `true`, as in transformers. */
export interface TrainerControl {
  /** End the run after this step, as after the last one. */
  shouldTrainingStop: boolean;
  /** Add a log row after this step. */
  shouldLog: boolean;
  /** Evaluate after this step. */
  shouldEvaluate: boolean;
  /** Save a checkpoint after this step. */
  shouldSave: boolean;
}

/** The run that a callback follows. */
export interface FollowedRun {
  /** Its state. */
  readonly state: TrainerState;
  /** Its arguments. */
  readonly args: TrainingArguments;
}

/** Follows a run; every method is optional. */
export interface TrainerCallback {
  /** Before the first step; `step` is the number of steps before a resume, else 0. */
  onTrainBegin?(plan: TrainingPlan, step: number): void;
  /** Before the first step of an epoch; `epoch` counts from 0. */
  onEpochBegin?(epoch: number, control: TrainerControl): void;
  /** Before each step; `step` is its number, counted from 1. */
  onStepBegin?(step: number, control: TrainerControl): void;
  /** After the last step of an epoch; `epoch` counts from 0. */
  onEpochEnd?(epoch: number, control: TrainerControl): void;
  /** The rows of a set have been evaluated. */
  onEvaluate?(metrics: LogRow, control: TrainerControl, run: FollowedRun): void;
  /** Rows have been predicted. */
  onPredict?(metrics: LogRow): void;
  /** After each step, before logging, evaluating and saving. */
  onStepEnd?(report: StepReport, control: TrainerControl): void;
  /** A row has been added to `log_history`. */
  onLog?(row: LogRow, control: TrainerControl): void;
  /** A checkpoint has been written. */
  onSave?(folder: string, control: TrainerControl): void;
  /** After the last step, also when the run was aborted or failed. */
  onTrainEnd?(): void;
  /** Something the user should know, in one sentence. */
  onWarning?(message: string): void;
}

/** The callbacks of a run, and what they have asked for. */
export class Callbacks {
  /** What callbacks may set. */
  readonly control: TrainerControl = {
    shouldTrainingStop: false,
    shouldLog: false,
    shouldEvaluate: false,
    shouldSave: false,
  };
  readonly #callbacks: readonly TrainerCallback[];

  /** Nothing is asked for yet. */
  constructor(callbacks: readonly TrainerCallback[] = []) {
    this.#callbacks = callbacks;
  }

  /** Makes `call` for each callback, in their order. */
  notify(
    call: (callback: TrainerCallback, control: TrainerControl) => void,
  ): void {
    for (const each of this.#callbacks) call(each, this.control);
  }

  /** Gives each callback a sentence for the user, if there is one. */
  warn(message: string | null): void {
    if (message !== null) this.notify((each) => each.onWarning?.(message));
  }

  /** Whether a callback has asked for it since the last time. */
  isAsked(what: "shouldLog" | "shouldEvaluate" | "shouldSave"): boolean {
    const asked = this.control[what];
    this.control[what] = false;
    return asked;
  }
}
