/**
 * The headings of `deno task train --help`, and the settings under each.
 *
 * @module
 */
import type { HelpSection } from "./help_layout.ts";

/** Headings and their settings, in the order of the help. */
export const TRAIN_SECTIONS: readonly HelpSection[] = [
  {
    title: "Model and rows",
    names: [
      "model_path",
      "dataset_path",
      "dataset_weights",
      "dataset_cache",
      "overwrite_cache",
      "output_dir",
      "dataset_shape",
      "prompt_format",
      "train_on",
      "max_seq_length",
      "skip_overlength",
      "remove_unused_columns",
    ],
  },
  {
    title: "Adapter (LoRA)",
    names: [
      "lora_rank",
      "lora_alpha",
      "lora_dropout",
      "target_modules",
      "target_parameters",
      "exclude_modules",
      "use_rslora",
      "use_dora",
      "bias",
      "lora_bias",
      "modules_to_save",
      "ensure_weight_tying",
      "trainable_token_indices",
      "init_lora_weights",
      "layers_to_transform",
      "layers_pattern",
      "rank_pattern",
      "alpha_pattern",
    ],
  },
  {
    title: "Length of the run, batches",
    names: [
      "do_train",
      "num_train_epochs",
      "max_steps",
      "per_device_train_batch_size",
      "gradient_accumulation_steps",
      "train_sampling_strategy",
      "dataloader_drop_last",
      "loss",
      "shared_prefix",
      "seed",
      "data_seed",
    ],
  },
  {
    title: "Optimizer and learning rate",
    names: [
      "learning_rate",
      "lr_scheduler_type",
      "lr_scheduler_kwargs",
      "warmup_steps",
      "optim",
      "optim_args",
      "weight_decay",
      "adam_beta1",
      "adam_beta2",
      "adam_epsilon",
      "max_grad_norm",
      "label_smoothing_factor",
      "neftune_noise_alpha",
      "loraplus_lr_ratio",
      "loraplus_lr_embedding",
    ],
  },
  {
    title: "Device, precision and memory",
    names: [
      "device",
      "use_cpu",
      "torch_dtype",
      "bf16",
      "fp16",
      "gradient_checkpointing",
      "checkpoint_activations",
    ],
  },
  {
    title: "Log and progress",
    names: [
      "logging_strategy",
      "logging_steps",
      "logging_first_step",
      "logging_nan_inf_filter",
      "disable_tqdm",
      "report_to",
      "sample_question",
    ],
  },
  {
    title: "Checkpoints, resuming",
    names: [
      "save_strategy",
      "save_steps",
      "save_total_limit",
      "save_only_model",
      "overwrite_output_dir",
      "resume_from_checkpoint",
      "continue_training",
      "checkpoint",
    ],
  },
];
