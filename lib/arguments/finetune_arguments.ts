/**
 * The settings of one LoRA fine-tuning run that transformers does not have:
 * data, base model and adapter. LoraConfig fields that are only recognised
 * stand in their own table, so no reader of the result can rely on them.
 *
 * @module
 */
import { MODEL_SETTINGS } from "./model_settings.ts";
import type { SettingsOf, SettingsTable } from "./setting.ts";

/** Data, model and adapter settings of `deno task train`. */
export const FINETUNE = {
  dataset_path: {
    kind: "str",
    default: "dataset/huanhuan.jsonl",
    isPath: true,
    help: "JSONL file of instruction rows",
  },
  ...MODEL_SETTINGS,
  lora_rank: {
    kind: "int",
    default: 8,
    help: "Rank of the adapter matrices",
  },
  lora_alpha: {
    kind: "int",
    default: 32,
    help: "Adapter output is scaled by lora_alpha / lora_rank",
  },
  lora_dropout: {
    kind: "float",
    default: 0.1,
    help: "Dropout on the adapter's input",
  },
  target_modules: {
    kind: "targets",
    default: ["W_pack", "down_proj", "o_proj", "gate_proj", "up_proj"],
    help: "Modules that get an adapter: names (a b c, or a,b,c), all-linear, " +
      "or one regular expression for whole module paths",
  },
  exclude_modules: {
    kind: "targets",
    default: null,
    help: "Modules that get none: names or one regular expression",
  },
  use_rslora: {
    kind: "bool",
    default: false,
    help: "Scale by lora_alpha / sqrt(lora_rank) instead",
  },
  init_lora_weights: {
    kind: "choice",
    choices: [true, false, "gaussian"],
    default: true,
    help: "How the adapter starts: true is peft's (A random, B zero), " +
      "false draws both, gaussian draws A from a normal distribution",
  },
  layers_to_transform: {
    kind: "ints",
    default: null,
    help: "Numbers of the layers that get an adapter",
  },
  layers_pattern: {
    kind: "list",
    default: null,
    help: "Names of the module lists that layers_to_transform counts in",
  },
  rank_pattern: {
    kind: "numbers",
    default: {},
    help: "JSON object from module name or pattern to its own rank",
  },
  alpha_pattern: {
    kind: "numbers",
    default: {},
    help: "JSON object from module name or pattern to its own alpha",
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
    help: "tokens weighs every trained token of the accumulation window " +
      "alike; reference takes a mean per micro-batch, as the recipe does",
  },
  sample_question: {
    kind: "str",
    default: "你是谁？",
    nullable: true,
    help: "Question answered before and after training; none asks nothing",
  },
} as const satisfies SettingsTable;

/** What `deno task train` was told about data, model and adapter. */
export type FinetuneArguments = SettingsOf<typeof FINETUNE>;

const refused = { accepts: "default", help: "Not supported yet" } as const;

/** LoraConfig fields that are recognised, and refused by name when set. */
export const FINETUNE_REFUSED = {
  task_type: { kind: "str", default: "CAUSAL_LM", ...refused },
  bias: {
    kind: "choice",
    choices: ["none", "all", "lora_only"],
    default: "none",
    ...refused,
  },
  fan_in_fan_out: { kind: "bool", default: false, ...refused },
  modules_to_save: { kind: "list", default: null, ...refused },
  use_dora: { kind: "bool", default: false, ...refused },
  lora_bias: { kind: "bool", default: false, ...refused },
  target_parameters: { kind: "list", default: null, ...refused },
  trainable_token_indices: { kind: "ints", default: null, ...refused },
  layer_replication: { kind: "str", default: null, ...refused },
  loftq_config: { kind: "str", default: null, ...refused },
  eva_config: { kind: "str", default: null, ...refused },
  corda_config: { kind: "str", default: null, ...refused },
  lora_ga_config: { kind: "str", default: null, ...refused },
  velora_config: { kind: "str", default: null, ...refused },
  monteclora_config: { kind: "str", default: null, ...refused },
  arrow_config: { kind: "str", default: null, ...refused },
  kasa_config: { kind: "str", default: null, ...refused },
  megatron_config: { kind: "str", default: null, ...refused },
  megatron_core: { kind: "str", default: "megatron.core", ...refused },
  alora_invocation_tokens: { kind: "ints", default: null, ...refused },
  use_qalora: { kind: "bool", default: false, ...refused },
  qalora_group_size: { kind: "int", default: 16, ...refused },
  use_bdlora: { kind: "str", default: null, ...refused },
  ensure_weight_tying: { kind: "bool", default: false, ...refused },
} as const satisfies SettingsTable;
