/**
 * The fields of transformers' TrainingArguments that this trainer uses, with the
 * names and defaults of transformers 5.18. The other fields are in
 * `refused_arguments.ts`.
 *
 * @module
 */
import { OPTIMIZER_SYNONYMS } from "./optimizer_names.ts";
import type { SettingsOf, SettingsTable } from "./setting.ts";

const STEPS_OR_EPOCH = ["no", "steps", "epoch"] as const;

/** The training settings of `deno task train`. */
export const TRAINING = {
  output_dir: {
    kind: "str",
    default: "output",
    isPath: true,
    help: "Folder for the adapter, the checkpoints and the logs",
  },
  overwrite_output_dir: {
    kind: "bool",
    default: false,
    help: "Overwrite an earlier run in --output_dir without a warning",
  },
  do_train: {
    kind: "bool",
    default: false,
    help: "No effect: this command always trains",
  },
  per_device_train_batch_size: {
    kind: "int",
    default: 8,
    help: "Rows per micro-batch",
  },
  gradient_accumulation_steps: {
    kind: "int",
    default: 1,
    help: "Micro-batches per optimizer step",
  },
  num_train_epochs: {
    kind: "float",
    default: 3,
    help: "Passes over the rows, unless --max_steps is set",
  },
  max_steps: {
    kind: "int",
    default: -1,
    help: "Optimizer steps; 0 or less: given by --num_train_epochs",
  },
  learning_rate: {
    kind: "float",
    default: 5e-5,
    help: "Highest learning rate",
  },
  lr_scheduler_type: {
    kind: "str",
    default: "linear",
    help: "How the learning rate falls",
  },
  lr_scheduler_kwargs: {
    kind: "fields",
    default: null,
    help: "Settings of the schedule, as JSON: num_cycles, min_lr, …",
  },
  warmup_steps: {
    kind: "float",
    default: 0,
    help: "Warm-up steps of the learning rate; below 1 a fraction of all steps",
  },
  optim: {
    kind: "str",
    default: "adamw_torch_fused",
    synonyms: OPTIMIZER_SYNONYMS,
    help: "Optimizer",
  },
  optim_args: {
    kind: "str",
    default: null,
    help: "Settings of the optimizer, such as momentum=0.9,nesterov=true",
  },
  weight_decay: {
    kind: "float",
    default: 0,
    help: "Decoupled weight decay",
  },
  adam_beta1: { kind: "float", default: 0.9, help: "AdamW's first decay rate" },
  adam_beta2: {
    kind: "float",
    default: 0.999,
    help: "AdamW's second decay rate",
  },
  adam_epsilon: {
    kind: "float",
    default: 1e-8,
    help: "AdamW's epsilon, against division by zero",
  },
  max_grad_norm: {
    kind: "float",
    default: 1,
    help: "Gradients are clipped to this norm; 0 does not clip",
  },
  label_smoothing_factor: {
    kind: "float",
    default: 0,
    help: "Share of a label's weight that is spread over all tokens",
  },
  neftune_noise_alpha: {
    kind: "float",
    default: null,
    help: "NEFTune: noise of the embeddings in training, such as 5",
  },
  bf16: { kind: "bool", default: false, help: "Compute in bfloat16" },
  fp16: { kind: "bool", default: false, help: "Compute in float16" },
  gradient_checkpointing: {
    kind: "bool",
    default: false,
    otherValues: ["auto"],
    help:
      "Recompute activations in the backward pass to save memory; auto: only those that do not fit",
  },
  logging_strategy: {
    kind: "choice",
    choices: STEPS_OR_EPOCH,
    default: "steps",
    help: "When losses are logged",
  },
  logging_steps: {
    kind: "float",
    default: 500,
    help: "Steps between log rows; below 1 a fraction of all steps",
  },
  logging_first_step: {
    kind: "bool",
    default: false,
    help: "Log the first step as well",
  },
  logging_nan_inf_filter: {
    kind: "bool",
    default: true,
    help: "Log the mean so far instead of a NaN or infinite loss",
  },
  eval_strategy: {
    kind: "choice",
    choices: STEPS_OR_EPOCH,
    default: "no",
    help: "When the evaluation rows are evaluated; no: once, at the end",
  },
  eval_steps: {
    kind: "float",
    default: null,
    help: "Steps between evaluations; below 1 a fraction of all steps; none: " +
      "--logging_steps",
  },
  eval_delay: {
    kind: "float",
    default: 0,
    help: "Steps (or epochs) before the first evaluation",
  },
  eval_on_start: {
    kind: "bool",
    default: false,
    help: "Evaluate before the first step as well",
  },
  do_eval: {
    kind: "bool",
    default: false,
    help: "No effect: evaluation rows are always evaluated",
  },
  per_device_eval_batch_size: {
    kind: "int",
    default: 8,
    help: "Rows per batch of an evaluation; its result does not depend on it",
  },
  load_best_model_at_end: {
    kind: "bool",
    default: false,
    help: "End with the weights of the best checkpoint",
  },
  metric_for_best_model: {
    kind: "str",
    default: null,
    help: "Which metric says what is best; none: loss",
  },
  greater_is_better: {
    kind: "bool",
    default: null,
    help: "Whether more of it is better; none: unless its name ends in loss",
  },
  save_strategy: {
    kind: "choice",
    choices: [...STEPS_OR_EPOCH, "best"],
    default: "steps",
    help: "When checkpoints are saved; best: when an evaluation is the best",
  },
  save_steps: {
    kind: "float",
    default: 500,
    help: "Steps between checkpoints; below 1 a fraction of all steps",
  },
  save_total_limit: {
    kind: "int",
    default: null,
    help: "Checkpoints to keep, oldest removed first; none keeps all",
  },
  save_only_model: {
    kind: "bool",
    default: false,
    help: "Save no optimizer state: such a checkpoint cannot be resumed",
  },
  seed: {
    kind: "int",
    default: 42,
    help: "Seed for initialisation, order of rows and dropout",
  },
  data_seed: {
    kind: "int",
    default: null,
    help: "Separate seed for the order of rows; none: --seed",
  },
  use_cpu: {
    kind: "bool",
    default: false,
    help: "Use the CPU even if there is a GPU; same as --device cpu",
  },
  disable_tqdm: {
    kind: "bool",
    default: null,
    help: "No progress bar; none: a bar only in a terminal",
  },
  remove_unused_columns: {
    kind: "bool",
    default: true,
    help: "No effect: other columns are never used",
  },
  train_sampling_strategy: {
    kind: "choice",
    choices: ["random", "sequential", "group_by_length", "batch_rebalance"],
    accepts: ["random", "sequential", "group_by_length"],
    default: "random",
    help: "Order of the rows: drawn anew in each epoch, as in the file, or " +
      "rows of similar length together",
  },
  dataloader_drop_last: {
    kind: "bool",
    default: false,
    help: "Leave out the last micro-batch of an epoch when it is not full",
  },
  resume_from_checkpoint: {
    kind: "str",
    default: null,
    isPath: "or switch",
    help: "Checkpoint folder to resume from, or true for the newest",
  },
  report_to: {
    kind: "str",
    accepts: ["none"],
    default: "none",
    help: "Trackers to report to; every log row is in trainer_state.json",
  },
} as const satisfies SettingsTable;

/** The settings of the training itself in `deno task train`. */
export type TrainingArguments = SettingsOf<typeof TRAINING>;
