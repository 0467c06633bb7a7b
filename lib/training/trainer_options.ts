/**
 * What a Trainer takes and gives.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { TrainingArguments } from "../arguments/settings.ts";
import type { Batch, Feature } from "../data/batch.ts";
import type { PadTokens } from "../data/collator.ts";
import type { PeftModel } from "../peft/mod.ts";
import type { TrainerCallback } from "./callbacks.ts";

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
  /** Makes a batch of rows. Default the seed's `data_collator`. */
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
}

/** Options of `Trainer.train()`. */
export interface TrainOptions {
  /** A checkpoint folder, or `true` for the newest in `output_dir`. Default `args.resume_from_checkpoint`. */
  readonly resumeFromCheckpoint?: string | boolean | null;
  /** Aborting finishes the step, saves a checkpoint and ends the run. */
  readonly signal?: AbortSignal;
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
