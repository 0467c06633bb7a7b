/**
 * The settings of a LoRA fine-tuning run that transformers does not have: data,
 * base model and adapter. Those of LoraConfig come from its own table.
 *
 * @module
 */
import { LORA_FLAGS } from "./lora_settings.ts";
import { MODEL_SETTINGS } from "./model_settings.ts";
import type { SettingsOf, SettingsTable } from "./setting.ts";

/** Data, model and adapter settings of `deno task train`. */
export const FINETUNE = {
  dataset_path: {
    kind: "paths",
    default: "dataset/huanhuan.jsonl",
    isPath: true,
    help: "JSONL, JSON or CSV file of rows, packed as .gz or not, or several " +
      "files",
  },
  dataset_weights: {
    kind: "floats",
    default: null,
    help: "How often the rows of each file come in an epoch, one number for " +
      "each: 2 is twice, 0.5 is a half of them, drawn with --seed",
  },
  dataset_cache: {
    kind: "bool",
    default: true,
    help: "Keep tokenised rows in the user's cache folder, so that the next " +
      "run with the same rows, tokenizer and settings starts at once",
  },
  overwrite_cache: {
    kind: "bool",
    default: false,
    help: "Tokenise the rows anew although they are in the cache",
  },
  dataset_shape: {
    kind: "choice",
    choices: [
      "auto",
      "instruction",
      "messages",
      "conversations",
      "prompt_completion",
      "text",
    ],
    default: "auto",
    help: "Which keys rows have; auto looks at the first one",
  },
  prompt_format: {
    kind: "str",
    default: "auto",
    help: "How rows are spelled: recipe, chat (the model's own template) or " +
      "the name of a format; auto takes that of the adapter that is trained " +
      "on, recipe for instruction rows where the model has no chat template " +
      "or the recipe's, chat otherwise",
  },
  train_on: {
    kind: "choice",
    choices: ["last", "all", "everything"],
    default: "all",
    help: "What counts in the loss: the last answer of a row, all its " +
      "answers, or everything",
  },
  eval_dataset_path: {
    kind: "paths",
    default: null,
    isPath: true,
    help: "File of rows that are evaluated and not trained, or several",
  },
  eval_split: {
    kind: "float",
    default: null,
    help: "Share of the rows (below 1) or number of rows that are evaluated " +
      "instead of trained, drawn with --seed",
  },
  early_stopping_patience: {
    kind: "int",
    default: null,
    help: "End after this many evaluations in a row without a better metric",
  },
  early_stopping_threshold: {
    kind: "float",
    default: 0,
    help: "By how much a metric must be better to count",
  },
  loss_watchdog_threshold: {
    kind: "float",
    default: null,
    help: "End where the loss is above this for --loss_watchdog_patience steps",
  },
  loss_watchdog_patience: {
    kind: "int",
    default: 3,
    help: "Steps in a row for --loss_watchdog_threshold",
  },
  ...MODEL_SETTINGS,
  ...LORA_FLAGS,
  loraplus_lr_ratio: {
    kind: "float",
    default: null,
    help: "LoRA+: B learns at this many times the rate of A, such as 16",
  },
  loraplus_lr_embedding: {
    kind: "float",
    default: 1e-6,
    help: "LoRA+: learning rate of adapters of embeddings",
  },
  max_seq_length: {
    kind: "int",
    default: 256,
    help: "Rows are cut to this many tokens",
  },
  skip_overlength: {
    kind: "bool",
    default: false,
    help: "Leave out longer rows instead of cutting them",
  },
  continue_training: {
    kind: "bool",
    default: false,
    help: "Start from the adapter in --checkpoint",
  },
  checkpoint: {
    kind: "str",
    default: null,
    isPath: true,
    aliases: ["check_point"],
    help: "Adapter folder to continue from, with --continue_training",
  },
  checkpoint_activations: {
    kind: "bool",
    default: false,
    help: "Same as --gradient_checkpointing",
  },
  loss: {
    kind: "choice",
    choices: ["tokens", "reference"],
    default: "tokens",
    help: "tokens: mean over all trained tokens of an optimizer step; " +
      "reference: mean over micro-batches of their means, as in the recipe",
  },
  shared_prefix: {
    kind: "bool",
    default: true,
    help: "Rows of a batch lie end to end, and what they begin with in " +
      "common is computed once; false pads them to one length. Losses " +
      "are the same but for dropout: a shared token has one mask",
  },
  sample_question: {
    kind: "str",
    default: "auto",
    nullable: true,
    help: "Question that is answered before and after training; auto: one of " +
      "the rows, none: no question",
  },
} as const satisfies SettingsTable;

/** The data, model and adapter settings of `deno task train`. */
export type FinetuneArguments = SettingsOf<typeof FINETUNE>;
