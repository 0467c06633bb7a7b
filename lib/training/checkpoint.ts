/**
 * `checkpoint-N` folders: written under a temporary name, renamed when complete,
 * and read.
 *
 * @module
 */

import type { RunState } from "../architectures/mod.ts";
import { writeFailure } from "../formats/atomic_file.ts";
import type { TensorData } from "../formats/dtype.ts";
import { checksums } from "../formats/file_bytes.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import {
  listProblems,
  type NeededTensor,
  tensorProblems,
} from "../formats/tensor_check.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  aten,
  fromData,
  noGrad,
  type Tensor,
  tensorScope,
} from "../tensor/mod.ts";
import { type FlatParameters, viewOf } from "./flat_parameters.ts";
import type { LossSums } from "./run_log.ts";
import { isFinite } from "./non_finite.ts";
import {
  readOptimizerFile,
  readScalerFile,
  writeOptimizerFiles,
} from "./optimizer_files.ts";
import {
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
  /**
   * Bytes that a step may take where the run recomputes what does not fit, or `null`
   * where all is recomputed: bfloat16 gradients depend on what is recomputed.
   */
  readonly activationBytes?: number | null;
  /** CRC-32 of each file that is read again, by its name; made when they are written. */
  readonly crc32?: Readonly<Record<string, number>>;
}

/** Files that a resumed run computes with. */
function isRead(name: string): boolean {
  return name.endsWith(".safetensors") || name.endsWith(".pt");
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
    const crc32 = checksums(partial, isRead);
    writePythonJson(
      `${partial}/${RESUME_STATE}`,
      {
        ...resume,
        ...engine.activations && { activationBytes: engine.activations.bytes },
        savedAt,
        crc32,
      } as unknown as PythonJson,
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
  optimizer.train?.(false);
  readWeights(folder, { parameters, weights });
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
  const { activationBytes } = reading.resume;
  if (engine.activations !== null && activationBytes !== undefined) {
    engine.activations.bytes = activationBytes;
  }
  return reading;
}

/**
 * Loads the weights in `folder` into `parameters`.
 *
 * @throws {InputError} when a tensor is missing, unexpected, not finite, or of the
 *   wrong shape.
 */
export function readWeights(
  folder: string,
  { parameters, weights }: {
    readonly parameters: FlatParameters;
    readonly weights: (folder: string) => ReadonlyMap<string, TensorData>;
  },
): void {
  using _scope = tensorScope();
  const values = parameters.entries.map((entry) => ({
    name: entry.path,
    tensor: viewOf(parameters.values, entry),
  }));
  fill(folder, { into: values, stored: weights(folder) });
}

/**
 * The two JSON files in `folder`, their fields checked.
 *
 * @throws {InputError} when a file or a field is missing or wrong.
 */
export function readStates(folder: string): CheckpointReading {
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
  activationBytes: (value) =>
    value === undefined || value === null || isNumber(value),
  crc32: (value) => value === undefined || isNumbers(value),
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
