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
  /** The type of the weights; `auto` is that in `config.json`. Default `auto`. */
  readonly torchDtype?: DType | "auto";
  /** The device of the weights. Default the CPU. */
  readonly device?: Device;
}

/** Loads models, with the name used in transformers; it has no instances. */
export abstract class AutoModelForCausalLM {
  /**
   * Loads a model, given by the path of its folder or GGUF file, by its
   * configuration, or by its tree without weights. Nothing is downloaded, and no
   * code in the folder is executed.
   *
   * @throws {InputError} when the folder, its files or the architecture cannot be
   *   used.
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
   * The tree of a model without weights, with names and shapes only, from the
   * path of its folder or from its configuration.
   *
   * @throws {InputError} when `config.json` cannot be used.
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

/**
 * The tree of a model that has weights: with at most as many layers as the
 * files can hold.
 */
function treeOfStored(source: string | ModelConfig): CausalLm {
  const config = typeof source === "string" ? readConfig(source) : source;
  checkDepth(config);
  return AutoModelForCausalLM.fromConfig(config);
}

/**
 * Reads `config.json` in the folder `path`, or the same settings from a GGUF file
 * in that folder or at `path`.
 *
 * @throws {InputError} when it is missing or broken, or the model is not
 *   supported.
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
