/**
 * The checks of a training run's settings that need no file: ranges, and settings
 * that exclude each other. Where `TrainingArguments` and peft check the same,
 * their wording is used.
 *
 * @module
 */
import { LORA_FLAGS, type LoraSetting } from "./lora_settings.ts";
import { deviceProblems, pathProblems } from "./model_settings.ts";
import {
  FINETUNE,
  type FinetuneArguments,
  TRAINING,
  type TrainingArguments,
} from "./settings.ts";

/** All problems of the settings, one sentence each. */
export function trainProblems(
  finetune: FinetuneArguments,
  training: TrainingArguments,
): string[] {
  return [
    ...rangeProblems(finetune, training),
    ...intervalProblems(training),
    ...contradictions(finetune, training),
    ...weightProblems(finetune),
    ...deviceProblems(finetune.device),
    ...pathProblems(FINETUNE, finetune),
    ...pathProblems(TRAINING, training),
  ];
}

function weightProblems(
  { dataset_path, dataset_weights }: FinetuneArguments,
): string[] {
  if (dataset_weights === null) return [];
  const files = [dataset_path].flat().length;
  const weights = dataset_weights.map(String).join(" ");
  const start = `Cannot use --dataset_weights ${weights}: expected`;
  return [
    ...dataset_weights.length === files
      ? []
      : [`${start} a number for each of the ${files} files of --dataset_path`],
    ...dataset_weights.every((weight) => weight > 0 && weight <= MOST_REPEATS)
      ? []
      : [`${start} numbers above 0 and up to ${MOST_REPEATS}`],
  ];
}

/** More would rather be a slip than a plan, and might not fit into memory. */
const MOST_REPEATS = 1000;

interface Range {
  readonly legal: (value: number) => boolean;
  readonly expected: string;
}

const AT_LEAST_ONE: Range = {
  legal: (value) => value >= 1,
  expected: "expected 1 or more",
};
const NOT_NEGATIVE: Range = {
  legal: (value) => value >= 0 && value < Infinity,
  expected: "expected 0 or more",
};
const BELOW_ONE: Range = {
  legal: (value) => value >= 0 && value < 1,
  expected: "expected 0 or more and less than 1",
};
/** numpy, which transformers also seeds, takes 32 bits. */
const SEED: Range = {
  legal: (value) => value >= 0 && value < 2 ** 32,
  expected: "expected 0 to 4294967295",
};

const FINETUNE_RANGES = {
  max_seq_length: AT_LEAST_ONE,
  early_stopping_patience: AT_LEAST_ONE,
  early_stopping_threshold: NOT_NEGATIVE,
  loss_watchdog_patience: AT_LEAST_ONE,
  loraplus_lr_ratio: NOT_NEGATIVE,
  loraplus_lr_embedding: NOT_NEGATIVE,
} satisfies Partial<Record<keyof FinetuneArguments, Range>>;

const TRAINING_RANGES = {
  per_device_train_batch_size: AT_LEAST_ONE,
  per_device_eval_batch_size: AT_LEAST_ONE,
  eval_delay: NOT_NEGATIVE,
  gradient_accumulation_steps: AT_LEAST_ONE,
  learning_rate: NOT_NEGATIVE,
  weight_decay: NOT_NEGATIVE,
  adam_beta1: BELOW_ONE,
  adam_beta2: BELOW_ONE,
  adam_epsilon: NOT_NEGATIVE,
  max_grad_norm: NOT_NEGATIVE,
  label_smoothing_factor: BELOW_ONE,
  neftune_noise_alpha: NOT_NEGATIVE,
  seed: SEED,
  data_seed: SEED,
} satisfies Partial<Record<keyof TrainingArguments, Range>>;

function rangeProblems(
  finetune: FinetuneArguments,
  training: TrainingArguments,
): string[] {
  const problems = [
    ...loraProblems(finetune),
    ...outside(FINETUNE_RANGES, finetune),
    ...outside(TRAINING_RANGES, training),
  ];
  const { max_steps, num_train_epochs } = training;
  const runs = num_train_epochs > 0 && num_train_epochs < Infinity;
  if (max_steps <= 0 && !runs) {
    problems.push(
      `Cannot use --num_train_epochs ${num_train_epochs}: expected more than ` +
        "0, or --max_steps",
    );
  }
  return problems;
}

function outside<R extends Readonly<Record<string, Range>>>(
  ranges: R,
  values: Readonly<Record<keyof R, number | null>>,
): string[] {
  return Object.entries(ranges).flatMap(([name, { legal, expected }]) => {
    const value = values[name];
    if (value === undefined || value === null || legal(value)) return [];
    return [`Cannot use --${name} ${value}: ${expected}`];
  });
}

/**
 * Checks the adapter's numbers, also those in patterns, against their bounds in
 * the table.
 */
function loraProblems(finetune: FinetuneArguments): string[] {
  return Object.entries<LoraSetting>(LORA_FLAGS).flatMap(([name, row]) => {
    const value = finetune[name as keyof typeof LORA_FLAGS];
    const { bounds } = row;
    if (bounds === undefined) return [];
    const numbers = typeof value === "object" ? Object.values(value!) : [value];
    const wrong = numbers.map(Number).find((each) => !bounds.legal(each));
    if (wrong === undefined) return [];
    return [`Cannot use --${name} ${wrong}: ${bounds.expected(wrong)}`];
  });
}

