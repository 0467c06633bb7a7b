/**
 * An adapter as matrices by paths, without a model: what conversion between the files
 * of peft, mlx-lm and torchtune needs. Needs no libtorch.
 *
 * @module
 */

import { DTYPE_BYTES, type TensorData } from "../formats/dtype.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  ADAPTER_CONFIG,
  ADAPTER_PREFIX,
  ADAPTER_WEIGHTS,
  readWeights,
} from "./adapter_files.ts";
import {
  type LoraConfig,
  loraConfigFromJson,
  loraConfigToJson,
  scalingAt,
} from "./lora_config.ts";
import { changesWeights } from "./lora_start.ts";
import { lastName } from "./target_names.ts";

/** The matrices of one adapted module. */
export interface PlainLayer {
  /** Path of the module in Hugging Face's model. */
  readonly path: string;
  /** A, `[r, in]`. */
  readonly a: TensorData;
  /** B, `[out, r]`. */
  readonly b: TensorData;
  /** m of DoRA, `[out]`. */
  readonly m?: TensorData;
}

/** An adapter of LoRA or DoRA. */
export interface PlainAdapter {
  /** Its configuration. */
  readonly config: LoraConfig;
  /** The modules that it adapts. */
  readonly layers: readonly PlainLayer[];
}

const PARTS: readonly (readonly [keyof Omit<PlainLayer, "path">, RegExp])[] = [
  ["a", /\.lora_(?:A\.weight|embedding_A)$/],
  ["b", /\.lora_(?:B\.weight|embedding_B)$/],
  ["m", /\.lora_magnitude_vector(?:\.weight)?$/],
];

/**
 * The adapter in peft's folder `path`.
 *
 * @throws {InputError} when it has more than A, B and m, or learned on weights that its
 *   start has changed.
 */
export function readPlainAdapter(path: string): PlainAdapter {
  const file = `${path}/${ADAPTER_CONFIG}`;
  const config = loraConfigFromJson(readJsonFile(file), file);
  const more = [
    config.modules_to_save !== null && "modules_to_save",
    config.bias !== "none" && "bias",
    config.lora_bias && "lora_bias",
    config.trainable_token_indices !== null && "trainable_token_indices",
    (config.target_parameters?.length ?? 0) > 0 && "target_parameters",
    changesWeights(config.init_lora_weights) &&
    `init_lora_weights ${quoted(config.init_lora_weights)}`,
  ].filter((each) => each !== false);
  if (more.length > 0) {
    throw new InputError(
      `Cannot convert adapter ${quoted(path)}: it has ${
        more.join(", ")
      }, only LoRA and DoRA have a place in other files; deno task merge makes a model of it`,
    );
  }
  return { config, layers: layersOf(readWeights(path), path) };
}

function layersOf(
  stored: ReadonlyMap<string, TensorData>,
  folder: string,
): PlainLayer[] {
  const found = new Map<string, Partial<Record<"a" | "b" | "m", TensorData>>>();
  for (const [name, data] of stored) {
    // The frozen weights of embeddings are the base model's.
    if (name.endsWith(".base_layer.weight")) continue;
    const part = PARTS.find(([, end]) => end.test(name));
    if (part === undefined) {
      throw new InputError(
        `Cannot convert adapter ${quoted(folder)}: ${
          quoted(name)
        } is no matrix of LoRA`,
      );
    }
    const path = name.replace(part[1], "")
      .replace(/^(?:base_model\.model\.)+/, "");
    found.set(path, { ...found.get(path), [part[0]]: data });
  }
  return completeLayers(found, folder);
}

/**
 * `found` as layers, sorted by path.
 *
 * @throws {InputError} when a matrix is missing or has another shape.
 */
