/**
 * The model to train: an adapter, or a whole model. Only this file knows how the
 * two differ: in their parameters, their names on disk, and their files.
 *
 * @module
 */

import { type CausalLm, saveModel } from "../architectures/mod.ts";
import type { TensorData } from "../formats/dtype.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { InputError } from "../input_error.ts";
import type { NamedParameter } from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { ADAPTER_PREFIX, ADAPTER_WEIGHTS, PeftModel } from "../peft/mod.ts";

/** Settings by name. */
export type RunSettings = Readonly<
  Record<string, string | number | boolean | null>
>;

/** A model with its trainable parameters, and how these are saved and read. */
export interface TrainableModel {
  /** The model, with the adapter in it. */
  readonly model: CausalLm;
  /** The trainable parameters, with their paths in the tree. */
  readonly parameters: readonly NamedParameter[];
  /** Paths of the layers that an adapter targets. */
  readonly targeted: readonly string[];
  /** The settings of the adapter that determine the result of the run. */
  readonly settings: RunSettings;
  /** Writes the trained weights in the format of peft or transformers. */
  save(folder: string): void;
  /** Reads what {@linkcode TrainableModel.save} wrote, by paths in the tree. */
  read(folder: string): ReadonlyMap<string, TensorData>;
}

/**
 * The trainable model in `model`: its adapter, or all of it.
 *
 * @throws {InputError} when it has no trainable parameter.
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
  const parameters = peft.trainedParameters();
  return {
    model: peft.base,
    parameters,
    targeted: peft.report.targeted,
    settings: adapterSettings(peft),
    save: (folder) => peft.savePretrained(folder),
    read: (folder) => {
      const trained = new Set(firstPlaces(parameters));
      const stored = new Set(
        Array.from(peft.stateDict(), ([name]) => plainName(name)),
      );
      // Files have a tensor once for each of its places, and embeddings besides.
      return new Map(
        Array.from(
          readSafetensors(`${folder}/${ADAPTER_WEIGHTS}`),
          ([name, data]) => [plainName(name), data] as const,
        ).filter(([path]) => trained.has(path) || !stored.has(path)),
      );
    },
  };
}

const plainName = (name: string): string => name.slice(ADAPTER_PREFIX.length);

/** The paths of `parameters`, of a tensor with several places only the first. */
function firstPlaces(parameters: readonly NamedParameter[]): string[] {
  const seen = new Set<Tensor>();
  return parameters.filter(({ tensor }) => {
    const isNew = !seen.has(tensor);
    seen.add(tensor);
    return isNew;
  }).map(({ path }) => path);
}

/**
 * Fields that say which layers are adapted, by which names, or how the
 * parameters were initialised.
 */
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
    targeted: [],
    settings: {},
    save: (folder) => saveModel(model, folder),
    read: (folder) => readSafetensors(`${folder}/model.safetensors`),
  };
}
