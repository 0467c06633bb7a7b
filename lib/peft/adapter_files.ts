/**
 * Adapter folders as peft writes and reads them, with what peft passes over in
 * silence reported: missing and unexpected tensors, wrong shapes, no weights.
 *
 * @module
 */

import { isFile } from "../formats/file_info.ts";
import type { TensorData } from "../formats/dtype.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import {
  readTorchArchive,
  writeTorchArchive,
} from "../formats/torch_archive.ts";
import { InputError } from "../input_error.ts";
import {
  DetachedScope,
  type Device,
  fromData,
  type Tensor,
  to,
  toData,
} from "../tensor/mod.ts";
import {
  type LoraConfig,
  loraConfigFromJson,
  loraConfigToJson,
} from "./lora_config.ts";

/** Names of the files in an adapter folder. */
const ADAPTER_CONFIG = "adapter_config.json";
/** What peft puts before the paths of the base model. */
export const ADAPTER_PREFIX = "base_model.model.";
/** peft's file of weights. */
export const ADAPTER_WEIGHTS = "adapter_model.safetensors";
/** The seed's file of weights. */
const ADAPTER_ARCHIVE = "adapter_model.bin";

/** Writes an adapter as peft does into the folder `path`, made if need be. */
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
 * Writes the seed's `adapter_model.bin` into the folder `path`, which
 * `torch.load(weights_only=True)` opens. Names are those of
 * `adapter_model.safetensors`: peft before 0.21 loads no others.
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

/**
 * Reads the adapter in the folder `path`.
 *
 * @throws {InputError} when there is no configuration or no weights, or lorikeet
 *   does not compute what the configuration asks for.
 */
export function readAdapter(
  path: string,
): { config: LoraConfig; tensors: AdapterTensors } {
  const config = readAdapterConfig(path);
  return { config, tensors: new AdapterTensors(path, readWeights(path)) };
}

/** The configuration of the adapter in the folder `path`. */
export function readAdapterConfig(path: string): LoraConfig {
  const file = `${path}/${ADAPTER_CONFIG}`;
  return loraConfigFromJson(readJsonFile(file), file);
}

function readWeights(path: string): ReadonlyMap<string, TensorData> {
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

/** What to take from a file of adapter tensors. */
interface WantedMatrix {
  readonly matrix: "lora_A" | "lora_B";
  readonly shape: readonly number[];
  readonly device: Device;
}

/** Adapter tensors by module path; complains about all that did not fit at once. */
class AdapterTensors {
  readonly #path: string;
  readonly #stored = new Map<string, TensorData>();
  readonly #complaints: string[] = [];

  /** Takes `stored` as read; names may lack peft's prefix or carry an adapter's name. */
  constructor(path: string, stored: ReadonlyMap<string, TensorData>) {
    this.#path = path;
    for (const [name, data] of stored) this.#stored.set(plainName(name), data);
  }

  /** The float32 matrix of the layer at `module`; remembers a complaint when it is not there. */
  take(module: string, wanted: WantedMatrix): Tensor {
    const name = `${module}.${wanted.matrix}.weight`;
    const data = this.#stored.get(name);
    this.#stored.delete(name);
    if (data === undefined) {
      this.#complaints.push(`"${name}" is missing`);
    } else if (data.shape.join() !== wanted.shape.join()) {
      this.#complaints.push(
        `"${name}" has shape [${
          data.shape.join(", ")
        }], the model and adapter_config.json ask for [${
          wanted.shape.join(", ")
        }]`,
      );
    } else {
      using scope = new DetachedScope();
      return scope.keep(
        to(fromData(data), { dtype: "float32", device: wanted.device }),
      );
    }
    return fromData({ dtype: "float32", shape: [0], bytes: new Uint8Array(0) });
  }

  /**
   * To be called after the last {@linkcode AdapterTensors.take}.
   *
   * @throws {InputError} listing what was missing, misshapen or left over.
   */
  finish(): void {
    for (const name of this.#stored.keys()) {
      this.#complaints.push(`"${name}" belongs to no targeted layer`);
    }
    if (this.#complaints.length === 0) return;
    const shown = this.#complaints.slice(0, 10).join("; ");
    const more = this.#complaints.length > 10
      ? `; and ${this.#complaints.length - 10} more`
      : "";
    throw new InputError(
      `Cannot load adapter "${this.#path}" into this model: ${shown}${more}`,
    );
  }
}

/** `base_model.model.X.lora_A.default.weight` and its shorter forms to `X.lora_A.weight`. */
function plainName(name: string): string {
  return name
    .replace(/^(?:base_model\.model\.)+/, "")
    .replace(/\.(lora_[AB])\.[^.]+\.weight$/, ".$1.weight");
}
