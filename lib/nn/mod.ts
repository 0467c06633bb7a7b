/**
 * Layers, and the module tree, whose names are those of the checkpoint.
 *
 * @module
 */

export {
  type Activation,
  ACTIVATION_NAMES,
  ACTIVATIONS,
  type Apply,
} from "./activations.ts";
export {
  attention,
  type AttentionForm,
  type AttentionInput,
} from "./attention.ts";
export type { SequenceStarts } from "./attention_kernels.ts";
export {
  BatchContext,
  type BatchContextOptions,
  type Visibility,
} from "./batch_context.ts";
export { dropout, dropoutMask, type Dropped } from "./dropout.ts";
export { Embedding } from "./embedding.ts";
export {
  FusedGatedMlp,
  GatedMlp,
  mapGated,
  type MlpOptions,
} from "./gated_mlp.ts";
export { FewRowsProduct } from "./few_rows.ts";
export { KeyValueCache } from "./key_value_cache.ts";
export {
  addProductTo,
  Linear,
  type LinearOptions,
  linearPlus,
  Projection,
  type ProjectionPull,
  type ProjectionPullback,
  pullbackOf,
  recordProjection,
} from "./linear.ts";
export {
  type Addition,
  type Additions,
  type MatrixPart,
  type MatrixStack,
  MixtureMlp,
  type MixtureOptions,
  ParameterLayer,
  type ParameterLayerOptions,
} from "./mixture_mlp.ts";
export {
  joinPath,
  Module,
  moduleAt,
  ModuleList,
  type NamedParameter,
  type NamedParameterSpec,
  type ParameterSpec,
} from "./module.ts";
export {
  CentredRmsNorm,
  LayerNorm,
  type LayerNormOptions,
  Norm,
  RmsNorm,
} from "./norms.ts";
export { NormHead, type NormHeadOptions } from "./norm_head.ts";
export { type RopeParameters } from "./rope_scaling.ts";
export {
  type HeadShape,
  type Pairing,
  RotaryEmbedding,
  rotate,
  type RotateOptions,
} from "./rotary_embedding.ts";
export { type AttentionCall, type Span } from "./segment_attention.ts";
export {
  attendHeads,
  type AttentionPlace,
  type HeadForm,
  type HeadNorms,
  type HeadSizes,
  type Projected,
  SelfAttention,
  type SelfAttentionOptions,
  splitFused,
} from "./self_attention.ts";
