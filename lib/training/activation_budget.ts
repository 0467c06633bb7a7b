/**
 * `--gradient_checkpointing auto`: how many layers of a batch are recomputed, from an
 * estimate of the step's memory and the memory that is free when a run begins.
 *
 * @module
 */

import { AutoModelForCausalLM, type CausalLm } from "../architectures/mod.ts";
import type { Batch } from "../data/batch.ts";
import { type DType, DTYPE_BYTES } from "../formats/dtype.ts";
import {
  batchSizes,
  type StepForm,
  type StepMemory,
  stepMemory,
} from "./step_memory.ts";
import type { TrainableModel } from "./trainable_model.ts";

/** Share of the free memory that a step may take: estimates are up to 15 % too low. */
const SHARE = 0.8;

/** What a step may take, and what follows from it for the longest rows. */
export interface ActivationPlan {
  /** Bytes that a step may take, or `null` where the free memory is unknown. */
  readonly bytes: number | null;
  /** The model's layers. */
  readonly layers: number;
  /** How many of them are recomputed in a batch of the longest rows. */
  readonly recomputed: number;
}

/** What a step may take, and how many layers are recomputed so that it takes no more. */
export class ActivationBudget {
  /** The model without weights and adapter, for its sizes. */
  readonly #tree: CausalLm;
  readonly #form: StepForm;

  readonly #model: CausalLm;
  readonly #free: number | null;
  #bytes: number | null | undefined;

  /** The budget for steps of `trainable` where `free` bytes are free for the run. */
  constructor(
    trainable: TrainableModel,
    autocast: DType | null,
    free: number | null = freeMemory(),
  ) {
    const { model, targeted } = trainable;
    this.#free = free;
    this.#model = model;
    this.#tree = AutoModelForCausalLM.fromConfig(model.config);
    this.#form = {
      targeted,
      // masks are small: counted even where an adapter has no dropout
      dropout: true,
      held: model.inputEmbeddings().namedParameters().next().value!.tensor
        .dtype,
      autocast: autocast !== null,
    };
  }

  /**
   * Bytes that a step may take; with `null`, where the free memory is unknown, all
   * layers are recomputed. A run that is resumed keeps to what it began with.
   */
  get bytes(): number | null {
    if (this.#bytes === undefined) {
      this.#bytes = freeForActivations(this.#model, this.#free);
    }
    return this.#bytes;
  }

  set bytes(value: number | null) {
    this.#bytes = value;
  }

  /** What follows for `batch`. */
  planFor(batch: Batch): ActivationPlan {
    return {
      bytes: this.bytes,
      layers: this.#tree.decoderLayers.length,
      recomputed: this.recomputedLayers(batch),
    };
  }

  /** How many of the lowest layers of `batch` are recomputed: as few as fit. */
  recomputedLayers(batch: Batch): number {
    const all = this.#tree.decoderLayers.length;
    const { bytes } = this;
    if (bytes === null) return all;
    const memory = stepMemory(this.#tree, batchSizes(batch), this.#form);
    return fewestRecomputed(memory, all, bytes);
  }
}

/** How many of `all` layers are recomputed so that a step takes no more than `bytes`. */
export function fewestRecomputed(
  { peakWith }: StepMemory,
  all: number,
  bytes: number,
): number {
  for (let count = 0; count < all; count++) {
    if (peakWith(count) <= bytes) return count;
  }
  return all;
}

/** {@linkcode freeForStep} of a run that trains `model`; on a CPU only. */
function freeForActivations(
  model: CausalLm,
  free: number | null,
): number | null {
  if (model.device.type !== "cpu") return null;
  // weights are often mapped from files: the system counts them as free
  return freeForStep(weightBytes(model), free);
}

/**
 * Bytes that the system says are available, or `null` where Deno may not ask for
 * them: that needs `--allow-sys=systemMemoryInfo`. The limit of a container is not
 * known to it.
 */
export function freeMemory(): number | null {
  const { state } = Deno.permissions.querySync({
    name: "sys",
    kind: "systemMemoryInfo",
  });
  return state === "granted" ? Deno.systemMemoryInfo().available : null;
}

/**
 * Bytes that a step may take on this machine now when the run needs `others` besides,
 * or `null` where the free memory is unknown.
 */
export function freeForStep(
  others: number,
  free: number | null = freeMemory(),
): number | null {
  return free === null ? null : Math.max(0, SHARE * (free - others));
}

function weightBytes(model: CausalLm): number {
  const tensors = new Set(
    Array.from(model.namedParameters(), ({ tensor }) => tensor),
  );
  let bytes = 0;
  for (const { size, dtype } of tensors) bytes += size * DTYPE_BYTES[dtype];
  return bytes;
}
