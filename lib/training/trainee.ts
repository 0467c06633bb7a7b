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
import { ADAPTER_PREFIX, ADAPTER_WEIGHTS, PeftModel } from "../peft/mod.ts";

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

function adapterTrainee(peft: PeftModel): Trainee {
  return {
    model: peft.base,
    parameters: peft.trainedParameters(),
    save: (folder) => peft.savePretrained(folder),
    read: (folder) =>
      new Map(
        Array.from(
          readSafetensors(`${folder}/${ADAPTER_WEIGHTS}`),
          ([name, data]) => [name.slice(ADAPTER_PREFIX.length), data],
        ),
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
