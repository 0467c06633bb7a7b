/**
 * Numbers that are not finite (NaN, infinity): after how many such steps a run
 * stops, and where in the model the first of them appears.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { Batch } from "../data/batch.ts";
import type { DType } from "../formats/dtype.ts";
import { fileInfo } from "../formats/file_info.ts";
import { InputError, quoted } from "../input_error.ts";
import type { Module } from "../nn/mod.ts";
import {
  aten,
  autocast,
  noGrad,
  type Tensor,
  tensorScope,
} from "../tensor/mod.ts";
import { type FlatParameters, viewOf } from "./flat_parameters.ts";
import { inputIdsOf } from "./loss.ts";
import type { StepReport } from "./trainer_options.ts";

/** A run stops after this many steps in a row whose loss or gradients are not finite. */
export const MAX_FAILED_STEPS = 3;

/** Counts failed steps. */
export class FailedSteps {
  /** Failed steps since the last good one. */
  inARow = 0;
  #hasWarned = false;

  /**
   * Counts a step; returns a sentence for the user at the first failed step of
   * the run, else `null`.
   */
  add({ failed, step }: StepReport): string | null {
    this.inARow = failed ? this.inARow + 1 : 0;
    if (!failed || this.#hasWarned) return null;
    this.#hasWarned = true;
    return `The loss or the gradients of step ${step} are not finite numbers: ` +
      "its update is skipped; after " +
      `${MAX_FAILED_STEPS} such steps in a row the run stops`;
  }
}

/** Whether all elements are finite. */
export function isFinite(values: Tensor): boolean {
  using _scope = tensorScope();
  return aten.all(aten.isfinite(values)).item() !== 0;
}

/**
 * Checks that the parameters of a run are finite before it begins.
 *
 * @throws {InputError} when they are not; the message names the first.
 */
export function refuseNonFiniteStart(
  { entries }: FlatParameters,
  step: number,
): void {
  const bad = entries.find(({ view }) => !isFinite(view));
  if (bad === undefined) return;
  throw new InputError(
    `Cannot train ${quoted(bad.path)}: before step ${
      step + 1
    } it has numbers ` +
      "that are not finite, a model with finite weights is needed",
  );
}

/**
 * Checks that weights are finite, before they are saved into `folder`.
 *
 * @throws {InputError} when they are not.
 */
export function refuseNonFinite(
  values: Tensor,
  run: {
    readonly folder: string;
    readonly step: number;
    /** The newest checkpoint of this run with an update, or `null`. */
    readonly checkpoint: string | null;
  },
): void {
  if (isFinite(values)) return;
  throw new InputError(
    `Cannot save ${
      quoted(run.folder)
    }: after step ${run.step} trained weights are not finite numbers, ` +
      `a lower --learning_rate is needed${lastGood(run.checkpoint)}`,
  );
}

function lastGood(checkpoint: string | null): string {
  // someone may have removed it meanwhile
  return checkpoint === null || fileInfo(checkpoint) === null
    ? ""
    : `; the last good checkpoint is ${quoted(checkpoint)}`;
}

/** What {@linkcode nonFiniteError} searches. */
export interface FailedStep {
  readonly model: CausalLm;
  /** The trained parameters, with the gradients of the step. */
  readonly parameters: FlatParameters;
  readonly batches: readonly Batch[];
  readonly autocast: DType | null;
  /** Number of steps so far. */
  readonly step: number;
  /** Number of failed steps in a row, this one included. */
  readonly inARow: number;
  /** The newest checkpoint of this run with an update, or `null`. */
  readonly checkpoint: string | null;
}

/**
 * The error that ends a run after failed steps: names the step, and where the
 * first non-finite number is.
 */
export function nonFiniteError(failed: FailedStep): InputError {
  const { step, inARow, checkpoint } = failed;
  const steps = inARow === 1
    ? "its loss or gradients are not finite numbers"
    : `the loss or the gradients of ${inARow} steps in a row are not finite numbers`;
  return new InputError(
    `Cannot go on training after step ${step}: ${steps}; ${firstPlace(failed)}${
      lastGood(checkpoint)
    }`,
  );
}

const REMEDY =
  "a lower --learning_rate, or --torch_dtype float32 or bfloat16 in place of float16, is needed";

function firstPlace(failed: FailedStep): string {
  for (const batch of failed.batches) {
    const found = firstInForward(batch, failed);
    if (found !== null) return found;
  }
  const { entries, gradients } = failed.parameters;
  using _scope = tensorScope();
  const entry = entries.find((each) => !isFinite(viewOf(gradients, each)));
  return entry === undefined
    ? `the norm of the gradients is beyond the range of float32, ${REMEDY}`
    : `the first is in the gradient of ${quoted(entry.path)}, ${REMEDY}`;
}

/** Runs the model part by part: embedding, layers, output layer. */
function firstInForward(batch: Batch, failed: FailedStep): string | null {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const { model } = failed;
  using _cast = failed.autocast === null
    ? null
    : autocast(model.device, failed.autocast);
  const context = model.context(batch);
  let hidden = model.embed(inputIdsOf(batch, model.device), context);
  if (!isFinite(hidden)) {
    return described("the embedding", model.inputEmbeddings(), failed);
  }
  for (const [index, layer] of model.decoderLayers.entries()) {
    using scope = tensorScope();
    hidden = scope.keep(layer.forward(hidden, context));
    if (!isFinite(hidden)) return described(`layer ${index}`, layer, failed);
  }
  return isFinite(model.head(hidden))
    ? null
    : described("the head", model, failed);
}

/** Says whether the weights of this part are the cause, and which. */
function described(
  place: string,
  module: Module,
  { model, parameters }: FailedStep,
): string {
  const start = `the first is in the output of ${place}`;
  const own = new Set([...module.namedParameters()].map((each) => each.tensor));
  const trained = new Set(parameters.entries.map((each) => each.view));
  for (const { path, tensor } of model.namedParameters()) {
    if (!own.has(tensor) || isFinite(tensor)) continue;
    return trained.has(tensor)
      ? `${start}, because the trained parameter ${
        quoted(path)
      } is not finite, ${REMEDY}`
      : `${start}, whose weight ${
        quoted(path)
      } in the base model is not finite, a base model with finite weights is needed`;
  }
  return `${start}, whose weights are finite, ${REMEDY}`;
}
