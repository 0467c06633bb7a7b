/**
 * Forward and backward pass of one micro-batch, with or without activation
 * checkpointing (Chen et al., arXiv:1604.06174). Activation checkpointing keeps
 * only the input of each layer, and computes the layer again when its gradient is
 * needed.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { Batch } from "../data/batch.ts";
import type { DType } from "../formats/dtype.ts";
import type { BatchContext, Module } from "../nn/mod.ts";
import {
  aten,
  autocast,
  type Device,
  GradientTape,
  manualSeed,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
  zeros,
} from "../tensor/mod.ts";
import {
  inputIdsOf,
  type LossTargets,
  lossTargets,
  type TokenLoss,
  tokenLoss,
} from "./loss.ts";
import { mixSeed } from "./sampler.ts";

/** How many logits are made at a time unless asked otherwise: 16 MiB of float32. */
const MAX_LOGITS = 2 ** 22;

/** Products with fewer rows take longer, because the head is read again for each part. */
const LEAST_ROWS = 64;

/** The number of trained tokens whose logits are made at a time. */
export function logitRows(
  vocabSize: number,
  maxLogits: number = Math.max(MAX_LOGITS, LEAST_ROWS * vocabSize),
): number {
  return Math.max(1, Math.floor(maxLogits / vocabSize));
}

/** Options of {@linkcode accumulateGradients}. */
export interface GradientOptions {
  /** The factor of the sum of the losses. */
  readonly factor: number;
  /**
   * Whether activations are recomputed instead of kept: those of all layers, or those
   * of so many layers from the lowest on.
   */
  readonly checkpointing: boolean | number;
  /** The type in which matrix products are computed, or `null` for that of the weights. */
  readonly autocast: DType | null;
  /** How many logits are made at a time. Default {@linkcode logitRows}'s. */
  readonly maxLogits?: number | undefined;
  /** The share of the label's weight that all tokens get. Default 0. */
  readonly labelSmoothing?: number;
  /** The loss in place of cross entropy. Default cross entropy. */
  readonly lossFunction?: TokenLoss | undefined;
  /** Noise of the embeddings in units of its rule, or `null` for none. Default `null`. */
  readonly neftuneNoiseAlpha?: number | null;
  /** Seeds dropout; the same numbers give the same masks. */
  readonly seed: readonly number[];
}

/**
 * Adds the gradients of one micro-batch to those of the trained parameters, and
 * returns the loss, `factor · Σ −log p`. A batch without trained tokens gives 0.
 */
export function accumulateGradients(
  model: CausalLm,
  batch: Batch,
  options: GradientOptions,
): number {
  using _scope = tensorScope();
  const losses = queueGradients(model, batch, options);
  return readNumbers(losses).reduce((sum, each) => sum + each, 0);
}

/** The values of scalar tensors, read all at once: reading waits for a device. */
export function readNumbers(scalars: readonly Tensor[]): number[] {
  if (scalars.length === 0) return [];
  using _scope = tensorScope();
  const flat = scalars.map((each) => aten.view(each, [1]));
  return [...aten.cat(flat).toArray()];
}

/**
 * As {@linkcode accumulateGradients}, but gives the parts of the loss as scalar
 * tensors that nothing has read, so that a device's work is queued without waiting.
 */
export function queueGradients(
  model: CausalLm,
  batch: Batch,
  options: GradientOptions,
): readonly Tensor[] {
  using scope = tensorScope();
  using _cast = options.autocast === null
    ? null
    : autocast(model.device, options.autocast);
  const pass = preparePass(model, { batch, options });
  if (pass === null) return [];
  const losses = recomputedLayers(pass) > 0 ? recomputed(pass) : recorded(pass);
  return losses.map((each) => scope.keep(each));
}

/** The forward pass of one micro-batch. */
interface Pass {
  readonly model: CausalLm;
  readonly ids: Tensor;
  readonly context: BatchContext;
  readonly options: GradientOptions;
  /** Rows of the last hidden states that are trained, and their labels. */
  readonly targets: LossTargets;
  /** The factor of the sum of the losses. */
  readonly factor: Tensor;
  /** Tokens of the longest row. */
  readonly longest: number;
}

