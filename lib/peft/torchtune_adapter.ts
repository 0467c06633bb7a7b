/**
 * Adapters of torchtune: `adapter_model.pt` under torchtune's names. Queries and keys of
 * Llama have their rows in the order of torchtune's rotary embedding, which turns
 * neighbours, where Hugging Face's turns halves.
 *
 * @module
 */

import { DTYPE_BYTES, type TensorData } from "../formats/dtype.ts";
import { isFile } from "../formats/file_info.ts";
import { readJsonFile } from "../formats/json_file.ts";
import {
  readTorchArchive,
  writeTorchArchive,
} from "../formats/torch_archive.ts";
import { InputError, quoted } from "../input_error.ts";
import { ADAPTER_WEIGHTS } from "./adapter_files.ts";
import { loraConfig } from "./lora_config.ts";
import {
  completeLayers,
  highestRank,
  oneScaling,
  type PlainAdapter,
  type PlainLayer,
  targetsOf,
  writePlainAdapter,
} from "./plain_adapter.ts";

const WEIGHTS = "adapter_model.pt";
const CONFIG = "adapter_config.json";

/** torchtune's names of modules, by those of Hugging Face, without the layers' numbers. */
const NAMES: readonly (readonly [string, string])[] = [
  ["self_attn.q_proj", "attn.q_proj"],
  ["self_attn.k_proj", "attn.k_proj"],
  ["self_attn.v_proj", "attn.v_proj"],
  ["self_attn.o_proj", "attn.output_proj"],
  ["mlp.gate_proj", "mlp.w1"],
  ["mlp.down_proj", "mlp.w2"],
  ["mlp.up_proj", "mlp.w3"],
];

/** Families whose queries and keys torchtune reorders, and those it leaves alone. */
const REORDERED: Readonly<Record<string, boolean>> = {
  llama: true,
  mistral: true,
  gemma: true,
  qwen2: false,
  qwen3: false,
};

/** The numbers of a base model that the order of rows depends on. */
interface Heads {
  readonly isReordered: boolean;
  readonly q_proj: number;
  readonly k_proj: number;
}

/** Whether the folder `path` holds an adapter under torchtune's names only. */
export function isTorchtuneAdapter(path: string): boolean {
  return isFile(`${path}/${WEIGHTS}`) && !isFile(`${path}/${ADAPTER_WEIGHTS}`);
}

/**
 * The adapter of torchtune in the folder `path`, made for the model in `modelPath`.
 *
 * @throws {InputError} when names are unknown, or torchtune has no such family.
 */
export function readTorchtuneAdapter(
  path: string,
  modelPath: string,
): PlainAdapter {
  const heads = headsOf(modelPath);
  const found = new Map<string, Partial<Record<"a" | "b" | "m", TensorData>>>();
  for (const [name, data] of readTorchArchive(`${path}/${WEIGHTS}`)) {
    const part = /^(.+)\.(lora_a|lora_b|magnitude)(?:\.weight)?$/.exec(name);
    const module = part === null ? null : hubPath(part[1]!);
    if (part === null || module === null) {
      throw new InputError(
        `Cannot convert adapter "${path}": ${
          quoted(name)
        } is no matrix of LoRA in torchtune`,
      );
    }
    const field = ({ lora_a: "a", lora_b: "b", magnitude: "m" } as const)[
      part[2] as "lora_a"
    ];
    const own = field === "a"
      ? data
      : reordered(data, { module, heads, back: true });
    found.set(module, { ...found.get(module), [field]: own });
  }
  const layers = completeLayers(found, path);
  const { lora_alpha, r } = readJsonFile(`${path}/${CONFIG}`);
  const rank = highestRank(layers);
  if (typeof lora_alpha !== "number" || r !== rank) {
    throw new InputError(
      `Cannot use adapter "${path}/${CONFIG}": it has r ${
        quoted(r)
      } and lora_alpha ${quoted(lora_alpha)}, the matrices have rank ${rank}`,
    );
  }
  return {
    layers,
    config: loraConfig({
      r: rank,
      lora_alpha,
      use_dora: layers.some(({ m }) => m !== undefined),
      base_model_name_or_path: modelPath,
      ...targetsOf(layers.map((each) => each.path)),
    }),
  };
}

