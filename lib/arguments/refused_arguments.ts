/**
 * Names of transformers' TrainingArguments that this trainer does not use: fields
 * of version 5.18 and flags of version 4. A setting that asks for other results
 * than lorikeet's is refused with a reason. One that changes no result is
 * accepted, and reported as without effect. One that has a new name in version 5
 * is read as that name.
 *
 * @module
 */
import type { SettingsTable } from "./setting.ts";

const refused = { accepts: "default", help: "Not supported yet" } as const;
const off = { kind: "bool", default: false, ...refused } as const;
const text = { kind: "str", default: null, ...refused } as const;

const NO_HUB = "nothing is uploaded: upload the output folder with the Hub's " +
  "own tool";
const ONE_DEVICE = "a run uses one device";
const NO_PROJECTION = "no optimizer here projects gradients";

/** Fields of transformers 5.18 that are refused, each with the reason. */
export const TRAINING_REFUSED = {
  optim_target_modules: { ...text, reason: NO_PROJECTION },
  auto_find_batch_size: {
    ...off,
    reason: "a batch that does not fit into memory ends the run",
  },
  do_predict: { ...off, reason: "this command only trains" },
  push_to_hub: { ...off, reason: NO_HUB },
  ignore_data_skip: {
    ...off,
    reason: "a resumed run continues with the rows that come next",
  },
  accelerator_config: {
    kind: "any",
    default: null,
    help: refused.help,
    accepts: [null, "", "{}", {}],
    reason: "there is no accelerate to configure",
  },
  parallelism_config: { ...text, reason: ONE_DEVICE },
  fsdp: {
    kind: "any",
    default: null,
    help: refused.help,
    accepts: [null, "", "false", "False", false, []],
    reason: ONE_DEVICE,
  },
  deepspeed: {
    kind: "any",
    default: null,
    help: refused.help,
    accepts: [null, ""],
    reason: ONE_DEVICE,
  },
} as const satisfies SettingsTable;

/** Flags of transformers 4 that are refused, each with the reason. */
export const TRAINING_REMOVED = {
  use_mps_device: { ...off, reason: "a run uses a CPU or a CUDA device" },
} as const satisfies SettingsTable;

const idle = {
  kind: "any",
  noEffect: true,
  help: "Accepted, changes nothing",
} as const;
const idleSwitch = { ...idle, kind: "bool" } as const;
const idleOff = { ...idleSwitch, default: false } as const;
const idleOn = { ...idleSwitch, default: true } as const;
const idleMaybe = { ...idleSwitch, default: null } as const;
const idleText = { ...idle, default: null } as const;
const idleCount = { ...idle, kind: "int", default: null } as const;
const idleNames = { ...idle, kind: "list", default: null } as const;

/**
 * Fields of transformers 5.18 that change no number and no answer: how fast or
 * where something is computed, evaluation, trackers and uploads that do not exist
 * here, several processes.
 */
