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
} from "./adapter_kinds.ts";
export {
  ADAPTER_PREFIX,
  ADAPTER_WEIGHTS,
  writeAdapterArchive,
} from "./adapter_files.ts";
export { type LoraConfig, loraConfig } from "./lora_config.ts";
export {
  LoraLinear,
  type LoraLinearOptions,
  loraLinearOptions,
  type LoraMatrix,
} from "./lora_linear.ts";
export {
  getPeftModel,
  type ParameterCount,
  PeftModel,
  type PeftOptions,
  type PlacedLayer,
  targetTree,
} from "./peft_model.ts";
export {
  describeTargets,
  matchTargets,
  type TargetReport,
  type TargetTree,
} from "./targets.ts";
