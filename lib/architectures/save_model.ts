/**
 * Writing a whole model in Hugging Face format.
 *
 * @module
 */

import type { DType, TensorData } from "../formats/dtype.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { to, toData } from "../tensor/mod.ts";
import type { CausalLm } from "./causal_lm.ts";

/** Options of {@linkcode saveModel}. */
export interface SaveModelOptions {
  /** Type of the weights on disk. Default as they are. */
  readonly dtype?: DType;
}

/**
 * Writes `config.json` and `model.safetensors` of `model` into `folder`, made if
 * need be. A head that is tied to the embedding is left out, as transformers does.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM, saveModel } from "@lorikeet/lorikeet";
 *
 * const folder = Deno.makeTempDirSync();
 * using model = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * saveModel(model, folder, { dtype: "bfloat16" });
 * {
 *   using saved = AutoModelForCausalLM.fromPretrained(folder);
 *   if (saved.lm_head.inFeatures !== model.config.hiddenSize) {
 *     throw new Error("unexpected width");
 *   }
 * }
 * Deno.removeSync(folder, { recursive: true });
 * ```
 */
export function saveModel(
  model: CausalLm,
  folder: string,
  options: SaveModelOptions = {},
): void {
  Deno.mkdirSync(folder, { recursive: true });
  const tensors = new Map<string, TensorData>();
  let dtype: DType = "float32";
  for (const { path, tensor } of model.namedParameters()) {
    dtype = options.dtype ?? tensor.dtype;
    if (model.config.tieWordEmbeddings && path === "lm_head.weight") continue;
    using converted = to(tensor, { dtype });
    tensors.set(path, toData(converted));
  }
  writeSafetensors(`${folder}/model.safetensors`, tensors, {
    metadata: { format: "pt" },
  });
  const config = { ...model.config.source, dtype } as PythonJson;
  writePythonJson(`${folder}/config.json`, config, { trailingNewline: true });
}
