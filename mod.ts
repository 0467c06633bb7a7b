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
  fromData,
  full,
  LibtorchNotFoundError,
  liveTensors,
  manualSeed,
  noGrad,
  setThreads,
  Tensor,
  tensor,
  type TensorOptions,
  tensorScope,
  to,
  toData,
  TorchError,
  zeros,
} from "./lib/tensor/mod.ts";
export type { DType, TensorData } from "./lib/formats/dtype.ts";
export { InputError } from "./lib/input_error.ts";

// data and tokenizer
export {
  type Batch,
  dataCollator,
  type PadTokens,
} from "./lib/data/collator.ts";
export { readRows, type Row } from "./lib/data/jsonl.ts";
export { type Dataset, loadDataset } from "./lib/data/load_dataset.ts";
export {
  describePreflight,
  type Preflight,
  preflight,
  type PreflightOptions,
  type PreparedRow,
} from "./lib/data/preflight.ts";
export {
  type Encoder,
  type EosConfig,
  type Example,
  type Feature,
  preprocess,
  type PreprocessOptions,
  promptOf,
  readJsonl,
  type ReadJsonlOptions,
} from "./lib/data/preprocess.ts";
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
  AutoModelForCausalLM,
  CausalLm,
  type FromPretrainedOptions,
  initializeWeights,
  LlamaForCausalLm,
  readConfig,
  saveModel,
} from "./lib/architectures/mod.ts";
export {
  describeTargets,
  getPeftModel,
  type LoraConfig,
  loraConfig,
  matchTargets,
  PeftModel,
  type TargetReport,
  type TargetTree,
  targetTree,
} from "./lib/peft/mod.ts";

// generation
export { adapterChatTemplate, generate } from "./lib/generation/mod.ts";

// training
export {
  parseTrainArguments,
  type TrainArguments,
  trainingArgsJson,
  trainingArguments,
} from "./lib/arguments/train_arguments.ts";
export { parseChatArguments } from "./lib/arguments/chat_arguments.ts";
export { HfArgumentParser } from "./lib/arguments/hf_argument_parser.ts";
export type {
  FinetuneArguments,
  TrainingArguments,
} from "./lib/arguments/settings.ts";
export {
  epochBatches,
  ModifiedTrainer,
  planTraining,
  resolveCheckpoint,
  scheduleFactor,
  Trainer,
  type TrainerCallback,
  type TrainerOptions,
  type TrainOptions,
  type TrainOutput,
} from "./lib/training/mod.ts";
