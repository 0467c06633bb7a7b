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

/** A model with the parameters to train, and how they are saved and read. */
export interface TrainableModel {
  /** The model, the adapter injected. */
  readonly model: CausalLm;
  /** Parameters to train, as the tree names them. */
  readonly parameters: readonly NamedParameter[];
  /** Writes the trained weights in the format the ecosystem loads. */
  save(folder: string): void;
  /** Reads what {@linkcode TrainableModel.save} wrote, by the tree's names. */
  read(folder: string): ReadonlyMap<string, TensorData>;
}

/**
 * What is trainable of `model`: its adapter, or all of it.
 *
 * @throws {InputError} when there is nothing to train.
 */
export function trainableModel(model: CausalLm | PeftModel): TrainableModel {
  const trainable = model instanceof PeftModel
    ? trainableAdapter(model)
    : wholeModel(model);
  if (trainable.parameters.length === 0) {
    throw new InputError("Cannot train model: it has no trainable parameter");
  }
  return trainable;
}

function trainableAdapter(peft: PeftModel): TrainableModel {
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

function wholeModel(model: CausalLm): TrainableModel {
  return {
    model,
    parameters: [...model.namedParameters()],
    save: (folder) => saveModel(model, folder),
    read: (folder) => readSafetensors(`${folder}/model.safetensors`),
  };
}
