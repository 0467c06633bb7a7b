/**
 * `optimizer.pt`, `scheduler.pt`, `scaler.pt` and `rng_state.pth` of a
 * checkpoint, in the form that transformers' Trainer writes and reads. lorikeet
 * reads back the first and the third; the content of the other two follows from
 * the number of steps and the settings.
 *
 * @module
 */

import type { TensorData } from "../formats/dtype.ts";
import { isFile } from "../formats/file_info.ts";
import type { TorchValue } from "../formats/pickle_writer.ts";
import { PyFloat } from "../formats/python_json.ts";
import type { LazyTensor } from "../formats/tensor_source.ts";
import { TorchArchive, writeTorchObject } from "../formats/torch_archive.ts";
import { InputError, quoted } from "../input_error.ts";
import { tensorScope, toData } from "../tensor/mod.ts";
import type {
  FlatEntry,
  FlatGroup,
  FlatParameters,
} from "./flat_parameters.ts";
import { GRAD_SCALER, type LossScalerState } from "./gradient_scaling.ts";
import type { Optimizer } from "./optimizer.ts";
import { mixSeed } from "./sampler.ts";

/** transformers' names of the files. */
export const OPTIMIZER_FILE = "optimizer.pt";
const SCHEDULER_FILE = "scheduler.pt";
const SCALER_FILE = "scaler.pt";
const RANDOM_FILE = "rng_state.pth";

/** The content of the files. */
export interface OptimizerContent {
  readonly parameters: FlatParameters;
  readonly optimizer: Optimizer;
  /** State of loss scaling, for float16. */
  readonly lossScaler: LossScalerState | null;
  /** The highest learning rate. */
  readonly baseRate: number;
  /** The learning rate of the next update. */
  readonly nextRate: number;
  /** Numbers that seed the random streams. */
  readonly seed: readonly number[];
}

/** Writes the files into `folder`. */
export function writeOptimizerFiles(
  folder: string,
  content: OptimizerContent,
): void {
  using _scope = tensorScope();
  const { lossScaler, seed } = content;
  writeTorchObject(`${folder}/${OPTIMIZER_FILE}`, optimizerObject(content));
  writeTorchObject(`${folder}/${SCHEDULER_FILE}`, schedulerObject(content));
  if (lossScaler !== null) {
    writeTorchObject(`${folder}/${SCALER_FILE}`, scalerObject(lossScaler));
  }
  writeTorchObject(`${folder}/${RANDOM_FILE}`, randomObject(seed));
}

/** `optimizer.state_dict()`: parameters are numbered, first those with weight decay. */
function optimizerObject(content: OptimizerContent): TorchValue {
  const { parameters, optimizer, baseRate, nextRate } = content;
  const { entries, groups } = parameters;
  const { step, ...scalars } = optimizer.scalars;
  const states = entries.map((entry, index): [number, TorchValue] => [
    index,
    new Map<string, TorchValue>([
      ["step", stepTensor(optimizer)],
      ...lazyState(optimizer, entry),
    ]),
  ]);
  const none = { start: 0, end: 0, rate: 1 };
  const group = (own: FlatGroup): TorchValue => {
    const { decays, rate } = own;
    const isOwn = ({ start }: FlatEntry): boolean =>
      start >= own.start && start < own.end;
    return new Map<string, TorchValue>([
      ["lr", new PyFloat(nextRate * rate)],
      ...Object.entries({ ...optimizer.settings, ...scalars }).map(
        ([name, value]): [string, TorchValue] => [name, settingValue(value)],
      ),
      ["weight_decay", new PyFloat(decays ? optimizer.weightDecay : 0)],
      ["initial_lr", new PyFloat(baseRate * rate)],
      ["params", [...entries.keys()].filter((at) => isOwn(entries[at]!))],
    ]);
  };
  return new Map<string, TorchValue>([
    ["state", new Map(step === 0 ? [] : states)],
    // transformers makes a group with decay and one without, even if it is empty
    [
      "param_groups",
      [true, false].flatMap((decays) => {
        const own = groups.filter((each) => each.decays === decays);
        return own.length > 0 ? own.map(group) : [group({ ...none, decays })];
      }),
    ],
  ]);
}

function settingValue(value: Optimizer["settings"][string]): TorchValue {
  if (typeof value === "number") return new PyFloat(value);
  return Array.isArray(value)
    ? { tuple: value.map((each: number) => new PyFloat(each)) }
    : value as null | boolean;
}

/** PyTorch stores the number of updates for each parameter. */
function stepTensor({ scalars }: Optimizer): TorchValue {
  const bytes = new Uint8Array(Float32Array.of(scalars.step).buffer);
  return { dtype: "float32", shape: [], bytes };
}

function lazyState(
  optimizer: Optimizer,
  entry: FlatEntry,
): [string, LazyTensor][] {
  return Object.entries(optimizer.stateOf(entry)).map(([name, { shape }]) => [
    name,
    {
      dtype: "float32",
      shape: [...shape],
      read: () => toData(optimizer.stateOf(entry)[name]!).bytes,
    },
  ]);
}

