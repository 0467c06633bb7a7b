/**
 * `checkpoint-N` folders: written under a temporary name, renamed when complete,
 * found, checked, and read.
 *
 * @module
 */

import type { RunState } from "../architectures/mod.ts";
import { writeFailure } from "../formats/atomic_file.ts";
import type { TensorData } from "../formats/dtype.ts";
import { fileInfo, isFile } from "../formats/file_info.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { readSafetensorsHeader } from "../formats/safetensors_header.ts";
import {
  listProblems,
  type NeededTensor,
  tensorProblems,
} from "../formats/tensor_check.ts";
import { TorchArchive } from "../formats/torch_archive.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  aten,
  fromData,
  noGrad,
  type Tensor,
  tensorScope,
} from "../tensor/mod.ts";
import { viewOf } from "./flat_parameters.ts";
import type { LossSums } from "./run_log.ts";
import { isFinite } from "./non_finite.ts";
import {
  OPTIMIZER_FILE,
  readOptimizerFile,
  readScalerFile,
  writeOptimizerFiles,
} from "./optimizer_files.ts";
import {
  checkpointsByAge,
  partialFolder,
  placeCheckpoint,
  remove,
  RESUME_STATE,
  TRAINER_STATE,
} from "./output_folder.ts";
import type { StepEngine } from "./step_engine.ts";
import type { RunSettings } from "./trainable_model.ts";
import { stateFromJson, type TrainerState } from "./trainer_state.ts";

/** The state that no file of transformers has a field for. */
export interface ResumeState extends LossSums {
  /** The optimizer's numbers; its `step` counts updates, skipped steps not included. */
  readonly optimizer: Readonly<Record<string, number>>;
  /** The model's own state, which changes with the batches it sees. */
  readonly modelState: RunState;
  /** The settings that determine the result of the run. */
  readonly settings: RunSettings;
}

/** The content of a checkpoint. */
export interface CheckpointContent {
  readonly step: number;
  readonly engine: StepEngine;
  readonly state: PythonJson;
  readonly resume: ResumeState;
  /** The highest learning rate, and that of the next update. */
  readonly rates: { readonly base: number; readonly next: number };
  /** Numbers that seed the random streams with which transformers continues. */
  readonly seed: readonly number[];
  /** Leave out what is needed only for resuming. */
  readonly onlyModel: boolean;
  /** Writes weights and arguments into a folder. */
  readonly saveModel: (folder: string) => void;
}

/**
 * Writes `output/checkpoint-step` and returns its path. The folder appears
 * complete or not at all.
 *
 * @throws {InputError} when the disk is full or cannot be written.
 */
export function writeCheckpoint(
  output: string,
  content: CheckpointContent,
): string {
  const partial = partialFolder(output, content.step);
  remove(partial);
  try {
    fillCheckpoint(partial, content);
    return placeCheckpoint(output, content.step);
  } catch (error) {
    remove(partial);
    throw writeFailure(`${output}/checkpoint-${content.step}`, error);
  }
}

function fillCheckpoint(partial: string, content: CheckpointContent): void {
  const { engine, resume, rates, seed } = content;
  Deno.mkdirSync(partial, { recursive: true });
  content.saveModel(partial);
  if (!content.onlyModel) {
    writeOptimizerFiles(partial, {
      parameters: engine.parameters,
      optimizer: engine.optimizer,
      lossScaler: engine.lossScaler,
      baseRate: rates.base,
      nextRate: rates.next,
      seed,
    });
    const savedAt = new Date().toISOString();
    writePythonJson(
      `${partial}/${RESUME_STATE}`,
      { ...resume, savedAt } as unknown as PythonJson,
      { trailingNewline: true },
    );
  }
  // the last file: a folder that has it is complete
  writePythonJson(`${partial}/${TRAINER_STATE}`, content.state, {
    trailingNewline: true,
  });
}

/** The state read from a checkpoint. */
export interface CheckpointReading {
  readonly state: TrainerState;
  readonly resume: ResumeState;
}

/**
 * Loads the weights in `folder`, and the state of the optimizer and of loss
 * scaling, into `engine`.
 *
 * @throws {InputError} when a file is missing or damaged, or a tensor is missing,
 *   unexpected, not finite, or of the wrong shape.
 */
export function readCheckpoint(
  folder: string,
  target: {
    readonly engine: StepEngine;
    readonly weights: (folder: string) => ReadonlyMap<string, TensorData>;
    /** Checks the state before anything is changed; throws to refuse it. */
    readonly check: (reading: CheckpointReading) => void;
  },
): CheckpointReading {
  const { engine, weights } = target;
  const reading = readStates(folder);
  target.check(reading);
  using _scope = tensorScope();
  const { parameters, optimizer } = engine;
  const values = parameters.entries.map((entry) => ({
    name: entry.path,
    tensor: viewOf(parameters.values, entry),
  }));
  fill(folder, { into: values, stored: weights(folder) });
  const state = parameters.entries.flatMap((entry) =>
    Object.entries(optimizer.stateOf(entry)).map(([name, tensor]) => ({
      name: `${entry.path}.${name}`,
      tensor,
    }))
  );
  const stored = readOptimizerFile(folder, parameters);
  if (reading.resume.optimizer.step !== 0) {
    fill(folder, { into: state, stored });
  }
  Object.assign(optimizer.scalars, reading.resume.optimizer);
  engine.lossScaler = readScalerFile(folder);
  return reading;
}