function preparePass(
  model: CausalLm,
  input: { batch: Batch; options: GradientOptions },
): Pass | null {
  const { batch, options } = input;
  const targets = lossTargets(batch, model.device);
  // Made even without targets: a model may keep track of the lengths of all
  // batches.
  const context = model.context(batch);
  if (targets === null) return null;
  const factor = tensor(options.factor, { device: model.device });
  return {
    model,
    options,
    context,
    ids: inputIdsOf(batch, model.device),
    targets,
    factor,
    longest: 1 +
      batch.positions.reduce((most, each) => Math.max(most, each), 0),
  };
}

/**
 * The parts of the loss, computed from the last hidden states, and their gradient, or `null` where
 * nothing below the head is trained. Logits are the largest tensors of all, so they are
 * made for a part of the trained tokens at a time, and their gradients with them.
 */
function lossAndGradient(
  { model, targets, factor, options }: Pass,
  hidden: Tensor,
): { losses: Tensor[]; gradient: Tensor | null } {
  using scope = tensorScope();
  const { rows, labels } = targets;
  // A leaf: each part adds its gradient to those of the trained rows.
  const trained = aten.detach(aten.indexSelect(hidden, 0, rows))
    .requireGrad(hidden.isRecorded);
  const size = logitRows(model.config.vocabSize, options.maxLogits);
  const losses = places(Math.ceil(labels.size / size), hidden.device);
  for (const each of losses) scope.keep(each);
  for (const [index, loss] of losses.entries()) {
    using _part = tensorScope();
    using tape = new GradientTape();
    const start = index * size;
    const end = Math.min(start + size, labels.size);
    const logits = model.head(aten.slice(trained, 0, start, end));
    const own = aten.slice(labels, 0, start, end);
    const sum = tokenLoss(logits, {
      labels: own,
      factor,
      smoothing: options.labelSmoothing,
      loss: options.lossFunction,
    });
    if (sum.isRecorded) tape.backward(sum);
    aten.copy_(loss, aten.detach(sum));
  }
  const gradient = trained.grad;
  if (!hidden.isRecorded || gradient === null) {
    return { losses, gradient: null };
  }
  const whole = aten.detach(hidden).requireGrad();
  aten.backward(aten.indexSelect(whole, 0, rows), [], gradient);
  return { losses, gradient: scope.keep(whole.grad!) };
}

/**
 * Scalars of one tensor, which is made before the logits: small tensors that were made
 * between large ones and outlived them would break up glibc's heap.
 */
function places(count: number, device: Device): Tensor[] {
  using scope = tensorScope();
  const whole = zeros([count], { device });
  return Array.from(
    { length: count },
    (_, at) => scope.keep(aten.view(aten.slice(whole, 0, at, at + 1), [])),
  );
}

/** Runs layer `index`; dropout draws the same masks every time. */
function runLayer(pass: Pass, index: number, hidden: Tensor): Tensor {
  using scope = tensorScope();
  const { model, options, context } = pass;
  manualSeed(mixSeed([...options.seed, index]), model.device);
  return scope.keep(model.decoderLayers[index]!.forward(hidden, context));
}

/** Embeds the ids; dropout and noise draw the same numbers every time. */
function embedded({ model, options, ids, context, longest }: Pass): Tensor {
  using scope = tensorScope();
  const seed = [...options.seed, model.decoderLayers.length];
  manualSeed(mixSeed(seed), model.device);
  const hidden = model.embed(ids, context);
  const alpha = options.neftuneNoiseAlpha ?? null;
  return scope.keep(alpha === null ? hidden : noisy(hidden, alpha, longest));
}

/**
 * NEFTune (Jain et al., arXiv:2310.05914): uniform noise of up to `α / √(L · d)`,
 * where `L` is the length to which rows would be padded and `d` the hidden size.
 */
function noisy(hidden: Tensor, alpha: number, longest: number): Tensor {
  const most = alpha / Math.sqrt(longest * hidden.shape.at(-1)!);
  const noise = zeros(hidden.shape, { device: hidden.device });
  aten.uniform_(noise, -most, most);
  return hidden.add(aten.toDtype(noise, hidden.dtype));
}