export function completeLayers(
  found: ReadonlyMap<string, Partial<Record<"a" | "b" | "m", TensorData>>>,
  folder: string,
): PlainLayer[] {
  const problems: string[] = [];
  const layers = [...found].flatMap(([path, { a, b, m }]): PlainLayer[] => {
    if (a === undefined || b === undefined) {
      problems.push(`${quoted(path)} has only one of its matrices`);
      return [];
    }
    const fits = a.shape.length === 2 && b.shape.length === 2 &&
      a.shape[0] === b.shape[1] &&
      (m === undefined || m.shape.join() === String(b.shape[0]));
    if (!fits) problems.push(`matrices of ${quoted(path)} do not fit`);
    return [{ path, a, b, ...(m && { m }) }];
  });
  if (layers.length === 0) problems.push("it has no matrices of LoRA");
  if (problems.length > 0) {
    throw new InputError(
      `Cannot convert adapter ${quoted(folder)}: ${
        problems.slice(0, 10).join("; ")
      }`,
    );
  }
  return layers.sort((one, other) => one.path < other.path ? -1 : 1);
}

/** Whether the module at `path` is an embedding, by the names that families use. */
export function isEmbedding(path: string): boolean {
  return /(?:^|\.)(?:embed_tokens|wte|tok_embeddings|word_embeddings)$/
    .test(path);
}

/** Writes `adapter` as peft does into the folder `path`. */
export function writePlainAdapter(path: string, adapter: PlainAdapter): void {
  const tensors = new Map<string, TensorData>();
  for (const { path: module, a, b, m } of adapter.layers) {
    const name = `${ADAPTER_PREFIX}${module}`;
    const [first, second] = isEmbedding(module)
      ? ["lora_embedding_A", "lora_embedding_B"]
      : ["lora_A.weight", "lora_B.weight"];
    tensors.set(`${name}.${first}`, a);
    tensors.set(`${name}.${second}`, b);
    if (m !== undefined) tensors.set(`${name}.lora_magnitude_vector`, m);
  }
  Deno.mkdirSync(path, { recursive: true });
  writeSafetensors(`${path}/${ADAPTER_WEIGHTS}`, tensors, {
    metadata: { format: "pt" },
  });
  writePythonJson(
    `${path}/${ADAPTER_CONFIG}`,
    loraConfigToJson(adapter.config) as PythonJson,
  );
}

/** What a configuration must say so that exactly `paths` are adapted. */
export function targetsOf(
  paths: readonly string[],
): Pick<LoraConfig, "target_modules" | "layers_to_transform"> {
  const places = paths.map((path) => /^(.*?)\.(\d+)\.(.+)$/.exec(path));
  const numbers = [...new Set(places.map((each) => Number(each?.[2])))]
    .sort((one, other) => one - other);
  const names = [...new Set(paths.map(lastName))].sort();
  const isEven = places.every((each) => each !== null) &&
    paths.length === names.length * numbers.length &&
    new Set(places.map((each) => each![1])).size === 1;
  if (!isEven) {
    return { target_modules: [...paths], layers_to_transform: null };
  }
  const isFromFirst = numbers.every((number, at) => number === at);
  return {
    target_modules: names,
    layers_to_transform: isFromFirst ? null : numbers,
  };
}

/**
 * The one factor of all products.
 *
 * @throws {InputError} when layers have different ones.
 */
export function oneScaling({ config, layers }: PlainAdapter): number {
  const scalings = layers.map(({ path }) => scalingAt(config, path));
  const [first = 1] = scalings;
  const odd = scalings.findIndex((each) => each !== first);
  if (odd < 0) return first;
  throw new InputError(
    `Cannot convert adapter: ${quoted(layers[odd]!.path)} is scaled by ${
      scalings[odd]
    } and ${
      quoted(layers[0]!.path)
    } by ${first}, the format has one scale for all layers`,
  );
}

/** The highest rank of the layers. */
export function highestRank(layers: readonly PlainLayer[]): number {
  return Math.max(...layers.map(({ a }) => a.shape[0]!));
}

/** A matrix with rows and columns exchanged. */
export function transposed({ dtype, shape, bytes }: TensorData): TensorData {
  const [rows = 0, columns = 0] = shape;
  const width = DTYPE_BYTES[dtype];
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * columns + column) * width;
      const to = (column * rows + row) * width;
      for (let byte = 0; byte < width; byte++) {
        out[to + byte] = bytes[from + byte]!;
      }
    }
  }
  return { dtype, shape: [columns, rows], bytes: out };
}
