/**
 * The gradients of one computation on a model of the fixtures, as one list, so that
 * two ways to compute them can be compared.
 *
 * @module
 */

import {
  AutoModelForCausalLM,
  type CausalLm,
} from "../../lib/architectures/mod.ts";
import type { Batch } from "../../lib/data/mod.ts";
import { getPeftModel, type LoraConfig } from "../../lib/peft/mod.ts";
import { CPU } from "../../lib/tensor/mod.ts";
import { accumulateGradients, FlatParameters } from "../../lib/training/mod.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";

/** A loss and the gradients of all that is trained. */
export interface LossAndGradients {
  readonly loss: number;
  readonly gradients: Float64Array;
}

/**
 * What `compute` gives with the model in `path`, in training, with an adapter of
 * rank 2 that differs from zero, or as a whole where `adapter` is `null`.
 */
export function gradientsOf(
  path: string,
  { adapter: settings, compute }: {
    readonly adapter: Partial<LoraConfig> | null;
    readonly compute: (model: CausalLm) => number;
  },
): LossAndGradients {
  using base = AutoModelForCausalLM.fromPretrained(path);
  using adapter = settings && getPeftModel(base, {
    r: 2,
    init_lora_weights: false,
    ...settings,
  }, { seed: 3 });
  base.train();
  using flat = new FlatParameters(
    trainableModel(adapter ?? base).parameters,
    CPU,
  );
  const loss = compute(base);
  return { loss, gradients: flat.gradients.toArray() };
}

/** {@linkcode gradientsOf} the mean loss of `batch`, as a training step has them. */
export function batchGradients(
  path: string,
  batch: Batch,
  { adapter, checkpointing }: {
    readonly adapter: Partial<LoraConfig> | null;
    readonly checkpointing: boolean;
  },
): LossAndGradients {
  return gradientsOf(path, {
    adapter,
    compute: (model) =>
      accumulateGradients(model, batch, {
        checkpointing,
        autocast: null,
        seed: [1],
        factor: 1 / batch.targets.labels.length,
      }),
  });
}
