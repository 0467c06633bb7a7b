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
  loraplus_lr_ratio: NOT_NEGATIVE,
  loraplus_lr_embedding: NOT_NEGATIVE,
} satisfies Partial<Record<keyof FinetuneArguments, Range>>;

const TRAINING_RANGES = {
  per_device_train_batch_size: AT_LEAST_ONE,
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
