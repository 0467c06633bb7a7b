/**
 * Adapters of mlx-lm: `adapters.safetensors` with matrices the other way round,
 * `y = W x + scale · (x A) B`, and `adapter_config.json` with `lora_parameters`.
 *
 * @module
 */

import { isFile } from "../formats/file_info.ts";
import { readJsonFile } from "../formats/json_file.ts";
import type { TensorData } from "../formats/dtype.ts";
import {
  PyFloat,
  type PythonJson,
  writePythonJson,
} from "../formats/python_json.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { InputError, quoted } from "../input_error.ts";
import { loraConfig } from "./lora_config.ts";
import {
  completeLayers,
  highestRank,
  isEmbedding,
  oneScaling,
  type PlainAdapter,
  targetsOf,
  transposed,
} from "./plain_adapter.ts";

const WEIGHTS = "adapters.safetensors";
const CONFIG = "adapter_config.json";

/** Whether the folder `path` holds an adapter of mlx-lm. */
export function isMlxAdapter(path: string): boolean {
  return isFile(`${path}/${WEIGHTS}`);
}

/**
 * The adapter of mlx-lm in the folder `path`.
 *
 * @throws {InputError} when its configuration does not describe LoRA or DoRA.
 */
export function readMlxAdapter(path: string): PlainAdapter {
  const json = readJsonFile(`${path}/${CONFIG}`);
  const { fine_tune_type: type = "lora", lora_parameters: given, model } = json;
  const parameters = Object(given) as Readonly<Record<string, unknown>>;
  const { scale, dropout = 0 } = parameters;
  const problems = [
    type === "lora" || type === "dora"
      ? ""
      : `"fine_tune_type" is ${quoted(type)}, expected lora or dora`,
    typeof scale === "number" && Number.isFinite(scale)
      ? ""
      : `"lora_parameters" has scale ${quoted(scale)}, expected a number`,
  ].filter((each) => each !== "");
  if (problems.length > 0) {
    throw new InputError(
      `Cannot use adapter "${path}/${CONFIG}": ${problems.join("; ")}`,
    );
  }
  const found = new Map<string, Partial<Record<"a" | "b" | "m", TensorData>>>();
  for (const [name, data] of readSafetensors(`${path}/${WEIGHTS}`)) {
    const part = /^(.+)\.(lora_a|lora_b|m)$/.exec(name);
    if (part === null) {
      throw new InputError(
        `Cannot convert adapter "${path}": ${
          quoted(name)
        } is no matrix of LoRA`,
      );
    }
    const [, module = "", field = ""] = part;
    const own = field === "m" ? { m: data } : {
      [field === "lora_a" ? "a" : "b"]: transposed(data),
    };
    found.set(module, { ...found.get(module), ...own });
  }
  const layers = completeLayers(found, path);
  const rank = highestRank(layers);
  const ranks = layers.filter(({ a }) => a.shape[0] !== rank)
    .map(({ path: module, a }) =>
      [module.replaceAll(".", "\\."), a.shape[0]!] as const
    );
  const alpha = (own: number): number => Number(scale) * own;
  return {
    layers,
    config: loraConfig({
      r: rank,
      lora_alpha: alpha(rank),
      lora_dropout: Number(dropout),
      use_dora: type === "dora",
      ...targetsOf(layers.map((each) => each.path)),
      rank_pattern: Object.fromEntries(ranks),
      alpha_pattern: Object.fromEntries(
        ranks.map(([module, own]) => [module, alpha(own)]),
      ),
      ...(typeof model === "string" && { base_model_name_or_path: model }),
    }),
  };
}

/**
 * Writes `adapter` into the folder `path` as mlx-lm does; `layerCount` is the number of
 * layers of the base model, where it is known.
 *
 * @throws {InputError} when layers are scaled differently.
 */
export function writeMlxAdapter(
  path: string,
  adapter: PlainAdapter,
  layerCount: number | null,
): void {
  const { config, layers } = adapter;
  const scale = oneScaling(adapter);
  const tensors = new Map<string, TensorData>();
  for (const { path: module, a, b, m } of layers) {
    tensors.set(`${module}.lora_a`, transposed(a));
    tensors.set(`${module}.lora_b`, transposed(b));
    if (m !== undefined && isEmbedding(module)) {
      throw new InputError(
        `Cannot convert adapter: DoRA on ${
          quoted(module)
        } trains lengths of columns, in mlx-lm those of rows`,
      );
    }
    if (m !== undefined) tensors.set(`${module}.m`, m);
  }
  const places = layers.map((each) => /\.(\d+)\.(.+)$/.exec(each.path));
  const numbers = places.flatMap((each) =>
    each === null ? [] : [Number(each[1])]
  );
  const count = layerCount ?? Math.max(-1, ...numbers) + 1;
  const keys = layers.map((each, at) => places[at]?.[2] ?? each.path);
  Deno.mkdirSync(path, { recursive: true });
  writeSafetensors(`${path}/${WEIGHTS}`, tensors, {
    metadata: { format: "mlx" },
  });
  writePythonJson(`${path}/${CONFIG}`, {
    fine_tune_type: config.use_dora ? "dora" : "lora",
    lora_parameters: {
      dropout: new PyFloat(config.lora_dropout),
      keys: [...new Set(keys)].sort(),
      rank: highestRank(layers),
      scale: new PyFloat(scale),
    },
    model: config.base_model_name_or_path,
    // counted from the last one; layers in between that have no matrices start at zero
    num_layers: numbers.length === 0 ? 0 : count - Math.min(...numbers),
  } as unknown as PythonJson);
}
