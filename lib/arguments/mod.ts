/**
 * Flags and settings files: HfArgumentParser, and the tables of settings that
 * drive flags, help, files and checks.
 *
 * @module
 */

export {
  CONVERT,
  type ConvertArguments,
  parseConvertArguments,
} from "./convert_arguments.ts";
export {
  CHAT,
  type ChatArguments,
  type ChatReading,
  parseChatArguments,
  type ParseChatOptions,
} from "./chat_arguments.ts";
export {
  EXPORT,
  type ExportArguments,
  parseExportArguments,
} from "./export_arguments.ts";
export {
  type ArgumentsReading,
  type Dataclasses,
  type HelpRequest,
  HfArgumentParser,
} from "./hf_argument_parser.ts";
export {
  INSPECT,
  type InspectArguments,
  type InspectReading,
  parseInspectArguments,
} from "./inspect_arguments.ts";
export type {
  Bounds,
  LoraFlagValues,
  LoraSetting,
  LoraTable,
} from "./lora_settings.ts";
export {
  MERGE,
  type MergeArguments,
  type MergeReading,
  parseMergeArguments,
  type ParseMergeOptions,
} from "./merge_arguments.ts";
export type {
  Setting,
  SettingKinds,
  SettingsGroup,
  SettingsOf,
  SettingsTable,
  SettingValue,
} from "./setting.ts";
export {
  FINETUNE,
  type FinetuneArguments,
  loraFields,
  TRAINING,
  type TrainingArguments,
} from "./settings.ts";
export {
  parseTrainArguments,
  type ParseTrainOptions,
  type TrainArguments,
  trainingArgsJson,
  trainingArguments,
} from "./train_arguments.ts";
