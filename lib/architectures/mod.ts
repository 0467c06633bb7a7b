/**
 * Model families: one page per family, and what picks the page for a folder.
 *
 * @module
 */

export {
  AutoModelForCausalLM,
  type FromPretrainedOptions,
  initializeWeights,
  readConfig,
} from "./auto_model.ts";
export {
  CausalLm,
  DecoderLayer,
  type ForwardOptions,
  type ModelConfig,
  type RunState,
} from "./causal_lm.ts";
export {
  type AttentionPlace,
  LlamaAttention,
  LlamaContext,
  LlamaDecoderLayer,
  LlamaForCausalLm,
  LlamaMlp,
  LlamaModel,
} from "./llama.ts";
export { saveModel, type SaveModelOptions } from "./save_model.ts";
export { type LlamaConfig, llamaConfig } from "./llama_config.ts";
