/**
 * The memory that a run needs at its highest point on a CPU, as
 * `deno task inspect` tells it before the run. The sum is made of what this process
 * holds already, libtorch, the weights, the adapter, and the tensors of a step.
 *
 * @module
 */

import { dataCollator, sharedRows } from "../lib/data/mod.ts";
import { type DType, DTYPE_BYTES } from "../lib/formats/mod.ts";
import { ggufFileAt } from "../lib/formats/gguf.ts";
import {
  type BatchSizes,
  batchSizes,
  fewestRecomputed,
  freeForStep,
  planTraining,
  type StepMemory,
  stepMemory,
} from "../lib/training/mod.ts";
import type { CausalLm, Feature, TrainArguments } from "../mod.ts";
import type { CheckedRun } from "./train_checks.ts";

/** Pages of libtorch, its kernels and their buffers in use; measured. */
const LIBTORCH = 145e6;
/** What the memory of a run is made of, in bytes. */
export interface RunMemory {
  /** Deno, rows and tokenizer, as this process holds them, and libtorch. */
  readonly program: number;
  /** The base weights, and their files where they are converted. */
  readonly base: number;
  /** The adapter, its gradients and the optimizer's moments. */
  readonly adapter: number;
  /** Activations, logits and what is computed with them. */
  readonly step: number;
  /** The same with the other setting of gradient_checkpointing. */
  readonly otherStep: number;
  /** All together. */
  readonly peak: number;
  /** The same with the other setting of gradient_checkpointing. */
  readonly otherPeak: number;
  /** The batch that the step was computed for. */
  readonly batch: BatchSizes;
  /** How the base is held. */
  readonly held: DType;
  /** Whether its files hold it in another form. */
  readonly converted: boolean;
}

/** Numbers of parameters. */
export interface ParameterCounts {
  /** Of the base model, a tied head counted once. */
  readonly base: number;
  /** Of the adapter. */
  readonly trainable: number;
}

/** Computes the memory of a run whose checks are done. */
export function runMemory(
  checked: CheckedRun,
  run: Pick<TrainArguments, "finetune" | "training">,
  counts: ParameterCounts,
): RunMemory {
  const { tree, adapter } = checked;
  const { finetune, training } = run;
  const program = Deno.memoryUsage().rss + LIBTORCH;
  const batch = largestBatch(checked, run);
  const held = heldType(tree, finetune.torch_dtype);
  const stored = storedBytes(tree, counts.base);
  const base = counts.base * DTYPE_BYTES[held];
  const tensors = stepMemory(tree, batch, {
    targeted: adapter.report.targeted,
    dropout: adapter.config.lora_dropout > 0,
    held,
    autocast: training.bf16,
  });
  const states = training.optim.startsWith("adamw") ? 4 : 3;
  const parts = {
    program,
    // weights that are converted stay mapped as they are stored, too
    base: base + (stored === base ? 0 : stored),
    adapter: states * counts.trainable * DTYPE_BYTES.float32,
  };
  const others = LIBTORCH + parts.base + parts.adapter;
  const [step, otherStep] = training.gradient_checkpointing === "auto"
    ? [stepThatFits(tensors, tree, others), tensors.kept] as const
    : training.gradient_checkpointing
    ? [tensors.recomputed, tensors.kept] as const
    : [tensors.kept, tensors.recomputed] as const;
  const peakWith = (bytes: number): number =>
    parts.program + parts.base + parts.adapter + bytes;
  return {
    ...parts,
    batch,
    held,
    converted: stored !== base,
    step,
    otherStep,
    peak: peakWith(step),
    otherPeak: peakWith(otherStep),
  };
}

/** The step's memory where what does not fit is recomputed; `others` come before it. */
function stepThatFits(
  tensors: StepMemory,
  tree: CausalLm,
  others: number,
): number {
  const bytes = freeForStep(others);
  if (bytes === null) return tensors.recomputed;
  const all = tree.decoderLayers.length;
  return tensors.peakWith(fewestRecomputed(tensors, all, bytes));
}

/** No more batches than this are drawn to find the largest. */
const DRAWN = 400;
/** No more tokens than this are drawn. */
const DRAWN_TOKENS = 1e6;

/**
 * The most tokens and the most trained tokens of a micro-batch, found by drawing as
 * many batches as the run has, up to a limit. The run itself draws others.
 */
function largestBatch(
  { dataset, tokenizer, tree }: CheckedRun,
  { finetune, training }: Pick<TrainArguments, "finetune" | "training">,
): BatchSizes {
  const { features } = dataset;
  const collate = finetune.shared_prefix && tree.paddingReason === null
    ? sharedRows
    : dataCollator;
  const plan = planTraining(features.length, training);
  const wanted = Math.min(
    plan.maxSteps * training.gradient_accumulation_steps,
    plan.batchesPerEpoch * plan.epochs,
    DRAWN,
  );
  const size = training.per_device_train_batch_size;
  const random = randomNumbers(training.seed);
  let largest: BatchSizes = { tokens: 0, trained: 0, length: null };
  let left: Feature[] = [];
  for (let drawn = 0, tokens = 0; drawn < wanted; drawn++) {
    if (left.length < size) left = shuffled(features, random);
    const batch = collate(left.splice(-size), tokenizer);
    const sizes = batchSizes(batch);
    largest = {
      tokens: Math.max(largest.tokens, sizes.tokens),
      trained: Math.max(largest.trained, sizes.trained),
      length: Math.max(largest.length ?? 0, sizes.length ?? 0) || null,
    };
    tokens += batch.tokens;
    if (tokens > DRAWN_TOKENS) break;
  }
  return largest;
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [order[at], order[other]] = [order[other]!, order[at]!];
  }
  return order;
}

/** Numbers from 0 to 1 by mulberry32, the same for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const HALF_OR_SINGLE = ["float32", "bfloat16", "float16"] as const;

/** How the base is held: as asked, or as config.json says; a GGUF file as its weights are computed. */
function heldType(tree: CausalLm, asked: DType | "auto"): DType {
  if (asked !== "auto") return asked;
  const { source } = tree.config;
  const named = source.dtype ?? source.torch_dtype;
  return HALF_OR_SINGLE.find((dtype) => dtype === named) ?? "float32";
}

/** Bytes of the base weights as their files hold them. */
function storedBytes(tree: CausalLm, count: number): number {
  const gguf = ggufFileAt(tree.config.path);
  return gguf === null
    ? count * DTYPE_BYTES[heldType(tree, "auto")]
    : Deno.statSync(gguf).size;
}
