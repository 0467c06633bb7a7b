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

/** Settings by name. */
export type RunSettings = Readonly<
  Record<string, string | number | boolean | null>
>;

/** A model with the parameters to train, and how they are saved and read. */
export interface TrainableModel {
  /** The model, the adapter injected. */
  readonly model: CausalLm;
  /** Parameters to train, as the tree names them. */
  readonly parameters: readonly NamedParameter[];
  /** What of the adapter's configuration makes a run come out as it does. */
  readonly settings: RunSettings;
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
    settings: adapterSettings(peft),
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

/** Fields that say which layers are adapted, which names show, or what was drawn at the start. */
const SAME_RUN = new Set([
  "base_model_name_or_path",
  "exclude_modules",
  "init_lora_weights",
  "layers_pattern",
  "layers_to_transform",
  "target_modules",
]);

function adapterSettings({ config }: PeftModel): RunSettings {
  return Object.fromEntries(
    Object.entries(config).filter(([name]) => !SAME_RUN.has(name))
      .map(([name, value]): [string, RunSettings[string]] => [
        name,
        typeof value === "object" ? JSON.stringify(value) : value,
      ]),
  );
}

function wholeModel(model: CausalLm): TrainableModel {
  return {
    model,
    parameters: [...model.namedParameters()],
    settings: {},
    save: (folder) => saveModel(model, folder),
    read: (folder) => readSafetensors(`${folder}/model.safetensors`),
  };
}
