/**
 * Finds the weights of a model folder, in one file or in shards, safetensors or
 * torch archives: where each tensor is, by name. No weight is read.
 *
 * @module
 */

import { isFile } from "./file_info.ts";
import { InputError, quoted } from "../input_error.ts";
import { readJsonFile } from "./json_file.ts";
import { readSafetensorsHeader } from "./safetensors_header.ts";
import type { StoredTensor } from "./stored_tensor.ts";
import { readTorchArchiveIndex } from "./torch_archive.ts";

/** Tensors on disk by name. */
export type WeightMap = ReadonlyMap<string, StoredTensor>;

/** The file names, in the order in which transformers looks for them. */
const CANDIDATES = [
  "model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
] as const;

/**
 * Finds the weights in the model folder `directory`.
 *
 * @throws {InputError} when there are no weights, a shard is missing, or a file
 *   is damaged.
 */
export function findWeights(directory: string): WeightMap {
  const name = CANDIDATES.find((it) => isFile(`${directory}/${it}`));
  if (name === undefined) {
    throw new InputError(
      `Cannot load weights from ${quoted(directory)}: it has none of ${
        CANDIDATES.map((it) => quoted(it)).join(", ")
      }`,
    );
  }
  const path = `${directory}/${name}`;
  return name.endsWith(".json") ? readShards(directory, path) : readFile(path);
}

function readFile(path: string): WeightMap {
  if (path.endsWith(".safetensors")) return readSafetensorsHeader(path).tensors;
  return readTorchArchiveIndex(path);
}

function readShards(directory: string, index: string): WeightMap {
  const byShard = namesByShard(index);
  checkShards(directory, { index, shards: [...byShard.keys()] });
  const weights = new Map<string, StoredTensor>();
  for (const [shard, names] of byShard) {
    const path = `${directory}/${shard}`;
    const tensors = readFile(path);
    for (const name of names) {
      const tensor = tensors.get(name);
      if (tensor === undefined) {
        throw new InputError(
          `Cannot load ${quoted(path)}: it has no tensor ${
            quoted(name)
          }, which ${quoted(index)} says it has`,
        );
      }
      weights.set(name, tensor);
    }
  }
  return weights;
}

function namesByShard(index: string): Map<string, string[]> {
  const map = readJsonFile(index).weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new InputError(
      `Cannot load ${
        quoted(index)
      }: its "weight_map" is not an object of tensor names and files`,
    );
  }
  const byShard = new Map<string, string[]>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== "string" || !isPlainName(shard)) {
      throw new InputError(
        `Cannot load ${quoted(index)}: it puts tensor ${quoted(name)} into ${
          quoted(shard)
        }, the name of a .safetensors or .bin file beside it is needed`,
      );
    }
    const names = byShard.get(shard);
    if (names === undefined) byShard.set(shard, [name]);
    else names.push(name);
  }
  return byShard;
}

/** Whether it is a file next to the index, not a path to another folder. */
function isPlainName(shard: string): boolean {
  return /^[^\\/:\0]+\.(safetensors|bin)$/.test(shard) &&
    !shard.startsWith("..");
}

function checkShards(
  directory: string,
  wanted: { readonly index: string; readonly shards: readonly string[] },
): void {
  const missing = wanted.shards.filter((it) => !isFile(`${directory}/${it}`));
  if (missing.length === 0) return;
  throw new InputError(
    `Cannot load ${quoted(wanted.index)}: ${
      missing.map((it) => quoted(it)).join(", ")
    } missing beside it, ${wanted.shards.length} shards are needed`,
  );
}