function trained(module: Module): Tensor[] {
  const found = new Set<Tensor>();
  for (const { tensor: each } of module.namedParameters()) {
    if (each.requiresGrad) found.add(each);
  }
  return [...found];
}

/** Autograd keeps the activations that it needs. */
function recorded(pass: Pass): Tensor[] {
  const { model } = pass;
  using tape = new GradientTape();
  let hidden = embedded(pass);
  for (let index = 0; index < model.decoderLayers.length; index++) {
    hidden = runLayer(pass, index, hidden);
  }
  const { losses, gradient } = lossAndGradient(pass, hidden);
  if (gradient !== null) tape.backward(hidden, gradient);
  return losses;
}

/** How many of the lowest layers are computed again in the backward pass. */
function recomputedLayers({ model, options: { checkpointing } }: Pass): number {
  const all = model.decoderLayers.length;
  return Math.min(
    all,
    typeof checkpointing === "number" ? checkpointing : checkpointing ? all : 0,
  );
}

/**
 * Only the inputs of the lowest layers are kept; each of them is run again with
 * recording on, when what the others keep is freed already.
 */
function recomputed(pass: Pass): Tensor[] {
  const { model } = pass;
  const trainsEmbedding = trained(model.inputEmbeddings()).length > 0;
  const lowest = trainsEmbedding ? -1 : lowestTrained(model);
  const inputs = layerInputs(pass);
  const top = upperLayers(pass, inputs.pop()!, lowest < inputs.length);
  let { gradient } = top;
  for (let index = inputs.length - 1; index >= Math.max(lowest, 0); index--) {
    using input = inputs.pop()!;
    using above = gradient!;
    const wanted = index > lowest;
    gradient = layerGradient(pass, { index, input, gradient: above, wanted });
  }
  if (trainsEmbedding) {
    const parameters = trained(model.inputEmbeddings());
    aten.backward(embedded(pass), parameters, gradient);
  }
  return top.losses;
}

/**
 * The layers above those that are recomputed: the losses, and the gradient of `input`
 * where it is `wanted`.
 */
function upperLayers(
  pass: Pass,
  input: Tensor,
  wanted: boolean,
): { losses: Tensor[]; gradient: Tensor | null } {
  using scope = tensorScope();
  using tape = new GradientTape();
  const lowest = aten.detach(input).requireGrad(wanted);
  let hidden = lowest;
  for (
    let index = recomputedLayers(pass);
    index < pass.model.decoderLayers.length;
    index++
  ) {
    hidden = runLayer(pass, index, hidden);
  }
  const { losses, gradient } = lossAndGradient(pass, hidden);
  for (const each of losses) scope.keep(each);
  if (gradient === null) return { losses, gradient };
  if (hidden === lowest) return { losses, gradient: scope.keep(gradient) };
  tape.backward(hidden, gradient);
  const below = lowest.grad;
  return { losses, gradient: below && scope.keep(below) };
}

/** The first layer with trainable parameters; no gradients are needed below it. */
function lowestTrained(model: CausalLm): number {
  const layers = model.decoderLayers;
  const lowest = layers.findIndex((layer) => trained(layer).length > 0);
  return lowest < 0 ? layers.length : lowest;
}

/** The inputs of the layers that are recomputed, and the output of the last of them. */
function layerInputs(pass: Pass): Tensor[] {
  using _frozen = noGrad();
  const inputs = [embedded(pass)];
  for (let index = 0; index < recomputedLayers(pass); index++) {
    inputs.push(runLayer(pass, index, inputs[index]!));
  }
  return inputs;
}

/** The gradient of one layer's input; the gradients of its parameters are accumulated. */
function layerGradient(
  pass: Pass,
  layer: { index: number; input: Tensor; gradient: Tensor; wanted: boolean },
): Tensor {
  using scope = tensorScope();
  const input = aten.detach(layer.input).requireGrad(layer.wanted);
  using tape = new GradientTape();
  const output = runLayer(pass, layer.index, input);
  tape.backward(output, layer.gradient);
  return scope.keep(layer.wanted ? input.grad! : layer.gradient);
}
