/**
 * Adapters: configuration, injection by module name, adapter files.
 *
 * @module
 */

export {
  type AdapterKind,
  type AdapterLayer,
  type AdapterParameter,
  AdapterPlace,
  registerAdapterKind,
  type WeightMerge,
} from "./adapter_kinds.ts";
export {
  ADAPTER_PREFIX,
  ADAPTER_WEIGHTS,
  writeAdapterArchive,
} from "./adapter_files.ts";
export {
  type AdapterFormat,
  convertAdapter,
  type ConvertOptions,
  type ConvertReport,
} from "./convert_adapter.ts";
export type { ExpertParts } from "./expert_adapters.ts";
export type { LoraStart } from "../arguments/lora_settings.ts";
export { type LoraConfig, loraConfig } from "./lora_config.ts";
export {
  LoraLinear,
  type LoraLinearOptions,
  loraLinearOptions,
} from "./lora_linear.ts";
export type { LoraMatrix } from "./lora_matrices.ts";
export {
  type InjectedAdapter,
  type PeftOptions,
  type PlacedLayer,
  trainedCount,
} from "./inject.ts";
export { weightMerges } from "./merge.ts";
export {
  MergedModel,
  type MergedModelSource,
  type MergedWeight,
} from "./merged_model.ts";
export { getPeftModel, type ParameterCount, PeftModel } from "./peft_model.ts";
export { resolvedConfig } from "./resolved_config.ts";
export type { WeightedOptions } from "./weighted_adapter.ts";
export { type TargetTree, targetTree } from "./target_tree.ts";
export { describeTargets, matchTargets, type TargetReport } from "./targets.ts";