export const TRAINING_WITHOUT_EFFECT = {
  average_tokens_across_devices: idleOn,
  bf16_full_eval: idleOff,
  fp16_full_eval: idleOff,
  tf32: { ...idleMaybe, noEffect: "on a CPU" },
  full_determinism: { ...idleOff, noEffect: "on a CPU" },
  gradient_checkpointing_kwargs: idleText,
  torch_compile: idleOff,
  torch_compile_backend: idleText,
  torch_compile_mode: idleText,
  use_liger_kernel: idleOff,
  liger_kernel_config: idleText,
  use_cache: idleOff,
  torch_empty_cache_steps: idleCount,
  log_on_each_node: idleOn,
  include_num_input_tokens_seen: { ...idle, default: false },
  log_level: { ...idleText, default: "passive" },
  log_level_replica: { ...idleText, default: "warning" },
  run_name: idleText,
  project: { ...idleText, default: "huggingface" },
  trackio_space_id: idleText,
  trackio_bucket_id: idleText,
  trackio_static_space_id: idleText,
  prediction_loss_only: idleOff,
  eval_do_concat_batches: idleOn,
  eval_use_gather_object: idleOff,
  eval_accumulation_steps: idleCount,
  include_for_metrics: { ...idleNames, default: [] },
  batch_eval_metrics: idleOff,
  save_on_each_node: idleOff,
  enable_jit_checkpoint: idleOff,
  hub_token: idleText,
  hub_private_repo: idleMaybe,
  hub_model_id: idleText,
  hub_strategy: { ...idleText, default: "every_save" },
  hub_always_push: idleOff,
  hub_revision: idleText,
  restore_callback_states_from_checkpoint: idleOff,
  dataloader_num_workers: { ...idleCount, default: 0 },
  dataloader_pin_memory: idleOn,
  dataloader_persistent_workers: idleOff,
  dataloader_prefetch_factor: idleCount,
  dataloader_multiprocessing_context: idleText,
  dataloader_in_order: idleOn,
  label_names: idleNames,
  length_column_name: { ...idleText, default: "length" },
  ddp_find_unused_parameters: idleMaybe,
  ddp_bucket_cap_mb: idleCount,
  ddp_broadcast_buffers: idleMaybe,
  ddp_static_graph: idleMaybe,
  ddp_backend: idleText,
  ddp_timeout: { ...idleCount, default: 1800 },
  fsdp_config: idleText,
  debug: { ...idleNames, default: [] },
  skip_memory_metrics: idleOn,
  local_rank: { ...idleCount, default: -1 },
} as const satisfies SettingsTable;

/** Flags of transformers 4 that change no number and no answer. */
export const REMOVED_WITHOUT_EFFECT = {
  logging_dir: idleText,
  save_safetensors: idleOn,
  include_tokens_per_second: idleOff,
  include_inputs_for_metrics: idleOff,
  fp16_backend: { ...idleText, default: "auto" },
  half_precision_backend: { ...idleText, default: "auto" },
  fp16_opt_level: { ...idleText, default: "O1" },
  fsdp_min_num_params: { ...idleCount, default: 0 },
  fsdp_transformer_layer_cls_to_wrap: idleText,
  jit_mode_eval: idleOff,
  torchdynamo: idleText,
  ray_scope: { ...idleText, default: "last" },
  mp_parameters: { ...idleText, default: "" },
  past_index: { ...idleCount, default: -1 },
  tpu_num_cores: idleCount,
  tpu_metrics_debug: idleOff,
  use_legacy_prediction_loop: idleOff,
  push_to_hub_model_id: idleText,
  push_to_hub_organization: idleText,
  push_to_hub_token: idleText,
  _n_gpu: { ...idleCount, default: 1 },
} as const satisfies SettingsTable;

/** Flags of training scripts and other tools that change no number. */
export const OTHERS_WITHOUT_EFFECT = {
  attn_implementation: idleText,
  cache_dir: idleText,
  dataset_num_proc: idleCount,
  flash_attn: idleText,
  plot_loss: idleOff,
  preprocessing_num_workers: idleCount,
  trust_remote_code: idleOff,
  use_fast_tokenizer: idleOn,
  use_flash_attn: idleOff,
} as const satisfies SettingsTable;

/** Flags of transformers 4 that have another name in version 5. */
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
  group_by_length: {
    kind: "bool",
    default: false,
    help: "Old name of --train_sampling_strategy group_by_length",
    today: "train_sampling_strategy",
    todayValue: "group_by_length",
  },
  adafactor: {
    kind: "bool",
    default: false,
    help: "Old name of --optim adafactor",
    today: "optim",
    todayValue: "adafactor",
  },
  evaluation_strategy: {
    kind: "choice",
    choices: ["no", "steps", "epoch"],
    default: "no",
    help: "Old name of --eval_strategy",
    today: "eval_strategy",
  },
  per_gpu_eval_batch_size: {
    kind: "int",
    default: null,
    help: "Old name of --per_device_eval_batch_size",
    today: "per_device_eval_batch_size",
  },
  no_cuda: {
    kind: "bool",
    default: false,
    help: "Old name of --use_cpu",
    today: "use_cpu",
  },
} as const satisfies SettingsTable;