/**
 * Writes `adapter` into the folder `path` as torchtune does: under its own names, and
 * as peft's files.
 *
 * @throws {InputError} when torchtune has no name for a module, or layers are scaled
 *   differently.
 */
export function writeTorchtuneAdapter(
  path: string,
  adapter: PlainAdapter,
  modelPath: string,
): void {
  const heads = headsOf(modelPath);
  oneScaling(adapter);
  const tensors = new Map<string, TensorData>();
  for (const layer of adapter.layers) {
    const name = tunePath(layer);
    const { path: module } = layer;
    const own = (data: TensorData): TensorData =>
      reordered(data, { module, heads, back: false });
    tensors.set(`${name}.lora_a.weight`, layer.a);
    tensors.set(`${name}.lora_b.weight`, own(layer.b));
    if (layer.m !== undefined) tensors.set(`${name}.magnitude`, own(layer.m));
  }
  writePlainAdapter(path, adapter);
  writeTorchArchive(`${path}/${WEIGHTS}`, tensors);
}

/** Hugging Face's path of a module of torchtune, or `null`. */
function hubPath(name: string): string | null {
  if (name === "output") return "lm_head";
  const [, layer, module] = /^layers\.(\d+)\.(.+)$/.exec(name) ?? [];
  const found = NAMES.find(([, theirs]) => theirs === module);
  return found === undefined ? null : `model.layers.${layer}.${found[0]}`;
}

function tunePath({ path }: PlainLayer): string {
  if (path === "lm_head") return "output";
  const [, layer, module] = /^model\.layers\.(\d+)\.(.+)$/.exec(path) ?? [];
  const found = NAMES.find(([ours]) => ours === module);
  if (found !== undefined) return `layers.${layer}.${found[1]}`;
  throw new InputError(
    `Cannot convert adapter: torchtune has no name for ${quoted(path)}`,
  );
}

function headsOf(modelPath: string): Heads {
  const json = readJsonFile(`${modelPath}/config.json`);
  const { model_type: type, num_attention_heads: heads } = json;
  const { num_key_value_heads: keyHeads = heads } = json;
  const isReordered = REORDERED[String(type)];
  if (
    isReordered === undefined || !Number.isSafeInteger(heads) ||
    !Number.isSafeInteger(keyHeads)
  ) {
    throw new InputError(
      `Cannot convert an adapter of ${
        quoted(modelPath)
      }: config.json has model_type ${
        quoted(type)
      }, torchtune's order of rows is known for ${
        Object.keys(REORDERED).join(", ")
      }`,
    );
  }
  return { isReordered, q_proj: heads as number, k_proj: keyHeads as number };
}

/**
 * `data` with the rows of each head in torchtune's order, or `back` in Hugging Face's:
 * row `j · d/2 + i` of a head here is row `2 i + j` there.
 */
function reordered(
  data: TensorData,
  place: {
    readonly module: string;
    readonly heads: Heads;
    readonly back: boolean;
  },
): TensorData {
  const { module, heads, back } = place;
  const name = module.split(".").at(-1)!;
  const isMoved = heads.isReordered && (name === "q_proj" || name === "k_proj");
  if (!isMoved) return data;
  const [rows = 0, columns = 1] = data.shape;
  const size = rows / heads[name as "q_proj"];
  if (!Number.isInteger(size) || size % 2 !== 0) {
    throw new InputError(
      `Cannot convert adapter: ${
        quoted(module)
      } has ${rows} rows, the model has ${heads[name as "q_proj"]} heads`,
    );
  }
  const width = columns * DTYPE_BYTES[data.dtype];
  const bytes = new Uint8Array(data.bytes.length);
  for (let row = 0; row < rows; row++) {
    const within = row % size;
    const half = Math.floor(within / (size / 2));
    const other = row - within + 2 * (within % (size / 2)) + half;
    const [from, to] = back ? [other, row] : [row, other];
    bytes.set(
      data.bytes.subarray(from * width, (from + 1) * width),
      to * width,
    );
  }
  return { ...data, bytes };
}
