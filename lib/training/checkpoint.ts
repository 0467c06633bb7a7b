/**
 * `checkpoint-N` folders: written beside their place and moved into it when they
 * are whole, found again, checked, read back, and the oldest removed.
 *
 * @module
 */

import type { RunState } from "../architectures/mod.ts";
import { fileInfo, isFile } from "../formats/file_info.ts";
import type { TensorData } from "../formats/dtype.ts";
import { writeFailure } from "../formats/atomic_file.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { InputError } from "../input_error.ts";
import {
  aten,
  fromData,
  noGrad,
  type Tensor,
  tensorScope,
  toData,
} from "../tensor/mod.ts";
import { type FlatParameters, viewOf } from "./flat_parameters.ts";
import type { LossScalerState } from "./gradient_scaling.ts";
import type { Optimizer } from "./optimizers.ts";

/** The state that transformers' files have no place for. */
export interface ResumeState {
  /** Sum of the losses of all steps, for `train_loss`. */
  readonly lossSum: number;
  /** Sum and number of the losses since the last log row. */
  readonly unlogged: { readonly sum: number; readonly count: number };
  /** The optimizer's numbers: `step` counts updates, skipped steps do not. */
  readonly optimizer: Readonly<Record<string, number>>;
  /** What the model has gathered from the batches it saw. */
  readonly modelState: RunState;
  /** Loss scaling, for float16. */
  readonly lossScaler: LossScalerState | null;
  /** What fixes the order of the rows; another value breaks exactness. */
  readonly order: Readonly<Record<string, number>>;
}

const OPTIMIZER = "optimizer.safetensors";
const RESUME = "resume_state.json";
/** transformers' name of the state file. */
export const TRAINER_STATE = "trainer_state.json";

/** What goes into a checkpoint. */
export interface CheckpointContent {
  readonly parameters: FlatParameters;
  readonly optimizer: Optimizer;
  readonly state: PythonJson;
  readonly resume: ResumeState;
  /** Leave out what only resuming needs. */
  readonly onlyModel: boolean;
  /** Writes weights and arguments into a folder. */
  readonly saveModel: (folder: string) => void;
}

/**
 * Writes `output/checkpoint-step` and gives its path; never half of one.
 *
 * @throws {InputError} when the disk is full or may not be written.
 */
export function writeCheckpoint(
  output: string,
  content: CheckpointContent & { readonly step: number },
): string {
  const final = `${output}/checkpoint-${content.step}`;
  const partial = `${output}/tmp-checkpoint-${content.step}`;
  removeFolder(partial);
  try {
    fillCheckpoint(partial, content);
    removeFolder(final);
    Deno.renameSync(partial, final);
  } catch (error) {
    removeFolder(partial);
    throw writeFailure(final, error);
  }
  return final;
}

function fillCheckpoint(partial: string, content: CheckpointContent): void {
  Deno.mkdirSync(partial, { recursive: true });
  content.saveModel(partial);
  if (!content.onlyModel) {
    writeOptimizer(partial, content);
    writePythonJson(
      `${partial}/${RESUME}`,
      content.resume as unknown as PythonJson,
      { trailingNewline: true },
    );
  }
  writePythonJson(`${partial}/${TRAINER_STATE}`, content.state, {
    trailingNewline: true,
  });
}

