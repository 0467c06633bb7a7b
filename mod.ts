/**
 * lorikeet: LoRA fine-tuning of Llama-family chat models, straight on libtorch.
 * Importing this file opens nothing and needs no permission; the first tensor
 * opens libtorch.
 *
 * @module
 */

// tensors
export {
  type Aten,
  aten,
  CPU,
  type Device,
  deviceName,
  deviceNamed,
  empty,
  enableGrad,
  ensureLibtorch,
  type FetchOptions,
  fromData,
  full,
  type HandleOwner,
  type Libtorch,
  LibtorchNotFoundError,
  liveTensors,
  manualSeed,
  type Nested,
  noGrad,
  type OperatorOf,
  OPERATORS,
  type Place,
  type Scoped,
  setThreads,
  Tensor,
  tensor,
  type TensorHandle,
  type TensorOptions,
  TensorScope,
  tensorScope,
  to,
  toData,
  TorchError,
  zeros,
} from "./lib/tensor/mod.ts";
export {
  type DType,
  DTYPE_BYTES,
  type TensorData,
} from "./lib/formats/dtype.ts";
export { InputError } from "./lib/input_error.ts";

// data and tokenizer
export {
  type Batch,
  dataCollator,
  type Dataset,
  type DatasetOptions,
  describePreflight,
  type EncodedRow,
  type EosConfig,
  type Example,
  type Feature,
  type FormatTokenizer,
  type Geometry,
  loadDataset,
  type Message,
  type PadTokens,
  type Piece,
  type Preflight,
  type PromptFormat,
  type PromptFormatEntry,
  type PromptFormatOptions,
  readExamples,
  registerPromptFormat,
  type RowLimit,
  type Segment,
  type Targets,
  turnFormat,
  type TurnFormatParts,
  type TurnPlace,
} from "./lib/data/mod.ts";
export {
  AutoTokenizer,
  type DecodeOptions,
  type EncodeOptions,
} from "./lib/tokenizer/auto_tokenizer.ts";
export type {
  ChatMessage,
  ChatTemplateOptions,
} from "./lib/tokenizer/chat_template.ts";
export {
  TextStream,
  type TextStreamOptions,
  type TokenDecoder,
} from "./lib/tokenizer/text_stream.ts";

// models and adapters
export {
  type AttentionPlace,
  AutoModelForCausalLM,
  CausalLm,
  checkWeights,
  type ConfigJson,
  ConfigReader,
  DecoderLayer,
  type ForwardOptions,
  type FromPretrainedOptions,
  initializeWeights,
  LlamaAttention,
  type LlamaConfig,
  llamaConfig,
  LlamaContext,
  LlamaDecoderLayer,
  LlamaForCausalLm,
  LlamaMlp,
  LlamaModel,
  type ModelConfig,
  type ModelFamily,
  type NumberBounds,
  readConfig,
  readRope,
  registerFamily,
  type RopeSizes,
  type RunState,
  saveModel,
  type SaveModelOptions,
} from "./lib/architectures/mod.ts";
export {
  attention,
  type AttentionInput,
  BatchContext,
  type BatchContextOptions,
  Embedding,
  type HeadShape,
  KeyValueCache,
  Linear,
  type LinearOptions,
  Module,
  moduleAt,
  ModuleList,
  type NamedParameter,
  type NamedParameterSpec,
  type ParameterSpec,
  Projection,
  RmsNorm,
  type RopeParameters,
  RotaryEmbedding,
  rotate,
} from "./lib/nn/mod.ts";
export {
  type AdapterKind,
  type AdapterLayer,
  type AdapterParameter,
  AdapterPlace,
  describeTargets,
  getPeftModel,
  type LoraConfig,
  loraConfig,
  LoraLinear,
  type LoraLinearOptions,
  type LoraMatrix,
  matchTargets,
  type ParameterCount,
  PeftModel,
  type PeftOptions,
  type PlacedLayer,
  registerAdapterKind,
  type TargetReport,
  type TargetTree,
  targetTree,
} from "./lib/peft/mod.ts";

// generation
export {
  CHAT_TEMPLATE_FILE,
  type ChatPrompt,
  chatPrompt,
  type ChatPromptOptions,
  type ChatPromptSource,
  Conversation,
  type ConversationParts,
  generate,
  type GenerateOptions,
  type SamplingOptions,
} from "./lib/generation/mod.ts";

// training
export {
  parseTrainArguments,
  type ParseTrainOptions,
  type TrainArguments,
  trainingArgsJson,
  trainingArguments,
} from "./lib/arguments/train_arguments.ts";
export {
  CHAT,
  type ChatArguments,
  type ChatReading,
  parseChatArguments,
  type ParseChatOptions,
} from "./lib/arguments/chat_arguments.ts";
export {
  type ArgumentsReading,
  type Dataclasses,
  type HelpRequest,
  HfArgumentParser,
} from "./lib/arguments/hf_argument_parser.ts";
export {
  FINETUNE,
  type FinetuneArguments,
  loraFields,
  TRAINING,
  type TrainingArguments,
} from "./lib/arguments/settings.ts";
export type {
  Bounds,
  LoraFlagValues,
  LoraSetting,
  LoraTable,
} from "./lib/arguments/lora_settings.ts";
export type {
  Setting,
  SettingKinds,
  SettingsGroup,
  SettingsOf,
  SettingsTable,
  SettingValue,
} from "./lib/arguments/setting.ts";
export {
  epochBatches,
  type FlatEntry,
  type FlatGroup,
  FlatParameters,
  type LogRow,
  ModifiedTrainer,
  type ModifiedTrainerOptions,
  type Optimizer,
  type OptimizerDefinition,
  optimizerNames,
  type OptimizerSetting,
  type PlanArguments,
  planTraining,
  registerOptimizer,
  registerSchedule,
  resolveCheckpoint,
  type SamplerOptions,
  type Schedule,
  scheduleFactor,
  type ScheduleFormula,
  scheduleNames,
  type ScheduleSpan,
  type StepReport,
  type StepResult,
  Trainer,
  type TrainerCallback,
  type TrainerControl,
  type TrainerOptions,
  type TrainerState,
  type TrainingPlan,
  type TrainOptions,
  type TrainOutput,
  viewOf,
} from "./lib/training/mod.ts";
