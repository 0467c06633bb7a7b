/**
 * The settings tables and the types derived from them, in one file to import
 * from. The fields of a table row are explained in `setting.ts`.
 *
 * @module
 */
export { FINETUNE, type FinetuneArguments } from "./finetune_arguments.ts";
export {
  LORA_REFUSED_FLAGS,
  LORA_SETTINGS,
  LORA_WITHOUT_EFFECT,
  type LoraConfig,
  loraFields,
} from "./lora_settings.ts";
export { TRAINING, type TrainingArguments } from "./training_arguments.ts";
export {
  OTHERS_WITHOUT_EFFECT,
  REMOVED_WITHOUT_EFFECT,
  TRAINING_MOVED,
  TRAINING_REFUSED,
  TRAINING_REMOVED,
  TRAINING_WITHOUT_EFFECT,
} from "./refused_arguments.ts";