/** Reads the two JSON files and checks their fields. */
function readStates(folder: string): CheckpointReading {
  const state = stateFromJson(`${folder}/${TRAINER_STATE}`);
  const path = `${folder}/${RESUME_STATE}`;
  const json = readJsonFile(path);
  for (const [name, fits] of Object.entries(RESUME_FIELDS)) {
    if (!fits(json[name])) {
      throw new InputError(
        `Cannot resume from ${quoted(path)}: "${name}" is ${
          json[name] === undefined ? "missing" : quoted(json[name])
        }, the file is damaged`,
      );
    }
  }
  const resume = json as unknown as ResumeState;
  const { step = NaN } = resume.optimizer;
  if (!Number.isInteger(step) || step < 0 || step > state.globalStep) {
    throw new InputError(
      `Cannot resume from ${
        quoted(path)
      }: the optimizer's "step" is ${step}, expected a whole number from 0 to the global_step ${state.globalStep}`,
    );
  }
  return { state, resume };
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumbers(value: unknown): boolean {
  return isObject(value) && Object.values(value).every(isNumber);
}

const RESUME_FIELDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  lossSum: isNumber,
  unlogged: (value) =>
    isObject(value) && isNumber(value.sum) && isNumber(value.count),
  optimizer: isNumbers,
  modelState: isNumbers,
  settings: isObject,
};

/** Copies stored tensors into tensors of the same names and shapes. */
function fill(
  folder: string,
  tensors: {
    into: readonly { readonly name: string; readonly tensor: Tensor }[];
    stored: ReadonlyMap<string, TensorData>;
  },
): void {
  const { into, stored } = tensors;
  const needed = into.map(({ name, tensor }): NeededTensor => ({
    name,
    shape: tensor.shape,
  }));
  const problems = [
    ...tensorProblems(stored, needed, {
      asks: "this run has",
      leftOver: "is not trained in this run",
    }),
    ...[...stored].filter(([, { dtype }]) => dtype !== "float32")
      .map(([name, { dtype }]) => `${quoted(name)} is ${dtype}, not float32`),
  ];
  if (problems.length > 0) {
    throw new InputError(
      `Cannot resume from ${quoted(folder)}: ${listProblems(problems)}`,
    );
  }
  using _frozen = noGrad();
  for (const { name, tensor } of into) {
    using source = fromData(stored.get(name)!);
    if (!isFinite(source)) {
      throw new InputError(
        `Cannot resume from ${quoted(folder)}: ${
          quoted(name)
        } holds numbers that are not finite, an earlier checkpoint is needed`,
      );
    }
    aten.copy_(tensor, source);
  }
}

/**
 * The folder that `--resume_from_checkpoint` names: a path, or for `true` the
 * checkpoint in `output` that was written last; `null` for `false` or nothing.
 *
 * @throws {InputError} when there is no checkpoint, or it is damaged or cannot be
 *   resumed from; the message names the newest that can be.
 *
 * @example
 * ```ts
 * import { InputError } from "@lorikeet/lorikeet";
 * import { resolveCheckpoint } from "@lorikeet/lorikeet/training";
 *
 * const folder = Deno.makeTempDirSync();
 * try {
 *   resolveCheckpoint(folder, "true");
 *   throw new Error("an empty folder has no checkpoint");
 * } catch (error) {
 *   if (!(error instanceof InputError)) throw error;
 * }
 * Deno.removeSync(folder);
 * ```
 */
export function resolveCheckpoint(
  output: string,
  asked: string | boolean | null,
): string | null {
  const word = String(asked ?? false);
  if (/^(false|no|n|f|0)$/i.test(word)) return null;
  if (/^(true|yes|y|t|1)$/i.test(word)) return newestCheckpoint(output);
  const folder = word.replace(/\/+$/, "");
  const problem = resumeProblem(folder);
  if (problem !== null) throw new InputError(problem);
  return folder;
}

function newestCheckpoint(output: string): string {
  const [newest, ...older] = checkpointsByAge(output).reverse();
  if (newest === undefined) {
    throw new InputError(
      `Cannot resume from the newest checkpoint: no valid checkpoint found in output directory ${
        quoted(output)
      }`,
    );
  }
  const problem = resumeProblem(newest);
  if (problem === null) return newest;
  const whole = older.find((each) => resumeProblem(each) === null);
  throw new InputError(
    whole === undefined
      ? problem
      : `${problem}; an earlier one is complete, use --resume_from_checkpoint ${whole}`,
  );
}

/**
 * Why `folder` cannot be resumed from, or `null`; checks the files, not every
 * number in them.
 */
function resumeProblem(folder: string): string | null {
  const start = `Cannot resume from ${quoted(folder)}: `;
  if (fileInfo(folder) === null) {
    return `${start}it does not exist, the path of a checkpoint-N folder or true is needed`;
  }
  const missing = [TRAINER_STATE, RESUME_STATE, OPTIMIZER_FILE]
    .filter((name) => !isFile(`${folder}/${name}`));
  if (missing.length > 0) {
    return `${start}it has no ${missing.join(", no ")}, ` +
      "a checkpoint-N folder that lorikeet wrote without --save_only_model is needed";
  }
  try {
    readStates(folder);
    for (const { name } of Deno.readDirSync(folder)) {
      const path = `${folder}/${name}`;
      if (name.endsWith(".safetensors")) readSafetensorsHeader(path);
      if (name === OPTIMIZER_FILE) new TorchArchive(path)[Symbol.dispose]();
    }
    return null;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}
