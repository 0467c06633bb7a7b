/**
 * The arguments of `deno task train`: flags or a settings file in, two typed
 * objects out, every check made that needs no file of the model or the data.
 *
 * @module
 */
import {
  type ArgumentsReading,
  type HelpRequest,
  HfArgumentParser,
  throwComplaints,
} from "./hf_argument_parser.ts";
import {
  FINETUNE,
  FINETUNE_REFUSED,
  type FinetuneArguments,
  TRAINING,
  TRAINING_MOVED,
  TRAINING_REFUSED,
  TRAINING_REMOVED,
  type TrainingArguments,
} from "./settings.ts";
import { trainComplaints } from "./train_checks.ts";

const GROUPS = [
  { title: "finetune arguments", table: FINETUNE },
  { title: "training arguments", table: TRAINING },
  { title: "old names", table: TRAINING_MOVED },
  { title: "LoraConfig, not supported yet", table: FINETUNE_REFUSED },
  { title: "TrainingArguments, not supported yet", table: TRAINING_REFUSED },
  { title: "removed from TrainingArguments", table: TRAINING_REMOVED },
] as const;

type MovedName = keyof typeof TRAINING_MOVED;
const MOVED_NAMES = Object.entries(TRAINING_MOVED) as [
  MovedName,
  (typeof TRAINING_MOVED)[MovedName],
][];

/** All that a training run was told. */
export interface TrainArguments {
  /** Data, model and adapter. */
  readonly finetune: FinetuneArguments;
  /** The training itself. */
  readonly training: TrainingArguments;
  /** Names of the settings that were given; the others are defaults. */
  readonly given: ReadonlySet<string>;
}

/** Options of {@linkcode parseTrainArguments}. */
export interface ParseTrainOptions {
  /** The optimizers that `optim` may name. Default: any name is taken. */
  readonly optimizers?: readonly string[];
  /** The schedules that `lr_scheduler_type` may name. Default: any name is taken. */
  readonly schedules?: readonly string[];
  /** What the user typed. Default "deno task train". */
  readonly prog?: string;
  /** Columns of the help text. Default 80. */
  readonly columns?: number;
  /** Where relative paths in flags start. Default: the working directory. */
  readonly folder?: string;
}

/**
 * Parses the arguments of a training run: flags as HfArgumentParser takes
 * them, or one `.json`, `.jsonc` or `.yaml` file of the same names, or both.
 *
 * @throws {InputError} with everything that is wrong and exit code 2.
 *
 * @example
 * ```ts
 * import { parseTrainArguments } from "@lorikeet/lorikeet";
 *
 * const parsed = parseTrainArguments(["--lora_rank", "4", "--max-steps=10"]);
 * if ("help" in parsed) throw new Error("no help was asked for");
 * if (parsed.finetune.lora_rank !== 4) throw new Error("wrong rank");
 * if (parsed.training.max_steps !== 10) throw new Error("wrong steps");
 * ```
 */
export function parseTrainArguments(
  args: readonly string[],
  options: ParseTrainOptions = {},
): TrainArguments | HelpRequest {
  const parser = new HfArgumentParser(groupsFor(options), {
    prog: "deno task train",
    ...options,
  });
  const reading = parser.read(args);
  if ("help" in reading) return reading;
  const { finetune, training, given, complaints } = translate(reading);
  throwComplaints([...complaints, ...trainComplaints(finetune, training)]);
  return { finetune, training, given };
}

/** The settings, with the names that training offers as what two of them accept. */
function groupsFor(
  { optimizers, schedules }: ParseTrainOptions,
): typeof GROUPS {
  const { optim, lr_scheduler_type } = TRAINING;
  const table = {
    ...TRAINING,
    optim: { ...optim, ...optimizers && { accepts: optimizers } },
    lr_scheduler_type: {
      ...lr_scheduler_type,
      ...schedules && { accepts: schedules },
    },
  };
  const [finetune, training, ...rest] = GROUPS;
  return [finetune, { ...training, table }, ...rest];
}

/**
 * Gives settings that only moved since transformers 4 their present name, and
 * `checkpoint_activations` its effect.
 */
function translate(
  reading: ArgumentsReading<typeof GROUPS>,
): TrainArguments & { readonly complaints: readonly string[] } {
  const [finetune, training, moved] = reading.dataclasses;
  const { warmup_ratio, no_cuda, per_gpu_train_batch_size } = moved;
  const complaints = [...reading.complaints];
  const given = new Set(reading.given.keys());
  for (const [old, { today }] of MOVED_NAMES) {
    if (!given.delete(old) || moved[old] === TRAINING_MOVED[old].default) {
      continue;
    }
    if (training[today] !== TRAINING[today].default) {
      complaints.push(
        `Cannot use --${old} with --${today}: expected one of them`,
      );
    }
    given.add(today);
  }
  if (!(warmup_ratio >= 0 && warmup_ratio < 1)) {
    complaints.push(
      `Cannot use --warmup_ratio ${warmup_ratio}: expected 0 or more and ` +
        "less than 1",
    );
  }
  const changed: Partial<TrainingArguments> = {
    ...(warmup_ratio > 0 && warmup_ratio < 1 && { warmup_steps: warmup_ratio }),
    ...(no_cuda && { use_cpu: true }),
    ...(per_gpu_train_batch_size !== null &&
      { per_device_train_batch_size: per_gpu_train_batch_size }),
    ...(finetune.checkpoint_activations && { gradient_checkpointing: true }),
  };
  return { finetune, training: { ...training, ...changed }, given, complaints };
}

/**
 * Training arguments for scripts: what is given, over transformers' defaults.
 *
 * @throws {InputError} with everything that is wrong and exit code 2.
 *
 * @example
 * ```ts
 * import { trainingArguments } from "@lorikeet/lorikeet";
 *
 * const args = trainingArguments({ output_dir: "out", max_steps: 10 });
 * if (args.per_device_train_batch_size !== 8) throw new Error("wrong default");
 * ```
 */
export function trainingArguments(
  values: Partial<TrainingArguments> = {},
): TrainingArguments {
  const groups = [
    { title: "finetune arguments", table: FINETUNE },
    { title: "training arguments", table: TRAINING },
  ] as const;
  const [finetune, training] = new HfArgumentParser(groups).parseDict(values);
  throwComplaints(trainComplaints(finetune, training));
  return training;
}

/**
 * The content of `training_args.json`: every setting of the run, flat, by its
 * name. The file can be given back to `deno task train` as a settings file.
 *
 * @example
 * ```ts
 * import { parseTrainArguments, trainingArgsJson } from "@lorikeet/lorikeet";
 *
 * const parsed = parseTrainArguments(["--max_steps", "10"]);
 * if ("help" in parsed) throw new Error("no help was asked for");
 * if (trainingArgsJson(parsed).max_steps !== 10) throw new Error("wrong steps");
 * ```
 */
export function trainingArgsJson(
  { finetune, training }: Pick<TrainArguments, "finetune" | "training">,
): Record<string, unknown> {
  return { ...training, ...finetune };
}
