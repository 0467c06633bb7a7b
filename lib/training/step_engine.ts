/**
 * One optimizer step on flat parameters: gradients of all micro-batches,
 * unscaling, clipping, update. Knows nothing of epochs, logs or files.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { TrainingArguments } from "../arguments/settings.ts";
import type { Batch } from "../data/batch.ts";
import type { DType } from "../formats/dtype.ts";
import { ActivationBudget } from "./activation_budget.ts";
import { type Device, tensorScope } from "../tensor/mod.ts";
import { FlatParameters } from "./flat_parameters.ts";
import { queueGradients, readNumbers } from "./gradients.ts";
import {
  gradientNorm,
  LossScaler,
  type LossScalerState,
  scaleGradients,
} from "./gradient_scaling.ts";
import { type LoraPlus, rateFactors } from "./lora_plus.ts";
import type { TokenLoss } from "./loss.ts";
import type { Optimizer } from "./optimizer.ts";
import { optimizerNamed } from "./optimizers.ts";
import type { TrainableModel } from "./trainable_model.ts";

/** The result of one step. */
export interface StepResult {
  /** Mean loss of the step. */
  readonly loss: number;
  /** Norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** Whether the update was skipped, because gradients or loss were not finite. */
  readonly skipped: boolean;
  /** Whether they were not finite for a reason other than float16's loss scale. */
  readonly failed: boolean;
}

/** The input of a step, besides its batches. */
export interface StepInput {
  /** Learning rate of the update. */
  readonly learningRate: number;
  /** Numbers that seed dropout in this step. */
  readonly seed: readonly number[];
  /** How micro-batches are weighted. */
  readonly loss: "tokens" | "reference";
}

/** The types in which a step is computed. */
export interface Precision {
  /** The type in which matrix products are computed, or `null` for that of the weights. */
  readonly autocast: DType | null;
  /** Whether losses are scaled, so that gradients do not underflow in float16. */
  readonly lossScaling: boolean;
}

/** Options of a {@linkcode StepEngine}. */
export interface EngineOptions {
  /** Default: what the arguments ask for. */
  readonly precision?: Precision;
  /** Other learning rates for `B`. Default: one rate for all. */
  readonly loraPlus?: LoraPlus;
  /** The loss in place of cross entropy. */
  readonly lossFunction?: TokenLoss;
  /** Bytes that are free for the run. Default: what the system says. */
  readonly freeMemory?: number | null;
}

/** The precision that `args` ask for. As in transformers, float16 is for CUDA devices only. */
function precisionOf(args: TrainingArguments, device: Device): Precision {
  const fp16 = args.fp16 && device.type === "cuda";
  return {
    autocast: args.bf16 ? "bfloat16" : fp16 ? "float16" : null,
    lossScaling: fp16,
  };
}

/** Owns the flat parameters and the optimizer. */
export class StepEngine implements Disposable {
  /** The trained parameters. */
  readonly parameters: FlatParameters;
  /** Their optimizer. */
  readonly optimizer: Optimizer;
  readonly #model: CausalLm;
  readonly #args: TrainingArguments;
  /** Which layers are recomputed where the arguments leave it open, else `null`. */
  readonly activations: ActivationBudget | null;
  /** The type in which matrix products are computed, or `null` for that of the weights. */
  readonly autocast: DType | null;
  readonly #lossFunction: TokenLoss | undefined;
  #scaler: LossScaler | null = null;

  /** Moves the trainable parameters into flat tensors. */
  constructor(
    trainable: TrainableModel,
    args: TrainingArguments,
    options: EngineOptions = {},
  ) {
    const { model } = trainable;
    const { precision = precisionOf(args, model.device), loraPlus } = options;
    const definition = optimizerNamed(args.optim);
    this.#model = model;
    this.#args = args;
    this.#lossFunction = options.lossFunction;
    this.parameters = new FlatParameters(
      trainable.parameters,
      model.device,
      rateFactors(loraPlus, args.learning_rate),
    );
    this.optimizer = definition.create(this.parameters, args);
    this.autocast = precision.autocast;
    this.activations = args.gradient_checkpointing === "auto"
      ? new ActivationBudget(trainable, this.autocast, options.freeMemory)
      : null;
    if (precision.lossScaling) this.#scaler = new LossScaler();
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
    this.optimizer.train?.(true);
    this.parameters.zeroGradients();
    const scale = this.#scaler?.scale ?? 1;
    using _scope = tensorScope();
    const queued = batches.map((batch, index) =>
      queueGradients(this.#model, batch, {
        factor: scale * shareOf(batch, { batches, loss: input.loss }),
        checkpointing: this.activations?.recomputedLayers(batch) ??
          this.#args.gradient_checkpointing !== false,
        autocast: this.autocast,
        lossFunction: this.#lossFunction,
        labelSmoothing: this.#args.label_smoothing_factor,
        neftuneNoiseAlpha: this.#args.neftune_noise_alpha,
        seed: [...input.seed, index],
      })
    );
    const norm = gradientNorm(this.parameters.gradients);
    // the only wait for a device in a step
    const [scaledNorm = 0, ...numbers] = readNumbers([norm, ...queued.flat()]);
    let loss = 0;
    for (const { length } of queued) {
      const scaled = numbers.splice(0, length);
      loss += scaled.reduce((sum, each) => sum + each, 0) / scale;
    }
    const gradNorm = scaledNorm / scale;
    const update = this.#update({ loss, gradNorm }, { scale, input });
    return { loss, gradNorm, ...update };
  }

  /**
   * Updates the parameters, unless loss or gradients are not finite: one such update
   * would make the parameters useless. In float16 a lower loss scale usually helps;
   * the step counts as failed where it cannot, because the loss itself is not finite
   * or the scale is below 1.
   */
  #update(
    { loss, gradNorm }: Pick<StepResult, "loss" | "gradNorm">,
    { scale, input }: { scale: number; input: StepInput },
  ): Pick<StepResult, "skipped" | "failed"> {
    this.#scaler?.update(Number.isFinite(gradNorm));
    const skipped = !Number.isFinite(gradNorm) || !Number.isFinite(loss);
    if (skipped) {
      const isScaling = this.#scaler !== null && scale >= 1 &&
        Number.isFinite(loss);
      return { skipped, failed: !isScaling };
    }
    scaleGradients(this.parameters.gradients, {
      norm: gradNorm,
      maxNorm: this.#args.max_grad_norm,
      factor: 1 / scale,
    });
    this.optimizer.step(input.learningRate);
    return { skipped, failed: false };
  }

  /** Frees gradients and moments; the model keeps its weights. */
  [Symbol.dispose](): void {
    this.optimizer.train?.(false);
    this.optimizer[Symbol.dispose]();
    this.parameters[Symbol.dispose]();
  }
}

/** The factor of a micro-batch's sum of losses in the loss of its window. */
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
