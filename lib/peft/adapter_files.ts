/**
 * Adapter folders in peft's format, read and written. What peft ignores in
 * silence is an error here: missing and unexpected tensors, wrong shapes, no
 * weights.
 *
 * @module
 */

import { isFile } from "../formats/file_info.ts";
import type { TensorData } from "../formats/dtype.ts";
import { listProblems, tensorProblems } from "../formats/tensor_check.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import {
  readTorchArchive,
  writeTorchArchive,
} from "../formats/torch_archive.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  aten,
  DetachedScope,
  type Device,
  fromData,
  type Tensor,
  to,
  toData,
} from "../tensor/mod.ts";
import type { PlacedParameter } from "./adapter_kinds.ts";
import { joinExperts } from "./expert_adapters.ts";
import {
  type LoraConfig,
  loraConfigFromJson,
  loraConfigToJson,
} from "./lora_config.ts";

/** The file of the configuration. */
export const ADAPTER_CONFIG = "adapter_config.json";
/** The prefix that peft puts before paths in the base model. */
export const ADAPTER_PREFIX = "base_model.model.";
/** The file of weights that peft writes. */
export const ADAPTER_WEIGHTS = "adapter_model.safetensors";
/** The recipe's file of weights. */
const ADAPTER_ARCHIVE = "adapter_model.bin";

/**
 * Writes an adapter in peft's format into the folder `path`, which is made if
 * it does not exist.
 */
export function writeAdapter(
  path: string,
  adapter: { config: LoraConfig; tensors: Iterable<readonly [string, Tensor]> },
): void {
  Deno.mkdirSync(path, { recursive: true });
  writeSafetensors(`${path}/${ADAPTER_WEIGHTS}`, asData(adapter.tensors), {
    metadata: { format: "pt" },
  });
  writePythonJson(
    `${path}/${ADAPTER_CONFIG}`,
    loraConfigToJson(adapter.config) as PythonJson,
  );
}

/**
 * Writes the recipe's `adapter_model.bin` into the folder `path`;
 * `torch.load(weights_only=True)` opens it. Tensor names are those of
 * `adapter_model.safetensors`, the only ones that peft before 0.21 loads.
 */
export function writeAdapterArchive(
  path: string,
  tensors: Iterable<readonly [string, Tensor]>,
): void {
  writeTorchArchive(`${path}/${ADAPTER_ARCHIVE}`, asData(tensors));
}

function asData(
  tensors: Iterable<readonly [string, Tensor]>,
): Map<string, TensorData> {
  return new Map(
    Array.from(tensors, ([name, tensor]) => [name, toData(tensor)]),
  );
}

/** The configuration of the adapter in the folder `path`. */
export function readAdapterConfig(path: string): LoraConfig {
  const file = `${path}/${ADAPTER_CONFIG}`;
  return loraConfigFromJson(readJsonFile(file), file);
}

/** The tensors of the adapter in the folder `path`, by their names there. */
export function readWeights(path: string): ReadonlyMap<string, TensorData> {
  for (
    const [name, read] of [
      [ADAPTER_WEIGHTS, readSafetensors],
      [ADAPTER_ARCHIVE, readTorchArchive],
    ] as const
  ) {
    if (isFile(`${path}/${name}`)) return read(`${path}/${name}`);
  }
  throw new InputError(
    `Cannot load adapter "${path}": it has ${ADAPTER_CONFIG}, but neither ${ADAPTER_WEIGHTS} nor ${ADAPTER_ARCHIVE}`,
  );
}

/** Where an adapter's tensors go. */
export interface LoadTarget {
  /** The parameters that must be there. */
  readonly wanted: readonly PlacedParameter[];
  /** Tensors that may be there too, by their paths, with their shapes. */
  readonly optional: ReadonlyMap<string, readonly number[]>;
  /** The device of the parameters. */
  readonly device: Device;
}

/**
 * Loads the tensors of the adapter folder `path` into `wanted`, as float32 on
 * `device`, after checking that all of them exist, have the right shape and are
 * finite. Returns all stored tensors by their paths in the base model.
 *
 * @throws {InputError} listing all problems; nothing has been loaded then.
 */
export function loadAdapterTensors(
  path: string,
  target: LoadTarget,
): ReadonlyMap<string, TensorData> {
  const { wanted, optional, device } = target;
  const known = new Set([
    ...wanted.map((each) => each.path),
    ...optional.keys(),
  ]);
  const stored = joinExperts(plainNames(readWeights(path), known), wanted);
  const besides = [...optional].filter(([name]) => stored.has(name));
  const problems = tensorProblems(
    stored,
    [
      ...wanted.map((each) => ({ name: each.path, shape: each.shape })),
      ...besides.map(([name, shape]) => ({ name, shape })),
    ],
    {
      asks: "the model and adapter_config.json ask for",
      leftOver: "is for a layer that the adapter does not target",
    },
  );
  if (problems.length > 0) throw misfit(path, problems);
  using scope = new DetachedScope();
  const tensors = wanted.map((each) =>
    to(fromData(stored.get(each.path)!), { dtype: "float32", device })
  );
  const broken = wanted.filter((_, index) =>
    aten.all(aten.isfinite(tensors[index]!)).item() !== 1
  );
  if (broken.length > 0) {
    throw misfit(
      path,
      broken.map((each) =>
        `${quoted(each.path)} has numbers that are not finite`
      ),
    );
  }
  for (const [index, { owner, field, also = [] }] of wanted.entries()) {
    // The other places of a tensor come after the first, and get its numbers.
    if (also.some((place) => place.owner === owner)) continue;
    const tensor = scope.keep(tensors[index]!);
    for (const place of [{ owner, field }, ...also]) {
      place.owner.setParameter(place.field, tensor);
    }
  }
  return stored;
}

function misfit(path: string, problems: readonly string[]): InputError {
  return new InputError(
    `Cannot load adapter "${path}" into this model: ${listProblems(problems)}`,
  );
}

/**
 * `stored` by paths in the base model. Stored names may lack peft's prefix, have
 * it twice, or contain the adapter's name: `q_proj.lora_A.default.weight`.
 */
function plainNames(
  stored: ReadonlyMap<string, TensorData>,
  known: ReadonlySet<string>,
): Map<string, TensorData> {
  const plain = new Map<string, TensorData>();
  const others: (readonly [string, TensorData])[] = [];
  for (const [name, data] of stored) {
    const path = name.replace(/^(?:base_model\.model\.)+/, "");
    if (!known.has(path)) others.push([path, data]);
    else if (plain.has(path)) plain.set(name, data);
    else plain.set(path, data);
  }
  for (const [path, data] of others) {
    const found = [/\.[^.]+(?=\.weight$)/, /\.[^.]+\.weight$/]
      .map((part) => path.replace(part, ""))
      .find((form) => known.has(form) && !plain.has(form));
    plain.set(found ?? path, data);
  }
  return plain;
}
