/**
 * One training step of a random Llama with LoRA on all seven projections, timed.
 *
 * @module
 */

import {
  initializeWeights,
  llamaConfig,
  LlamaForCausalLm,
} from "../lib/architectures/mod.ts";
import { trainingArguments } from "../lib/arguments/train_arguments.ts";
import { type Batch, paddedBatch } from "../lib/data/batch.ts";
import type { DType } from "../lib/formats/dtype.ts";
import { getPeftModel } from "../lib/peft/mod.ts";
import { CPU, type Device, setThreads } from "../lib/tensor/mod.ts";
import { StepEngine } from "../lib/training/step_engine.ts";
import { trainableModel } from "../lib/training/trainable_model.ts";

/** Sizes of the model and the batch, with the names of the baseline script. */
export interface Shape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly intermediate: number;
  readonly vocab: number;
  readonly batch: number;
  readonly length: number;
  readonly rank: number;
  readonly steps: number;
  readonly threads: number;
}

const WARMUP = 3;
const PROJECTIONS = ["q", "k", "v", "o", "gate", "up", "down"];

/** How a step is computed. */
export interface StepOptions {
  /** The device. Default the CPU. */
  readonly device?: Device;
  /** The type of the base weights. Default float32. */
  readonly dtype?: DType;
  /** Recompute activations. Default no. */
  readonly checkpointing?: boolean;
  /** Called while the memory of a step is still in use. */
  readonly onDone?: () => void;
}

/**
 * Duration of the median step in milliseconds, forward to optimizer; the first
 * three steps do not count.
 */
export function measureStep(shape: Shape, options: StepOptions = {}): number {
  const { device = CPU, dtype = "float32", checkpointing = false } = options;
  setThreads(shape.threads);
  using model = new LlamaForCausalLm(llamaConfig("bench", {
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kv_heads,
    intermediate_size: shape.intermediate,
    vocab_size: shape.vocab,
    rms_norm_eps: 1e-5,
  }));
  initializeWeights(model, { seed: 0, device, dtype });
  using peft = getPeftModel(model, {
    r: shape.rank,
    lora_alpha: 32,
    target_modules: PROJECTIONS.map((name) => `${name}_proj`),
  });
  using engine = new StepEngine(
    trainableModel(peft),
    trainingArguments({
      weight_decay: 0.01,
      gradient_checkpointing: checkpointing,
    }),
  );
  const took = Array.from({ length: WARMUP + shape.steps }, (_, step) => {
    const started = performance.now();
    engine.step([batchOf(shape)], {
      learningRate: 1e-4,
      seed: [0, step],
      loss: "tokens",
    });
    return performance.now() - started;
  });
  options.onDone?.();
  return median(took.slice(WARMUP));
}

function batchOf(shape: Shape): Batch {
  const ids = BigInt64Array.from(
    { length: shape.batch * shape.length },
    (_, index) => BigInt((index * 7919) % shape.vocab),
  );
  return paddedBatch({
    inputIds: ids,
    labels: ids,
    rows: shape.batch,
    tokens: ids.length,
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
