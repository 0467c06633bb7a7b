/**
 * One optimizer step on flat parameters: gradients of all micro-batches, unscale,
 * clip, update. Knows nothing of epochs, logs or files.
 *
 * @module
 */

import type { TrainingArguments } from "../arguments/settings.ts";
import type { Batch } from "../data/batch.ts";
import type { DType } from "../formats/dtype.ts";
import { gradientNorm, scaleGradients } from "./clipping.ts";
import { FlatParameters } from "./flat_parameters.ts";
import { accumulateGradients } from "./gradients.ts";
import { LossScaler, type LossScalerState } from "./loss_scaler.ts";
import { type Optimizer, optimizerNamed } from "./optimizers.ts";
import type { Trainee } from "./trainee.ts";

/** What one step did. */
export interface StepResult {
  /** Mean loss of the step. */
  readonly loss: number;
  /** Norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** Whether float16 gradients overflowed, so that nothing was changed. */
  readonly skipped: boolean;
}

/** What a step needs to know. */
export interface StepInput {
  /** Learning rate as a function of the updates made so far. */
  readonly learningRate: (updates: number) => number;
  /** Numbers that seed this step's dropout. */
  readonly seed: readonly number[];
  /** How micro-batches are weighted. */
  readonly loss: "tokens" | "reference";
}

/** Owns the flat parameters and the optimizer. */
export class StepEngine implements Disposable {
  /** The trained parameters. */
  readonly parameters: FlatParameters;
  /** Their optimizer. */
  readonly optimizer: Optimizer;
  readonly #trainee: Trainee;
  readonly #args: TrainingArguments;
  readonly #autocast: DType | null;
  #scaler: LossScaler | null = null;

  /** Moves the trainee's parameters into flat tensors. */
  constructor(trainee: Trainee, args: TrainingArguments) {
    const { model } = trainee;
    const definition = optimizerNamed(args.optim);
    this.#trainee = trainee;
    this.#args = args;
    this.parameters = new FlatParameters(trainee.parameters, model.device);
    this.optimizer = definition.create(this.parameters, args);
    // As in the reference, float16 arithmetic is for CUDA devices.
    const fp16 = args.fp16 && model.device.type === "cuda";
    this.#autocast = args.bf16 ? "bfloat16" : fp16 ? "float16" : null;
    if (fp16) this.#scaler = new LossScaler();
  }

  /** Loss scaling's state, for checkpoints. */
  get lossScaler(): LossScalerState | null {
    return this.#scaler?.state ?? null;
  }

  set lossScaler(state: LossScalerState | null) {
    if (this.#scaler !== null && state !== null) {
      this.#scaler = new LossScaler(state);
    }
  }

  /** Trains on the micro-batches of one accumulation window. */
  step(batches: readonly Batch[], input: StepInput): StepResult {
    this.parameters.zeroGradients();
    const scale = this.#scaler?.scale ?? 1;
    let loss = 0;
    for (const [index, batch] of batches.entries()) {
      const scaled = accumulateGradients(this.#trainee.model, batch, {
        factor: scale * shareOf(batch, { batches, loss: input.loss }),
        checkpointing: this.#args.gradient_checkpointing,
        autocast: this.#autocast,
        seed: [...input.seed, index],
      });
      loss += scaled / scale;
    }
    return { loss, ...this.#update(scale, input) };
  }

  #update(scale: number, input: StepInput): Omit<StepResult, "loss"> {
    const { gradients } = this.parameters;
    const gradNorm = gradientNorm(gradients) / scale;
    const skipped = this.#scaler !== null && !Number.isFinite(gradNorm);
    this.#scaler?.update(!skipped);
    if (!skipped) {
      scaleGradients(gradients, {
        norm: gradNorm,
        maxNorm: this.#args.max_grad_norm,
        factor: 1 / scale,
      });
      this.optimizer.step(input.learningRate(this.optimizer.scalars.step));
    }
    return { gradNorm, skipped };
  }

  /** Frees gradients and moments; the model keeps its weights. */
  [Symbol.dispose](): void {
    this.optimizer[Symbol.dispose]();
    this.parameters[Symbol.dispose]();
  }
}

/** What the sum of a micro-batch's losses counts in the loss of its window. */
function shareOf(
  batch: Batch,
  window: { batches: readonly Batch[]; loss: "tokens" | "reference" },
): number {
  const { batches, loss } = window;
  if (loss === "reference") {
    return 1 / (Math.max(batch.targets.labels.length, 1) * batches.length);
  }
  const tokens = batches.reduce(
    (sum, each) => sum + each.targets.labels.length,
    0,
  );
  return 1 / Math.max(tokens, 1);
}