function removeFolder(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function writeOptimizer(folder: string, content: CheckpointContent): void {
  using _scope = tensorScope();
  const tensors = new Map<string, TensorData>();
  for (const parameter of content.parameters.entries) {
    const state = content.optimizer.stateOf(parameter);
    for (const [name, tensor] of Object.entries(state)) {
      tensors.set(`${name}.${parameter.path}`, toData(tensor));
    }
  }
  writeSafetensors(`${folder}/${OPTIMIZER}`, tensors, {
    metadata: { format: "pt" },
  });
}

/** A checkpoint as read back. */
export interface CheckpointReading {
  readonly state: Record<string, unknown>;
  readonly resume: ResumeState;
}

/**
 * Puts the weights and moments in `folder` into `parameters` and `optimizer`.
 *
 * @throws {InputError} when a file is missing or a tensor is missing or misshapen.
 */
export function readCheckpoint(
  folder: string,
  target: {
    readonly parameters: FlatParameters;
    readonly optimizer: Optimizer;
    readonly weights: (folder: string) => ReadonlyMap<string, TensorData>;
  },
): CheckpointReading {
  const state = readFields(`${folder}/${TRAINER_STATE}`, {
    global_step: "number",
    log_history: "object",
  });
  const resume = readFields(`${folder}/${RESUME}`, {
    lossSum: "number",
    modelState: "object",
    unlogged: "object",
    optimizer: "object",
    order: "object",
  }) as unknown as ResumeState;
  const { parameters, optimizer } = target;
  const weights = target.weights(folder);
  using _scope = tensorScope();
  for (const parameter of parameters.entries) {
    fill(viewOf(parameters.values, parameter), {
      folder,
      name: parameter.path,
      stored: weights,
    });
  }
  refuseOthers(folder, { parameters, weights });
  const stored = readSafetensors(`${folder}/${OPTIMIZER}`);
  for (const parameter of parameters.entries) {
    const state = optimizer.stateOf(parameter);
    for (const [name, tensor] of Object.entries(state)) {
      fill(tensor, { folder, name: `${name}.${parameter.path}`, stored });
    }
  }
  Object.assign(optimizer.scalars, resume.optimizer);
  return { state, resume };
}

/** The object in a JSON file, once it has `fields` of these types. */
function readFields(
  path: string,
  fields: Readonly<Record<string, "number" | "object">>,
): Record<string, unknown> {
  const json = readJsonFile(path);
  for (const [name, type] of Object.entries(fields)) {
    if (typeof json[name] !== type || json[name] === null) {
      throw new InputError(
        `Cannot resume from "${path}": "${name}" is ${
          JSON.stringify(json[name]) ?? "missing"
        }, it should be a JSON ${type}`,
      );
    }
  }
  return json;
}

/** A run that trains less than the checkpoint would lose what it has learned there. */
function refuseOthers(
  folder: string,
  { parameters, weights }: {
    parameters: FlatParameters;
    weights: ReadonlyMap<string, TensorData>;
  },
): void {
  const own = new Set(parameters.entries.map(({ path }) => path));
  const others = [...weights.keys()].filter((name) => !own.has(name));
  if (others.length > 0) {
    throw new InputError(
      `Cannot resume from "${folder}": it has ${others.length} matrices that this run does not train, such as "${
        others[0]
      }", the target modules it was trained with are needed`,
    );
  }
}

function fill(
  target: Tensor,
  source: {
    folder: string;
    name: string;
    stored: ReadonlyMap<string, TensorData>;
  },
): void {
  const { folder, name, stored } = source;
  const data = stored.get(name);
  const problem = misfit(data, target.shape);
  if (data === undefined || problem !== null) {
    throw new InputError(
      `Cannot resume from "${folder}": "${name}" ${problem}`,
    );
  }
  using _frozen = noGrad();
  aten.copy_(target, fromData(data));
}

/** What is wrong with stored float32 numbers for a parameter of `shape`, or `null`. */
function misfit(
  data: TensorData | undefined,
  shape: readonly number[],
): string | null {
  if (data === undefined) return "is missing";
  if (data.dtype !== "float32") return `is ${data.dtype}, not float32`;
  return data.shape.join() === shape.join()
    ? null
    : `has shape [${data.shape.join(", ")}], this run has [${
      shape.join(", ")
    }]`;
}

/** The checkpoints in `output` that are whole, oldest step first. */
export function listCheckpoints(output: string): string[] {
  const found: [number, string][] = [];
  for (const entry of readFolder(output)) {
    const step = /^checkpoint-(\d+)$/.exec(entry.name)?.[1];
    if (
      step !== undefined && isFile(`${output}/${entry.name}/${TRAINER_STATE}`)
    ) {
      found.push([Number(step), `${output}/${entry.name}`]);
    }
  }
  return found.sort(([a], [b]) => a - b).map(([, path]) => path);
}

function readFolder(path: string): Iterable<Deno.DirEntry> {
  try {
    return [...Deno.readDirSync(path)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/**
 * Removes the oldest checkpoints until `limit` are left; `null` or 0 keeps all.
 * The oldest are those written first, as in transformers: an earlier run may have
 * left higher steps in the same folder.
 */
export function rotateCheckpoints(output: string, limit: number | null): void {
  if (limit === null || limit <= 0) return;
  const written = (path: string): number =>
    Deno.statSync(`${path}/${TRAINER_STATE}`).mtime?.getTime() ?? 0;
  const oldestFirst = listCheckpoints(output)
    .map((path) => ({ path, time: written(path) }))
    .sort((a, b) => a.time - b.time);
  for (const { path } of oldestFirst.slice(0, -limit)) removeFolder(path);
}

/**
 * The folder that `--resume_from_checkpoint` means: itself, or for `true` the
 * newest checkpoint in `output`; `null` for `false` or nothing.
 *
 * @throws {InputError} when there is none, or it cannot be resumed from.
 *
 * @example
 * ```ts
 * import { InputError, resolveCheckpoint } from "@lorikeet/lorikeet";
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
  const newest = /^(true|yes|y|t|1)$/i.test(word);
  const folder = newest
    ? listCheckpoints(output).at(-1)
    : word.replace(/\/+$/, "");
  if (folder === undefined) {
    throw new InputError(
      `Cannot resume from the newest checkpoint: no valid checkpoint found in output directory "${output}"`,
    );
  }
  if (fileInfo(folder) === null) {
    throw new InputError(
      `Cannot resume from "${folder}": it does not exist, the path of a checkpoint-N folder or true is needed`,
    );
  }
  const missing = [TRAINER_STATE, RESUME, OPTIMIZER].filter((name) =>
    !isFile(`${folder}/${name}`)
  );
  if (missing.length > 0) {
    throw new InputError(
      `Cannot resume from "${folder}": it has no ${missing.join(", no ")}, ` +
        "a checkpoint-N folder that lorikeet wrote without --save_only_model is needed",
    );
  }
  return folder;
}
