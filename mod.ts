/**
 * lorikeet: LoRA fine-tuning of chat models, directly on libtorch. These are the
 * names that a training script needs; more are in the subpaths `/tensor`, `/nn`,
 * `/architectures`, `/peft`, `/data`, `/tokenizer`, `/generation`, `/training`,
 * `/arguments` and `/formats`. Importing this file opens nothing and needs no
 * permission; libtorch is opened when the first tensor is made.
 *
 * @module
 */

// used by everything
export {
  aten,
  type Device,
  deviceName,
  deviceNamed,
  ensureLibtorch,
  LibtorchNotFoundError,
  manualSeed,
  noGrad,
  Tensor,
  tensor,
  tensorScope,
  TorchError,
} from "./lib/tensor/mod.ts";
export { type DType } from "./lib/formats/mod.ts";
export { InputError } from "./lib/input_error.ts";

// models
export {
  AutoModelForCausalLM,
  CausalLm,
  type FromPretrainedOptions,
  type ModelConfig,
  type ModelFamily,
  registerFamily,
  saveModel,
} from "./lib/architectures/mod.ts";

// adapters
export {
  type AdapterKind,
  getPeftModel,
  type LoraConfig,
  PeftModel,
  registerAdapterKind,
} from "./lib/peft/mod.ts";

// rows
export {
  AutoTokenizer,
  type ChatMessage,
  TextStream,
} from "./lib/tokenizer/mod.ts";
export {
  type Batch,
  dataCollator,
  type Dataset,
  type DatasetOptions,
  describePreflight,
  type Feature,
  loadDataset,
  type Message,
  type PromptFormat,
  registerPromptFormat,
} from "./lib/data/mod.ts";

// answers
export {
  chatPrompt,
  Conversation,
  generate,
  generateBatch,
  type GenerateOptions,
  keepWeightCopies,
} from "./lib/generation/mod.ts";

// training
export {
  type LogRow,
  ModifiedTrainer,
  type Optimizer,
  registerOptimizer,
  registerSchedule,
  type StepReport,
  Trainer,
  type TrainerCallback,
  type TrainerControl,
  type TrainerOptions,
  type TrainerState,
  type TrainOptions,
  type TrainOutput,
} from "./lib/training/mod.ts";
export {
  HfArgumentParser,
  parseTrainArguments,
  type TrainArguments,
  type TrainingArguments,
  trainingArguments,
} from "./lib/arguments/mod.ts";
