/**
 * A configuration as it applies to one model: names moved where peft moves them, and
 * what does not go together refused. Needs no weights.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { InputError, quoted } from "../input_error.ts";
import type { LoraConfig } from "./lora_config.ts";
import { withParameterTargets } from "./parameter_targets.ts";
import { isSavedModule, withSavedModules } from "./saved_modules.ts";
import { isAllLinear } from "./target_names.ts";
import { targetTree } from "./target_tree.ts";
import type { TargetReport } from "./targets.ts";
import { checkTrainedTokens, tokenModules } from "./trained_tokens.ts";

/**
 * `config` as it applies to `base`, whose weights need not be loaded.
 *
 * @throws {InputError} when names or tokens are none of the model's, or fields do not go
 *   together.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
 * import { loraConfig, resolvedConfig } from "@lorikeet/lorikeet/peft";
 *
 * const base = AutoModelForCausalLM.fromConfig("models/tiny-atom");
 * const config = resolvedConfig(base, loraConfig({ modules_to_save: ["norm"] }));
 * if (config.modules_to_save?.length !== 1) throw new Error("unexpected modules");
 * ```
 */
export function resolvedConfig(base: CausalLm, config: LoraConfig): LoraConfig {
  checkTogether(config);
  const named = withParameterTargets(targetTree(base), config);
  const resolved = withSavedModules(base, named);
  checkTrainedTokens(base, resolved);
  const both = tokenModules(base, resolved)
    .find((path) => isSavedModule(resolved, path));
  if (both !== undefined) {
    throw new InputError(
      `Cannot train ${
        quoted(both)
      } as modules_to_save and by trainable_token_indices: name it in one of them`,
    );
  }
  return resolved;
}

/** Refuses fields that do not go together, as peft does. */
function checkTogether(config: LoraConfig): void {
  const { lora_bias, use_dora, init_lora_weights: start } = config;
  const other = use_dora
    ? "use_dora"
    : typeof start === "boolean"
    ? null
    : `init_lora_weights ${quoted(start)}`;
  if (!lora_bias || other === null) return;
  throw new InputError(
    `Cannot use lora_bias with ${other}: a bias goes with LoRA that starts as true or false`,
  );
}

/** `config` as peft writes it: targets sorted, those of `all-linear` by their paths. */
export function writtenConfig(
  config: LoraConfig,
  { targeted, unmatched }: TargetReport,
): LoraConfig {
  const { target_modules: targets, target_parameters: parameters = null } =
    config;
  const paths = isAllLinear(targets) ? targeted.toSorted() : targets;
  return {
    ...config,
    target_modules: typeof paths === "string"
      ? paths
      : paths.filter((name) => !unmatched.includes(name)).toSorted(),
    target_parameters: Array.isArray(parameters)
      ? parameters.toSorted()
      : parameters,
  };
}
