/**
 * Model families: one page per family, and what picks the page for a folder.
 *
 * @module
 */

export {
  AutoModelForCausalLM,
  type FromPretrainedOptions,
  readConfig,
} from "./auto_model.ts";
export {
  type ConfigJson,
  ConfigReader,
  type NumberBounds,
} from "./config_reader.ts";
export {
  defaultTargets,
  familyNames,
  type ModelFamily,
  parameterTargets,
  registerFamily,
} from "./registry.ts";
export { readRope, type RopeSizes } from "./rope_config.ts";
export { checkWeights, initializeWeights } from "./weights.ts";
export {
  CausalLm,
  DecoderLayer,
  type ForwardOptions,
  type ModelConfig,
  type RunState,
} from "./causal_lm.ts";
export {
  addBranch,
  type Branch,
  Decoder,
  DecoderBody,
  type DecoderForm,
  type DecoderParts,
  layerList,
  NamedDecoder,
  type NamedDecoderOptions,
  PreNormLayer,
  type PreNormOptions,
  type ResidualForm,
  rmsNorms,
} from "./decoder.ts";
export {
  type DecoderConfig,
  type DecoderDefaults,
  type LayerType,
  readDecoderConfig,
  readLayerTypes,
} from "./decoder_config.ts";
export { type LlamaConfig, llamaConfig, LlamaForCausalLm } from "./llama.ts";
export { saveModel, type SaveModelOptions, writeConfig } from "./save_model.ts";
export { type GgufPlace, GgufWording } from "./gguf_written.ts";
export { wideLogits } from "./wide_logits.ts";