/** transformers, `TrainingArguments._validate_args`. */
function intervalProblems(training: TrainingArguments): string[] {
  const { warmup_steps } = training;
  const problems = [
    ...stepsProblems("logging", training),
    ...stepsProblems("save", training),
    ...evaluationProblems(training),
  ];
  if (!(warmup_steps >= 0 && warmup_steps < Infinity)) {
    problems.push(
      `Cannot use --warmup_steps ${warmup_steps}: warmup_steps must be an ` +
        "integer or a float, expected 0 or more",
    );
  }
  if (warmup_steps > 1 && warmup_steps < Infinity && warmup_steps % 1 !== 0) {
    problems.push(
      `Cannot use --warmup_steps ${warmup_steps}: --warmup_steps must be an ` +
        `integer if bigger than 1: ${warmup_steps}`,
    );
  }
  return problems;
}

/** With the wording of transformers. */
function evaluationProblems(training: TrainingArguments): string[] {
  const { eval_strategy, eval_steps, save_strategy, save_steps } = training;
  const problems: string[] = [];
  if (eval_strategy === "steps" && eval_steps !== null) {
    const start = `Cannot use --eval_steps ${eval_steps}: `;
    if (!(eval_steps > 0 && eval_steps < Infinity)) {
      problems.push(`${start}expected more than 0`);
    } else if (eval_steps > 1 && eval_steps % 1 !== 0) {
      problems.push(
        `${start}--eval_steps must be an integer if bigger than 1: ${eval_steps}`,
      );
    }
  }
  if (save_strategy === "best" && eval_strategy === "no") {
    problems.push(
      "Cannot use --save_strategy best: nothing is evaluated in the run, " +
        "expected --eval_strategy steps or epoch",
    );
  }
  if (!training.load_best_model_at_end || save_strategy === "best") {
    return problems;
  }
  const start = "Cannot use --load_best_model_at_end: it requires ";
  if (save_strategy !== eval_strategy || eval_strategy === "no") {
    problems.push(
      `${start}the save and eval strategy to match, except when ` +
        `--save_strategy best, but found --eval_strategy ${eval_strategy} and ` +
        `--save_strategy ${save_strategy}`,
    );
  }
  const every = eval_steps ?? training.logging_steps;
  if (
    eval_strategy === "steps" && save_strategy === "steps" && every > 0 &&
    Math.abs(save_steps / every - Math.round(save_steps / every)) > 1e-9
  ) {
    problems.push(
      `${start}the saving steps to be a multiple of the evaluation steps, but ` +
        `found ${save_steps}, which is not a multiple of ${every}`,
    );
  }
  return problems;
}

/** Settings of an evaluation in flags or files that name no rows to evaluate. */
export function evaluationRowsProblems(
  { eval_dataset_path, eval_split, early_stopping_patience }: FinetuneArguments,
  training: TrainingArguments,
): string[] {
  const problems: string[] = [];
  if (eval_split !== null && !(eval_split > 0 && eval_split < Infinity)) {
    problems.push(
      `Cannot use --eval_split ${eval_split}: expected more than 0`,
    );
  }
  if (eval_split !== null && eval_split > 1 && eval_split % 1 !== 0) {
    problems.push(
      `Cannot use --eval_split ${eval_split}: expected a share below 1 or a ` +
        "whole number of rows",
    );
  }
  const { eval_strategy, eval_on_start, do_eval } = training;
  if (early_stopping_patience !== null && eval_strategy === "no") {
    problems.push(
      "Cannot use --early_stopping_patience: nothing is evaluated in the run, " +
        "expected --eval_strategy steps or epoch",
    );
  }
  if (eval_dataset_path !== null || eval_split !== null) return problems;
  const asking = eval_strategy !== "no"
    ? `--eval_strategy ${eval_strategy}`
    : eval_on_start
    ? "--eval_on_start"
    : do_eval
    ? "--do_eval"
    : null;
  return asking === null ? problems : [
    ...problems,
    `Cannot use ${asking}: there are no rows to evaluate, expected ` +
    "--eval_dataset_path or --eval_split",
  ];
}

function stepsProblems(
  what: "logging" | "save",
  training: TrainingArguments,
): string[] {
  if (training[`${what}_strategy`] !== "steps") return [];
  const steps = training[`${what}_steps`];
  const start = `Cannot use --${what}_steps ${steps}: `;
  if (steps === 0) {
    return [
      `${start}${what} strategy steps requires non-zero --${what}_steps`,
    ];
  }
  if (!(steps > 0 && steps < Infinity)) return [`${start}expected more than 0`];
  if (steps > 1 && steps % 1 !== 0) {
    return [
      `${start}--${what}_steps must be an integer if bigger than 1: ${steps}`,
    ];
  }
  return [];
}

function contradictions(
  finetune: FinetuneArguments,
  training: TrainingArguments,
): string[] {
  const { checkpoint, continue_training, device } = finetune;
  const problems: string[] = [];
  if (training.fp16 && training.bf16) {
    problems.push(
      "Cannot use --fp16 with --bf16: " +
        "At most one of fp16 and bf16 can be True, but not both",
    );
  }
  if (continue_training && checkpoint === null) {
    problems.push(
      "Cannot use --continue_training: --checkpoint is not given, " +
        "expected the folder of an adapter",
    );
  }
  if (!continue_training && checkpoint !== null) {
    problems.push(
      `Cannot use --checkpoint "${checkpoint}": ` +
        "it has no effect without --continue_training",
    );
  }
  if (training.use_cpu && device.startsWith("cuda")) {
    problems.push(
      `Cannot use --use_cpu with --device "${device}": expected one of them`,
    );
  }
  if (finetune.layers_pattern !== null && !finetune.layers_to_transform) {
    problems.push(
      "Cannot use --layers_pattern: When `layers_pattern` is specified, " +
        "`layers_to_transform` must also be specified.",
    );
  }
  return problems;
}
