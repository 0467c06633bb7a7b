/**
 * `LoraConfig` as in peft: names, defaults and file are peft 0.21's. What is not
 * computed here is refused by name instead of being ignored.
 *
 * @module
 */

import { PyFloat } from "../formats/python_json.ts";
import { InputError } from "../input_error.ts";

/** How a LoRA adapter is shaped; fields are spelled as in `adapter_config.json`. */
export interface LoraConfig {
  /** Rank of the two matrices. */
  readonly r: number;
  /** Scale: the product is multiplied with `lora_alpha / r`. */
  readonly lora_alpha: number;
  /** Probability of dropping an input of A while training. */
  readonly lora_dropout: number;
  /** Names (suffixes of paths), one regular expression, or `all-linear`. */
  readonly target_modules: string | readonly string[];
  /** What to leave out, in the same forms; `null` for nothing. */
  readonly exclude_modules: string | readonly string[] | null;
  /** Divides by `√r` instead of `r` (Kalajdzievski, arXiv:2312.03732). */
  readonly use_rslora: boolean;
  /** `true`: A uniform, B zero; `false`: both uniform; `gaussian`: A normal, B zero. */
  readonly init_lora_weights: boolean | "gaussian";
  /** Layer numbers to adapt; `null` for all. */
  readonly layers_to_transform: number | readonly number[] | null;
  /** Name of the list that layer numbers count; `null` for the first list. */
  readonly layers_pattern: string | readonly string[] | null;
  /** Other ranks for paths that match. */
  readonly rank_pattern: Readonly<Record<string, number>>;
  /** Other alphas for paths that match. */
  readonly alpha_pattern: Readonly<Record<string, number>>;
  /** Where the base model lies, for those who load the adapter. */
  readonly base_model_name_or_path: string | null;
}

/** peft's default targets of Llama models. */
const DEFAULTS: LoraConfig = {
  r: 8,
  lora_alpha: 8,
  lora_dropout: 0,
  target_modules: ["q_proj", "v_proj"],
  exclude_modules: null,
  use_rslora: false,
  init_lora_weights: true,
  layers_to_transform: null,
  layers_pattern: null,
  rank_pattern: {},
  alpha_pattern: {},
  base_model_name_or_path: null,
};

/** Fields of peft 0.21 that are written with the only value computed here. */
const FIXED: Readonly<Record<string, unknown>> = {
  alora_invocation_tokens: null,
  arrow_config: null,
  auto_mapping: null,
  bias: "none",
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  fan_in_fan_out: false,
  inference_mode: true,
  kasa_config: null,
  layer_replication: null,
  loftq_config: {},
  lora_bias: false,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: "megatron.core",
  modules_to_save: null,
  monteclora_config: null,
  peft_type: "LORA",
  peft_version: "0.21.0",
  qalora_group_size: 16,
  revision: null,
  target_parameters: null,
  task_type: "CAUSAL_LM",
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  velora_config: null,
};

/** Fixed fields that change nothing in what is computed. */
const FREE = new Set([
  "auto_mapping",
  "inference_mode",
  "megatron_config",
  "megatron_core",
  "peft_version",
  "qalora_group_size",
  "revision",
  "ensure_weight_tying",
  "task_type",
]);

/**
 * A complete configuration: peft's defaults under what is given.
 *
 * @throws {InputError} in peft's words where the numbers make no sense.
 *
 * @example
 * ```ts
 * import { loraConfig } from "@lorikeet/lorikeet";
 *
 * const config = loraConfig({ r: 4, target_modules: ["q_proj"] });
 * if (config.lora_alpha !== 8) throw new Error("unexpected default");
 * ```
 */
export function loraConfig(given: Partial<LoraConfig> = {}): LoraConfig {
  const config = { ...DEFAULTS, ...given };
  const ranks = [config.r, ...Object.values(config.rank_pattern)];
  for (const rank of ranks) {
    if (!Number.isInteger(rank) || rank <= 0) {
      throw new InputError(
        `Cannot make LoRA: \`r\` should be a positive integer value but the value passed is ${rank}`,
      );
    }
  }
  if (!(config.lora_dropout >= 0 && config.lora_dropout < 1)) {
    throw new InputError(
      `Cannot make LoRA: lora_dropout must be at least 0 and below 1, got ${config.lora_dropout}`,
    );
  }
  return config;
}

/** The object that `adapter_config.json` holds. */
export function loraConfigToJson(config: LoraConfig): Record<string, unknown> {
  return {
    ...FIXED,
    ...config,
    lora_dropout: new PyFloat(config.lora_dropout),
  };
}

/**
 * The configuration in an `adapter_config.json`; keys of later peft versions that
 * ask for nothing are passed over.
 *
 * @throws {InputError} naming every field that lorikeet does not compute.
 */
export function loraConfigFromJson(
  json: Readonly<Record<string, unknown>>,
  file: string,
): LoraConfig {
  const complaints: string[] = [];
  for (const [field, value] of Object.entries(json)) {
    if (field in DEFAULTS || FREE.has(field) || asksNothing(value)) continue;
    if (JSON.stringify(FIXED[field]) !== JSON.stringify(value)) {
      complaints.push(`${field} ${JSON.stringify(value)}`);
    }
  }
  if (json.peft_type !== "LORA") {
    complaints.unshift(`peft_type ${JSON.stringify(json.peft_type)}`);
  }
  const init = json.init_lora_weights;
  if (
    !(init === undefined || typeof init === "boolean" || init === "gaussian")
  ) {
    complaints.push(`init_lora_weights ${JSON.stringify(init)}`);
  }
  if (complaints.length > 0) {
    throw new InputError(
      `Cannot use adapter "${file}": not supported yet: ${
        [...new Set(complaints)].join(", ")
      }`,
    );
  }
  const known = Object.entries(json).filter(([field, value]) =>
    field in DEFAULTS &&
    (value !== null || DEFAULTS[field as keyof LoraConfig] === null)
  );
  return loraConfig(Object.fromEntries(known));
}

function asksNothing(value: unknown): boolean {
  return value === null || value === false ||
    (typeof value === "object" && Object.keys(value).length === 0);
}

/** The rank of the adapter at `path`: the first pattern that matches wins. */
export function rankAt(config: LoraConfig, path: string): number {
  return firstMatch(config.rank_pattern, path) ?? config.r;
}

/** What the product `B A` at `path` is multiplied with. */
export function scalingAt(config: LoraConfig, path: string): number {
  const alpha = firstMatch(config.alpha_pattern, path) ?? config.lora_alpha;
  const rank = rankAt(config, path);
  return alpha / (config.use_rslora ? Math.sqrt(rank) : rank);
}

function firstMatch(
  patterns: Readonly<Record<string, number>>,
  path: string,
): number | undefined {
  return Object.entries(patterns).find(([key]) =>
    new RegExp(`^(?:.*\\.)?(?:${key})$`).test(path)
  )?.[1];
}
