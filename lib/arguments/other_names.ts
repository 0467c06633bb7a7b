/**
 * Names of settings in other tools, with the name in lorikeet or the reason why
 * there is none; and the known name that is nearest to a mistyped one.
 *
 * @module
 */
import { distance } from "npm:fastest-levenshtein@1.0.16";

/** What a name from another tool means in lorikeet. */
export type OtherName =
  /** The setting has another name; `as` says how to write it, where that is not obvious. */
  | { readonly here: string; readonly as?: string }
  /** The setting has another name, and is read as if that name had been written. */
  | { readonly sameAs: string }
  /** There is no such setting, for this reason. */
  | { readonly reason: string };

/** Names of other tools, without dashes. */
export type OtherNames = Readonly<Record<string, OtherName>>;

/** The meaning of `name` in `names`; only own properties count. */
export function otherName(
  name: string,
  names: OtherNames,
): OtherName | undefined {
  return Object.hasOwn(names, name) ? names[name] : undefined;
}

/** Says what to write instead of `written`, or why it cannot be used. */
export function describeOtherName(
  written: string,
  other: Exclude<OtherName, { readonly sameAs: string }>,
): string {
  if ("reason" in other) return `Cannot use ${written}: ${other.reason}`;
  const dashes = written.startsWith("-") ? "--" : "";
  const as = other.as === undefined ? "" : `, ${other.as}`;
  return `Cannot use ${written}: did you mean ${dashes}${other.here}?${as}`;
}

/**
 * The name in `known` that needs the fewest single-letter edits to become
 * `name`, or undefined where even that one differs in more than a third.
 */
export function closestName(
  name: string,
  known: Iterable<string>,
): string | undefined {
  let best: string | undefined;
  let fewest = Math.floor(name.length / 3) + 1;
  for (const candidate of known) {
    const edits = distance(name, candidate);
    if (edits < fewest) [best, fewest] = [candidate, edits];
  }
  return best;
}

/** Every name in `names` with the same meaning. */
function all(names: string, other: OtherName): [string, OtherName][] {
  return names.split(" ").map((name) => [name, other]);
}

const MODEL_NAMES = all(
  "model_name_or_path model base_model model_name model_id model_dir " +
    "pretrained_model_name_or_path base_model_name_or_path base_model_path",
  { here: "model_path" },
);

const NO_QUANTISATION = {
  reason: "not supported yet, base weights have 32 or 16 bits, see " +
    "--torch_dtype",
};
const ANSWER_TRAINED = {
  reason: "--train_on last, all or everything says what is learned",
};
const ONE_ATTENTION = {
  reason: "the fastest exact attention is always used, leave it out",
};

