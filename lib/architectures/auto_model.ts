/**
 * From a folder in Hugging Face format, or a GGUF file, to a model: its `config.json`,
 * the page that computes it, and its weights, mapped from disk where that needs no copy.
 *
 * @module
 */

import type { DType } from "../formats/dtype.ts";
import { ggufFileAt } from "../formats/gguf.ts";
import { readJsonFile } from "../formats/json_file.ts";
import type { Device } from "../tensor/mod.ts";
import type { CausalLm, ModelConfig } from "./causal_lm.ts";
import { ConfigReader } from "./config_reader.ts";
import { ggufConfig } from "./gguf_model.ts";
import { familyOf } from "./registry.ts";
import { checkDepth, loadWeights } from "./weights.ts";

/** Options of {@linkcode AutoModelForCausalLM.fromPretrained}. */
export interface FromPretrainedOptions {
  /** How weights are stored; `auto` is what `config.json` says. Default `auto`. */
  readonly torchDtype?: DType | "auto";
  /** Where weights lie. Default the CPU. */
  readonly device?: Device;
}

/** Reads models, named as in transformers; there are no instances of it. */
export abstract class AutoModelForCausalLM {
  /**
   * Reads the model in a folder or a GGUF file, given by its path, by its configuration that has
   * been read already, or by its tree without weights. Nothing is downloaded, no
   * code is run.
   *
   * @throws {InputError} when the folder, its files or the architecture will not do.
   *
   * @example
   * ```ts
   * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
   *
   * using model = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
   * if (model.config.modelType !== "llama") throw new Error("unexpected model");
   * ```
   */
  static fromPretrained(
    source: string | ModelConfig | CausalLm,
    options: FromPretrainedOptions = {},
  ): CausalLm {
    const model = isTree(source) ? source : treeOfStored(source);
    loadWeights(model, options);
    return model;
  }

  /**
   * The tree of a model without weights, names and shapes only, from the path of
   * its folder or its configuration.
   *
   * @throws {InputError} when `config.json` will not do.
   *
   * @example
   * ```ts
   * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
   * import { readConfig } from "@lorikeet/lorikeet/architectures";
   *
   * const config = readConfig("models/tiny-atom");
   * const model = AutoModelForCausalLM.fromConfig(config);
   * if (model.decoderLayers.length !== config.layers) {
   *   throw new Error("unexpected depth");
   * }
   * ```
   */
  static fromConfig(source: string | ModelConfig): CausalLm {
    const config = typeof source === "string" ? readConfig(source) : source;
    return familyOf(config.path, config.source).create(config);
  }
}

function isTree(source: string | ModelConfig | CausalLm): source is CausalLm {
  return typeof source === "object" && "decoderLayers" in source;
}

/** The tree of a model whose weights are there: no deeper than they can be. */
function treeOfStored(source: string | ModelConfig): CausalLm {
  const config = typeof source === "string" ? readConfig(source) : source;
  checkDepth(config);
  return AutoModelForCausalLM.fromConfig(config);
}

/**
 * Reads `config.json` in the folder `path`, or what a GGUF file there, or at `path`,
 * says of the same.
 *
 * @throws {InputError} when it is missing, broken or of a model lorikeet does not compute.
 *
 * @example
 * ```ts
 * import { readConfig } from "@lorikeet/lorikeet/architectures";
 *
 * const config = readConfig("models/tiny-atom");
 * if (config.vocabSize < 1) throw new Error("unexpected size");
 * ```
 */
export function readConfig(path: string): ModelConfig {
  const gguf = ggufFileAt(path);
  const json = gguf === null
    ? readJsonFile(`${path}/config.json`)
    : ggufConfig(gguf);
  const family = familyOf(path, json);
  const reader = new ConfigReader(path, json);
  const config = family.readConfig(reader);
  reader.finish();
  return config;
}
