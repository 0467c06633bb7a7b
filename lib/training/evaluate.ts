/**
 * The loss of rows without training: the mean over all trained tokens, whatever
 * the size of batches, perplexity and token accuracy, and what the model
 * predicts.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { Batch, Feature } from "../data/batch.ts";
import type { DType } from "../formats/dtype.ts";
import {
  aten,
  autocast,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
} from "../tensor/mod.ts";
import { Breath } from "./breath.ts";
import { logitRows } from "./gradients.ts";
import { inputIdsOf, lossTargets, type TokenLoss, tokenLoss } from "./loss.ts";

/** Options of {@linkcode evaluateRows}. */
export interface EvaluationOptions {
  /** Rows of a batch. It changes speed and memory only. */
  readonly batchSize: number;
  /** Makes a batch of rows. */
  readonly collate: (rows: readonly Feature[]) => Batch;
  /** The type in which matrix products are computed. Default that of the weights. */
  readonly autocast?: DType | null;
  /** The share of a label's weight that all tokens get. Default 0. */
  readonly labelSmoothing?: number;
  /** The loss in place of cross entropy. Default cross entropy. */
  readonly lossFunction?: TokenLoss | undefined;
  /** Aborting ends the evaluation with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What {@linkcode evaluateRows} returns. */
export interface Evaluation {
  /** Mean of `−log p` over the trained tokens, in nats. */
  readonly loss: number;
  /** Share of the trained tokens that are the most probable one. */
  readonly accuracy: number;
  /** Number of trained tokens. */
  readonly tokens: number;
  /** The most probable token at each trained position, in the order of the batches. */
  readonly predictions: readonly number[];
  /** The labels there. */
  readonly labels: readonly number[];
}

/**
 * The loss and the predictions of `model` on `rows`, in the order of the rows. The
 * model is left as it was: in training mode or not, with the lengths it has seen.
 */
export async function evaluateRows(
  model: CausalLm,
  rows: readonly Feature[],
  options: EvaluationOptions,
): Promise<Evaluation> {
  const { batchSize, collate, signal } = options;
  const isTraining = model.training;
  const state = model.runState();
  const parts: BatchResult[] = [];
  const breath = new Breath();
  model.train(false);
  try {
    for (let start = 0; start < rows.length; start += batchSize) {
      const own = rows.slice(start, start + batchSize);
      parts.push(evaluateBatch(model, collate(own), options));
      await breath.take();
      signal?.throwIfAborted();
    }
  } finally {
    model.train(isTraining);
    model.restoreRunState(state);
  }
  const sum = (value: (part: BatchResult) => number): number =>
    parts.reduce((total, part) => total + value(part), 0);
  const tokens = sum(({ labels }) => labels.length);
  return {
    loss: sum(({ lossSum }) => lossSum) / tokens,
    accuracy:
      sum(({ predictions, labels }) =>
        labels.filter((label, at) => label === predictions[at]).length
      ) / tokens,
    tokens,
    predictions: parts.flatMap(({ predictions }) => predictions),
    labels: parts.flatMap(({ labels }) => labels),
  };
}

interface BatchResult {
  readonly lossSum: number;
  readonly predictions: readonly number[];
  readonly labels: readonly number[];
}

function evaluateBatch(
  model: CausalLm,
  batch: Batch,
  options: EvaluationOptions,
): BatchResult {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const type = options.autocast ?? null;
  using _cast = type === null ? null : autocast(model.device, type);
  const targets = lossTargets(batch, model.device);
  if (targets === null) return { lossSum: 0, predictions: [], labels: [] };
  const trained = aten.indexSelect(
    lastHidden(model, batch),
    0,
    targets.rows,
  );
  const size = logitRows(model.config.vocabSize);
  const factor = tensor(1, { device: model.device });
  const predictions: Float64Array[] = [];
  let lossSum = 0;
  for (let start = 0; start < targets.labels.size; start += size) {
    using _part = tensorScope();
    const end = Math.min(start + size, targets.labels.size);
    const logits = model.head(aten.slice(trained, 0, start, end));
    const labels = aten.slice(targets.labels, 0, start, end);
    lossSum += tokenLoss(logits, {
      labels,
      factor,
      smoothing: options.labelSmoothing,
      loss: options.lossFunction,
    }).item();
    predictions.push(aten.argmax(logits, -1).toArray());
  }
  return {
    lossSum,
    predictions: predictions.flatMap((part) => [...part]),
    labels: Array.from(batch.targets.labels, Number),
  };
}

/** The hidden states before the head, `[tokens, hidden]`. */
function lastHidden(model: CausalLm, batch: Batch): Tensor {
  using scope = tensorScope();
  const context = model.context(batch);
  let hidden = model.embed(inputIdsOf(batch, model.device), context);
  for (const layer of model.decoderLayers) {
    using within = tensorScope();
    const next = within.keep(layer.forward(hidden, context));
    hidden[Symbol.dispose]();
    hidden = next;
  }
  return scope.keep(hidden);
}
