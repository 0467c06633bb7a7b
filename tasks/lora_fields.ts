/**
 * From the flags of `deno task train` to the fields of `LoraConfig`.
 *
 * @module
 */

import type { FinetuneArguments, LoraConfig } from "../mod.ts";

/** The adapter that the flags describe; `lora_rank` is peft's `r`. */
export function loraFields(finetune: FinetuneArguments): Partial<LoraConfig> {
  return {
    r: finetune.lora_rank,
    lora_alpha: finetune.lora_alpha,
    lora_dropout: finetune.lora_dropout,
    target_modules: finetune.target_modules,
    exclude_modules: finetune.exclude_modules,
    use_rslora: finetune.use_rslora,
    init_lora_weights: finetune.init_lora_weights,
    layers_to_transform: finetune.layers_to_transform,
    layers_pattern: finetune.layers_pattern,
    rank_pattern: finetune.rank_pattern,
    alpha_pattern: finetune.alpha_pattern,
  };
}
