/**
 * What is trained: an adapter, or a whole model. The one place that knows how the
 * two differ: which parameters, which names on disk, which files.
 *
 * @module
 */

import { type CausalLm, saveModel } from "../architectures/mod.ts";
import type { TensorData } from "../formats/dtype.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { InputError } from "../input_error.ts";
import type { NamedParameter } from "../nn/mod.ts";
import { ADAPTER_WEIGHTS, PeftModel } from "../peft/mod.ts";

/** A model to train. */
export interface Trainee {
  readonly model: CausalLm;
  /** Parameters to train, as the tree names them. */
  readonly parameters: readonly NamedParameter[];
  /** Writes the trained weights in the format the ecosystem loads. */
  save(folder: string): void;
  /** Reads what {@linkcode Trainee.save} wrote, by the tree's names. */
  read(folder: string): ReadonlyMap<string, TensorData>;
}

/**
 * The trainee that `model` is: its adapter, or all of it.
 *
 * @throws {InputError} when there is nothing to train.
 */
export function traineeOf(model: CausalLm | PeftModel): Trainee {
  const trainee = model instanceof PeftModel
    ? adapterTrainee(model)
    : wholeTrainee(model);
  if (trainee.parameters.length === 0) {
    throw new InputError("Cannot train model: it has no trainable parameter");
  }
  return trainee;
}

const PREFIX = "base_model.model.";

function adapterTrainee(peft: PeftModel): Trainee {
  const own = new Set([...peft.adapters.keys()]);
  const isOwn = (path: string): boolean =>
    own.has(path.replace(/\.lora_[AB]\.weight$/, "")) &&
    /\.lora_[AB]\.weight$/.test(path);
  return {
    model: peft.base,
    parameters: [...peft.base.namedParameters()].filter(({ path }) =>
      isOwn(path)
    ),
    save: (folder) => peft.savePretrained(folder),
    read: (folder) =>
      new Map(
        [...readSafetensors(`${folder}/${ADAPTER_WEIGHTS}`)].map((
          [name, data],
        ) => [name.slice(PREFIX.length), data]),
      ),
  };
}

function wholeTrainee(model: CausalLm): Trainee {
  return {
    model,
    parameters: [...model.namedParameters()],
    save: (folder) => saveModel(model, folder),
    read: (folder) => readSafetensors(`${folder}/model.safetensors`),
  };
}