/** `LambdaLR.state_dict()`. */
function schedulerObject(content: OptimizerContent): TorchValue {
  const { optimizer, baseRate, nextRate } = content;
  const { step } = optimizer.scalars;
  const both = (value: TorchValue): TorchValue => [value, value];
  return new Map<string, TorchValue>([
    ["base_lrs", both(new PyFloat(baseRate))],
    ["last_epoch", step],
    ["_step_count", step + 1],
    ["_is_initial", false],
    ["_get_lr_called_within_step", false],
    ["_last_lr", both(new PyFloat(nextRate))],
    ["lr_lambdas", both(new Map())],
  ]);
}

/** `GradScaler.state_dict()`. */
function scalerObject(state: LossScalerState): TorchValue {
  return new Map<string, TorchValue>([
    ["scale", new PyFloat(state.scale)],
    ["growth_factor", new PyFloat(GRAD_SCALER.growthFactor)],
    ["backoff_factor", new PyFloat(GRAD_SCALER.backoffFactor)],
    ["growth_interval", GRAD_SCALER.growthInterval],
    ["_growth_tracker", state.goodSteps],
  ]);
}

const TWISTER_WORDS = 624;

/**
 * The random streams of Python, numpy and PyTorch, newly seeded. lorikeet
 * computes its random choices from the place in the run and needs no stream, but
 * transformers continues from one.
 */
function randomObject(seed: readonly number[]): TorchValue {
  const mixed = mixSeed(seed);
  const words = twisterWords(Number(mixed & 0xffffffffn));
  return new Map<string, TorchValue>([
    ["python", { tuple: [3, { tuple: [...words, TWISTER_WORDS] }, null] }],
    [
      "numpy",
      { tuple: ["MT19937", [...words], TWISTER_WORDS, 0, new PyFloat(0)] },
    ],
    ["cpu", byteTensor(cpuState(mixed, words))],
    ["cuda", byteTensor(cudaState(mixed))],
  ]);
}

/** The state of a Mersenne Twister after seeding (Matsumoto and Nishimura, 1998). */
function twisterWords(seed: number): Uint32Array {
  const words = new Uint32Array(TWISTER_WORDS);
  words[0] = seed;
  for (let at = 1; at < TWISTER_WORDS; at++) {
    const before = words[at - 1]!;
    words[at] = Math.imul(1812433253, before ^ (before >>> 30)) + at;
  }
  return words;
}

/**
 * `torch.Generator("cpu").get_state()`: the seed, how many words are left,
 * whether it is seeded, the next word, and all words in 64 bits each.
 */
function cpuState(seed: bigint, words: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(5056);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, seed, true);
  view.setInt32(8, 1, true);
  view.setInt32(12, 1, true);
  for (const [at, word] of words.entries()) {
    view.setUint32(24 + 8 * at, word, true);
  }
  return bytes;
}

/**
 * `torch.Generator("cuda").get_state()`: the seed, and how many numbers have
 * been drawn.
 */
function cudaState(seed: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setBigUint64(0, seed, true);
  return bytes;
}

function byteTensor(bytes: Uint8Array): TensorData {
  return { dtype: "uint8", shape: [bytes.length], bytes };
}

/**
 * The tensors in `optimizer.pt` of `folder`, by `name of parameter.name of
 * state`; the file numbers parameters in the order of `entries`. Empty before the
 * first update.
 *
 * @throws {InputError} when it is damaged, or is the state of other parameters.
 */
export function readOptimizerFile(
  folder: string,
  { entries }: FlatParameters,
): Map<string, TensorData> {
  const path = `${folder}/${OPTIMIZER_FILE}`;
  using archive = new TorchArchive(path);
  const object = archive.object();
  const states = object instanceof Map ? object.get("state") : undefined;
  if (!(states instanceof Map)) {
    throw new InputError(
      `Cannot resume from ${quoted(path)}: it has no "state" of an optimizer`,
    );
  }
  if (states.size !== 0 && states.size !== entries.length) {
    throw new InputError(
      `Cannot resume from ${
        quoted(path)
      }: it has the state of ${states.size} parameters, this run trains ${entries.length}`,
    );
  }
  const tensors = new Map<string, TensorData>();
  for (const [index, entry] of entries.entries()) {
    const state = states.get(index);
    if (!(state instanceof Map)) continue;
    for (const [key, value] of state) {
      const name = `${entry.path}.${key}`;
      const tensor = archive.tensorIn(value, name);
      if (tensor !== undefined && key !== "step") tensors.set(name, tensor);
    }
  }
  return tensors;
}

/**
 * Reads `scaler.pt` of `folder`; `null` where there is none.
 *
 * @throws {InputError} when it is damaged.
 */
export function readScalerFile(folder: string): LossScalerState | null {
  const path = `${folder}/${SCALER_FILE}`;
  if (!isFile(path)) return null;
  using archive = new TorchArchive(path);
  const object = archive.object();
  const field = (name: string): unknown =>
    object instanceof Map ? object.get(name) : undefined;
  const [scale, goodSteps] = [field("scale"), field("_growth_tracker")];
  const isWhole = typeof scale === "number" && scale > 0 &&
    Number.isFinite(scale) && typeof goodSteps === "number" && goodSteps >= 0;
  if (!isWhole) {
    throw new InputError(
      `Cannot resume from ${
        quoted(path)
      }: it has no "scale" and "_growth_tracker" of a GradScaler`,
    );
  }
  return { scale, goodSteps };
}