/** The names that other fine-tuning tools give to the settings of `deno task train`. */
export const OTHER_TRAIN_NAMES: OtherNames = Object.fromEntries([
  ...MODEL_NAMES,
  ...all("r lora_r", { sameAs: "lora_rank" }),
  ...all("rank", { here: "lora_rank" }),
  ...all("alpha lora_scaling", { here: "lora_alpha" }),
  ...all("dropout", { here: "lora_dropout" }),
  ...all("lora_target lora_target_modules lora_modules targets", {
    here: "target_modules",
  }),
  ...all(
    "dataset data data_path data_file train_file dataset_name dataset_dir " +
      "train_data train_dataset train_path train_data_path",
    { here: "dataset_path" },
  ),
  ...all("output output_path save_path save_dir out_dir", {
    here: "output_dir",
  }),
  ...all("epochs num_epochs epoch n_epochs train_epochs max_epochs", {
    here: "num_train_epochs",
  }),
  ...all("steps max_train_steps train_steps num_steps iters", {
    here: "max_steps",
  }),
  ...all("batch_size micro_batch_size train_batch_size per_device_batch_size", {
    here: "per_device_train_batch_size",
  }),
  ...all("grad_accum gradient_accumulation accumulation_steps grad_acc_steps", {
    here: "gradient_accumulation_steps",
  }),
  ...all("lr max_lr", { here: "learning_rate" }),
  ...all("scheduler lr_scheduler scheduler_type", {
    here: "lr_scheduler_type",
  }),
  ...all("warmup num_warmup_steps", { here: "warmup_steps" }),
  ...all("optimizer", { here: "optim" }),
  ...all("clip grad_clip clip_grad_norm gradient_clipping", {
    here: "max_grad_norm",
  }),
  ...all(
    "cutoff_len max_length model_max_length sequence_len max_seq_len " +
      "block_size seq_length max_source_length max_target_length",
    { here: "max_seq_length" },
  ),
  ...all("use_gradient_checkpointing grad_checkpointing", {
    here: "gradient_checkpointing",
  }),
  ...all("resume", { here: "resume_from_checkpoint" }),
  ...all("adapter adapter_name_or_path adapter_path lora_path", {
    here: "checkpoint",
    as: "with --continue_training",
  }),
  ...all("precision compute_dtype mixed_precision", { here: "bf16" }),
  ...all("cpu", { here: "use_cpu" }),
  ...all("log_steps log_interval", { here: "logging_steps" }),
  ...all("save_interval checkpoint_steps", { here: "save_steps" }),
  ...all(
    "load_in_4bit load_in_8bit quantization quantization_bit use_qlora " +
      "bits bnb_4bit_compute_dtype bnb_4bit_quant_type use_bnb_nested_quant",
    NO_QUANTISATION,
  ),
  ...all("packing neat_packing sample_packing pack", {
    reason: "not supported yet, each row is a sequence of its own",
  }),
  ...all("val_size val_set_size", { sameAs: "eval_split" }),
  ...all("validation_split_percentage", {
    here: "eval_split",
    as: "as a fraction",
  }),
  ...all("validation_file eval_dataset eval_file eval_data_path", {
    sameAs: "eval_dataset_path",
  }),
  ...all("early_stopping_steps", { sameAs: "early_stopping_patience" }),
  ...all(
    "train_on_inputs train_on_prompt mask_prompt completion_only_loss " +
      "assistant_only_loss",
    ANSWER_TRAINED,
  ),
  ...all("stage training_type", {
    reason: "training always is on answers to questions, leave it out",
  }),
  ...all("max_samples max_train_samples", {
    reason: "not supported yet, all rows are trained on",
  }),
  ...all("finetuning_type use_lora use_peft peft_type", {
    reason: "a LoRA adapter is always trained, leave it out",
  }),
  ...all("interleave_probs mix_strategy", {
    reason: "--dataset_weights says how often the rows of each file come",
  }),
  ...all("template prompt_template", { here: "prompt_format" }),
  ...all("chat_template chat_template_path", {
    reason: "the model's own template lies in its folder as " +
      "chat_template.jinja, and --prompt_format chat takes it",
  }),
]);

const ADAPTER_NAMES = all(
  "adapter_name_or_path adapter_path lora lora_path peft_model " +
    "peft_model_id lora_weights checkpoint checkpoint_dir ckpt",
  { here: "adapter" },
);

/** The names that other tools give to the settings of `deno task merge`. */
export const OTHER_MERGE_NAMES: OtherNames = Object.fromEntries([
  ...MODEL_NAMES,
  ...ADAPTER_NAMES,
  ...all(
    "output output_path save_path save_dir out_dir export_dir out " +
      "save_directory output_name",
    { here: "output_dir" },
  ),
  ...all("export_size shard_size", { here: "max_shard_size" }),
  ...all("export_dtype precision outtype", { here: "torch_dtype" }),
  ...all("device export_device", {
    reason: "merging is done on the CPU, leave it out",
  }),
  ...all("trust_remote_code", {
    reason: "code in a model folder is never run, leave it out",
  }),
]);

/** The names that other tools give to the settings of `deno task chat`. */
export const OTHER_CHAT_NAMES: OtherNames = Object.fromEntries([
  ...MODEL_NAMES,
  ...ADAPTER_NAMES,
  ...all("question query input message", { here: "prompt" }),
  ...all("system system_prompt", { here: "instruction" }),
  ...all("max_tokens max_length num_predict max_new_token n_predict", {
    here: "max_new_tokens",
  }),
  ...all("temp", { here: "temperature" }),
  ...all("repeat_penalty", { here: "repetition_penalty" }),
  ...all("greedy sample", { here: "do_sample" }),
  ...all("load_in_4bit load_in_8bit quantization_bit", NO_QUANTISATION),
  ...all("flash_attn use_flash_attn attn_implementation", ONE_ATTENTION),
  ...all("trust_remote_code", {
    reason: "code in a model folder is never run, leave it out",
  }),
  ...all("template chat_template", {
    reason: "not supported yet, the template in the adapter's or the model's " +
      "folder is used",
  }),
]);
