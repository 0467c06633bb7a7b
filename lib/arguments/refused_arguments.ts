/**
 * Names of transformers' TrainingArguments that are recognised and do nothing:
 * fields of 5.18 that are not supported yet, and flags of version 4 that are
 * gone. Given with their default they pass; with another value they are
 * refused by name. The few old names that only moved are translated in
 * `train_arguments.ts`.
 *
 * @module
 */
import type { SettingsTable } from "./setting.ts";

const refused = { accepts: "default", help: "Not supported yet" } as const;
const off = { kind: "bool", default: false, ...refused } as const;
const on = { kind: "bool", default: true, ...refused } as const;
const maybe = { kind: "bool", default: null, ...refused } as const;
const text = { kind: "str", default: null, ...refused } as const;
const whole = { kind: "int", default: null, ...refused } as const;
const real = { kind: "float", default: null, ...refused } as const;
const names = { kind: "list", default: null, ...refused } as const;

/** Fields of transformers 5.18 that are not supported yet. */
export const TRAINING_REFUSED = {
  lr_scheduler_kwargs: text,
  optim_args: text,
  optim_target_modules: text,
  average_tokens_across_devices: on,
  label_smoothing_factor: { ...real, default: 0 },
  bf16_full_eval: off,
  fp16_full_eval: off,
  tf32: maybe,
  gradient_checkpointing_kwargs: text,
  torch_compile: off,
  torch_compile_backend: text,
  torch_compile_mode: text,
  use_liger_kernel: off,
  liger_kernel_config: text,
  use_cache: off,
  neftune_noise_alpha: real,
  torch_empty_cache_steps: whole,
  auto_find_batch_size: off,
  log_on_each_node: on,
  include_num_input_tokens_seen: off,
  log_level: { ...text, default: "passive" },
  log_level_replica: { ...text, default: "warning" },
  run_name: text,
  project: { ...text, default: "huggingface" },
  trackio_space_id: text,
  trackio_bucket_id: text,
  trackio_static_space_id: text,
  eval_strategy: { ...text, default: "no" },
  eval_steps: real,
  eval_delay: { ...real, default: 0 },
  per_device_eval_batch_size: { ...whole, default: 8 },
  prediction_loss_only: off,
  eval_on_start: off,
  eval_do_concat_batches: on,
  eval_use_gather_object: off,
  eval_accumulation_steps: whole,
  include_for_metrics: { ...names, default: [] },
  batch_eval_metrics: off,
  save_on_each_node: off,
  enable_jit_checkpoint: off,
  push_to_hub: off,
  hub_token: text,
  hub_private_repo: maybe,
  hub_model_id: text,
  hub_strategy: { ...text, default: "every_save" },
  hub_always_push: off,
  hub_revision: text,
  load_best_model_at_end: off,
  metric_for_best_model: text,
  greater_is_better: maybe,
  ignore_data_skip: off,
  restore_callback_states_from_checkpoint: off,
  full_determinism: off,
  accelerator_config: text,
  parallelism_config: text,
  dataloader_num_workers: { ...whole, default: 0 },
  dataloader_pin_memory: on,
  dataloader_persistent_workers: off,
  dataloader_prefetch_factor: whole,
  dataloader_multiprocessing_context: text,
  dataloader_in_order: on,
  label_names: names,
  train_sampling_strategy: { ...text, default: "random" },
  length_column_name: { ...text, default: "length" },
  ddp_find_unused_parameters: maybe,
  ddp_bucket_cap_mb: whole,
  ddp_broadcast_buffers: maybe,
  ddp_static_graph: maybe,
  ddp_backend: text,
  ddp_timeout: { ...whole, default: 1800 },
  fsdp: text,
  fsdp_config: text,
  deepspeed: text,
  debug: { ...names, default: [] },
  skip_memory_metrics: on,
  do_eval: off,
  do_predict: off,
  local_rank: { ...whole, default: -1 },
} as const satisfies SettingsTable;

/** Flags of transformers 4 that are gone, with what took their place. */
export const TRAINING_REMOVED = {
  per_gpu_eval_batch_size: { ...whole, today: "per_device_eval_batch_size" },
  logging_dir: text,
  evaluation_strategy: { ...text, default: "no", today: "eval_strategy" },
  group_by_length: {
    ...off,
    today: "train_sampling_strategy group_by_length",
  },
  save_safetensors: on,
  use_mps_device: off,
  include_tokens_per_second: {
    ...off,
    today: "include_num_input_tokens_seen",
  },
  include_inputs_for_metrics: { ...off, today: "include_for_metrics inputs" },
  fp16_backend: { ...text, default: "auto" },
  half_precision_backend: { ...text, default: "auto" },
  fp16_opt_level: { ...text, default: "O1" },
  adafactor: { ...off, today: "optim adafactor" },
  fsdp_min_num_params: { ...whole, default: 0, today: "fsdp_config" },
  fsdp_transformer_layer_cls_to_wrap: { ...text, today: "fsdp_config" },
  jit_mode_eval: off,
  torchdynamo: text,
  ray_scope: { ...text, default: "last" },
  mp_parameters: { ...text, default: "" },
  past_index: { ...whole, default: -1 },
  tpu_num_cores: whole,
  tpu_metrics_debug: off,
  use_legacy_prediction_loop: off,
  push_to_hub_model_id: { ...text, today: "hub_model_id" },
  push_to_hub_organization: { ...text, today: "hub_model_id" },
  push_to_hub_token: { ...text, today: "hub_token" },
} as const satisfies SettingsTable;

/** Flags of transformers 4 that work by another name today. */
export const TRAINING_MOVED = {
  warmup_ratio: {
    kind: "float",
    default: 0,
    help: "Old name of --warmup_steps below 1",
    today: "warmup_steps",
  },
  per_gpu_train_batch_size: {
    kind: "int",
    default: null,
    help: "Old name of --per_device_train_batch_size",
    today: "per_device_train_batch_size",
  },
  no_cuda: {
    kind: "bool",
    default: false,
    help: "Old name of --use_cpu",
    today: "use_cpu",
  },
} as const satisfies SettingsTable;
