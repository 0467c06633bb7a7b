/**
 * Layers: a module tree whose names are the checkpoint's.
 *
 * @module
 */

export { attention, type AttentionInput, KeyValueCache } from "./attention.ts";
export { BatchContext, type BatchContextOptions } from "./batch_context.ts";
export { dropout, type Dropped } from "./dropout.ts";
export { Embedding } from "./embedding.ts";
export {
  Linear,
  type LinearOptions,
  linearPlus,
  Projection,
} from "./linear.ts";
export {
  joinPath,
  Module,
  moduleAt,
  ModuleList,
  type NamedParameter,
  type NamedParameterSpec,
  type ParameterSpec,
} from "./module.ts";
export { RmsNorm } from "./rms_norm.ts";
export { type RopeParameters } from "./rope_scaling.ts";
export { type HeadShape, RotaryEmbedding, rotate } from "./rotary_embedding.ts";
