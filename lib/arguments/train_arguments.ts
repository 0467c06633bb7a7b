/**
 * The arguments of `deno task train`: reads flags or a settings file, returns two
 * typed objects, and makes every check that needs no file of the model or the
 * data.
 *
 * @module
 */
import {
  type ArgumentsReading,
  type HelpRequest,
  HfArgumentParser,
  throwProblems,
} from "./hf_argument_parser.ts";
import { OPTIMIZER_SYNONYMS } from "./optimizer_names.ts";
import { OTHER_TRAIN_NAMES } from "./other_names.ts";
import type { Setting } from "./setting.ts";
import {
  FINETUNE,
  type FinetuneArguments,
  LORA_REFUSED_FLAGS,
  LORA_WITHOUT_EFFECT,
  OTHERS_WITHOUT_EFFECT,
  REMOVED_WITHOUT_EFFECT,
  TRAINING,
  TRAINING_MOVED,
  TRAINING_REFUSED,
  TRAINING_REMOVED,
  TRAINING_WITHOUT_EFFECT,
  type TrainingArguments,
} from "./settings.ts";
import { evaluationRowsProblems, trainProblems } from "./train_checks.ts";
import { TRAIN_SECTIONS } from "./train_sections.ts";

const GROUPS = [
  { title: "Other settings", table: FINETUNE },
  { title: "Other training settings", table: TRAINING },
  { title: "Names of transformers 4", table: TRAINING_MOVED },
  { title: "LoraConfig, not supported yet", table: LORA_REFUSED_FLAGS },
  { title: "TrainingArguments, not supported yet", table: TRAINING_REFUSED },
  { title: "Removed from TrainingArguments", table: TRAINING_REMOVED },
  { title: "LoraConfig, without effect", table: LORA_WITHOUT_EFFECT },
  { title: "Without effect", table: TRAINING_WITHOUT_EFFECT },
  { title: "Removed, without effect", table: REMOVED_WITHOUT_EFFECT },
  { title: "From other tools, without effect", table: OTHERS_WITHOUT_EFFECT },
] as const;

type MovedName = keyof typeof TRAINING_MOVED;
const MOVED_NAMES = Object.entries(TRAINING_MOVED) as [
  MovedName,
  (typeof TRAINING_MOVED)[MovedName],
][];

/** All arguments of a training run. */
export interface TrainArguments {
  /** Data, model and adapter. */
  readonly finetune: FinetuneArguments;
  /** The training itself. */
  readonly training: TrainingArguments;
  /** Names of the settings that were given; the others have their defaults. */
  readonly given: ReadonlySet<string>;
  /** What the user should know about how the settings were read, one line each. */
  readonly notes: readonly string[];
  /** Flags that change nothing on a CPU, and are not supported on other devices. */
  readonly onlyOnCpu: readonly string[];
}

/** Options of {@linkcode parseTrainArguments}. */
export interface ParseTrainOptions {
  /** The optimizers that `optim` may name. Default: any name is accepted. */
  readonly optimizers?: readonly string[];
  /** The schedules that `lr_scheduler_type` may name. Default: any name is accepted. */
  readonly schedules?: readonly string[];
  /** The families of models that are computed, for the help text. Default: not named there. */
  readonly families?: readonly string[];
  /** The formats that `prompt_format` may name. Default: any name is accepted. */
  readonly promptFormats?: readonly string[];
  /** The command that the user typed. Default "deno task train". */
  readonly prog?: string;
  /** Columns of the help text. Default 80. */
  readonly columns?: number;
  /**
   * The folder that relative paths in flags are relative to. Default: the
   * working directory.
   */
  readonly folder?: string;
  /**
   * A settings file that is read when no settings file, no model and no rows are
   * given. Default: none.
   */
  readonly example?: string;
}

/**
 * Parses the arguments of a training run: flags, by the rules of
 * HfArgumentParser, or one `.json`, `.jsonc` or `.yaml` file of the same names,
 * or both.
 *
 * @throws {InputError} with all problems and exit code 2.
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
  { example, ...options }: ParseTrainOptions = {},
): TrainArguments | HelpRequest {
  const parser = new HfArgumentParser(groupsFor(options), {
    prog: "deno task train",
    sections: TRAIN_SECTIONS,
    otherNames: OTHER_TRAIN_NAMES,
    ...(example !== undefined && {
      defaultFile: {
        path: example,
        unlessGiven: ["model_path", "dataset_path"],
      },
    }),
    ...options,
  });
  const reading = parser.read(args);
  if ("help" in reading) return reading;
  const { problems, ...parsed } = translate(reading);
  const { finetune, training } = parsed;
  throwProblems([
    ...problems,
    ...trainProblems(finetune, training),
    ...evaluationRowsProblems(finetune, training),
  ]);
  const files = example === undefined
    ? []
    : [describeFile(reading.file, { args, example })];
  return { ...parsed, notes: [...files, ...parsed.notes] };
}

/** Says which settings the flags are combined with. */
function describeFile(
  file: string | undefined,
  { args, example }: { args: readonly string[]; example: string },
): string {
  if (file === undefined) {
    return `Settings from the flags and the defaults; ${example} is only read ` +
      "when neither a model nor rows are named";
  }
  const flags = args.filter((word) => word.startsWith("-"));
  return `Settings from ${file}${flags.length > 0 ? " and the flags" : ""}`;
}

/**
/**
 * The settings, with the given optimizers, schedules and prompt formats as the
 * supported values of `optim`, `lr_scheduler_type` and `prompt_format`, and the
 * families in the help of `model_path`.
 */
function groupsFor(
  { optimizers, schedules, families, promptFormats }: ParseTrainOptions,
): typeof GROUPS {
  const { model_path } = FINETUNE;
  const help = families
    ? `${model_path.help}; families: ${families.join(", ")}`
    : model_path.help;
  // The table's types hold its very texts.
  const { optim, lr_scheduler_type } = TRAINING;
  const table = {
    ...TRAINING,
    optim: { ...optim, ...optimizers && { accepts: optimizers } },
    lr_scheduler_type: {
      ...lr_scheduler_type,
      ...schedules && { accepts: schedules },
    },
  };
  const { prompt_format } = FINETUNE;
  const rows = {
    ...FINETUNE,
    prompt_format: {
      ...prompt_format,
      ...promptFormats && { accepts: promptFormats },
    },
  };
  const [finetune, training, ...rest] = GROUPS;
  const named = {
    ...rows,
    model_path: { ...model_path, help: help as typeof model_path.help },
  };
  return [{ ...finetune, table: named }, { ...training, table }, ...rest];
}

/**
 * Sets the settings that transformers 4 had under another name, and applies
 * `checkpoint_activations`.
 */
function translate(
  reading: ArgumentsReading<typeof GROUPS>,
): TrainArguments & { readonly problems: readonly string[] } {
  const [finetune, training, moved] = reading.dataclasses;
  const { warmup_ratio } = moved;
  const optim = OPTIMIZER_SYNONYMS[training.optim];
  const problems = [...reading.problems];
  const given = new Set(reading.given.keys());
  const renamed: string[] = [];
  const overruled = new Set<MovedName>();
  const isFlag = (name: string): boolean =>
    reading.given.get(name)?.startsWith("--") === true;
  for (const [old, row] of MOVED_NAMES) {
    const { today, todayValue }: Setting & { today: typeof row.today } = row;
    if (!given.delete(old) || moved[old] === TRAINING_MOVED[old].default) {
      continue;
    }
    if (isFlag(today) && !isFlag(old)) {
      overruled.add(old);
      continue;
    }
    const isWithinOne = isFlag(today) === isFlag(old);
    if (isWithinOne && training[today] !== TRAINING[today].default) {
      problems.push(
        `Cannot use --${old} with --${today}: expected one of them`,
      );
    }
    given.add(today);
    renamed.push(
      `--${old} is --${today}${todayValue ? ` ${todayValue}` : ""}`,
    );
  }
  if (!(warmup_ratio >= 0 && warmup_ratio < 1)) {
    problems.push(
      `Cannot use --warmup_ratio ${warmup_ratio}: expected 0 or more and ` +
        "less than 1",
    );
  }
  const changed = readAsToday(reading, (old) => !overruled.has(old));
  const { idle, onlyOnCpu } = withoutEffect(reading);
  const notes = [
    ...listNote("Names of transformers 4", renamed),
    ...optim === undefined
      ? []
      : [`Optimizer: --optim ${training.optim} is computed as ${optim}`],
    ...listNote("Without effect here", idle),
  ];
  return {
    finetune,
    training: { ...training, ...changed },
    given,
    notes,
    onlyOnCpu,
    problems,
  };
}

/** The settings that are given by names of before or names of other tools. */
function readAsToday(
  { dataclasses: [finetune, training, moved] }: ArgumentsReading<typeof GROUPS>,
  counts: (old: MovedName) => boolean,
): Partial<TrainingArguments> {
  const { warmup_ratio, no_cuda, per_gpu_train_batch_size, adafactor } = moved;
  const optim = OPTIMIZER_SYNONYMS[training.optim];
  return {
    ...(counts("warmup_ratio") && warmup_ratio > 0 && warmup_ratio < 1 &&
      { warmup_steps: warmup_ratio }),
    ...(counts("no_cuda") && no_cuda && { use_cpu: true }),
    ...(counts("per_gpu_train_batch_size") &&
      per_gpu_train_batch_size !== null &&
      { per_device_train_batch_size: per_gpu_train_batch_size }),
    ...(counts("adafactor") && adafactor && { optim: "adafactor" }),
    ...(counts("evaluation_strategy") && moved.evaluation_strategy !== "no" &&
      { eval_strategy: moved.evaluation_strategy }),
    ...(counts("per_gpu_eval_batch_size") &&
      moved.per_gpu_eval_batch_size !== null &&
      { per_device_eval_batch_size: moved.per_gpu_eval_batch_size }),
    ...(counts("group_by_length") && moved.group_by_length &&
      { train_sampling_strategy: "group_by_length" }),
    ...(optim !== undefined && { optim }),
    ...(finetune.checkpoint_activations && { gradient_checkpointing: true }),
  };
}

function listNote(title: string, items: readonly string[]): string[] {
  return items.length === 0 ? [] : [`${title}: ${items.join(", ")}`];
}

/** The flags without effect whose value is not the default. */
function withoutEffect(
  reading: ArgumentsReading<typeof GROUPS>,
): { idle: string[]; onlyOnCpu: string[] } {
  const idle: string[] = [];
  const onlyOnCpu: string[] = [];
  for (const [index, { table }] of GROUPS.entries()) {
    const values: Readonly<Record<string, unknown>> =
      reading.dataclasses[index] ?? {};
    for (const [name, row] of Object.entries<Setting>(table)) {
      const { noEffect, default: usual } = row;
      if (noEffect === undefined || !reading.given.has(name)) continue;
      const value = values[name];
      if (JSON.stringify(value) === JSON.stringify(usual)) continue;
      idle.push(`--${name}`);
      if (noEffect === "on a CPU" && value === true) onlyOnCpu.push(name);
    }
  }
  return { idle, onlyOnCpu };
}

/**
 * Training arguments for scripts: the given values, and transformers' defaults
 * for the others.
 *
 * @throws {InputError} with all problems and exit code 2.
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
  throwProblems(trainProblems(finetune, training));
  const optim = OPTIMIZER_SYNONYMS[training.optim] ?? training.optim;
  return { ...training, optim };
}

/**
 * The content of `training_args.json`: every setting of the run by its name. The
 * file can be used as a settings file of `deno task train`. Only
 * `resume_from_checkpoint` is left out, because a resumed run ends as an
 * uninterrupted one.
 *
 * @example
 * ```ts
 * import { parseTrainArguments } from "@lorikeet/lorikeet";
 * import { trainingArgsJson } from "@lorikeet/lorikeet/arguments";
 *
 * const parsed = parseTrainArguments(["--max_steps", "10"]);
 * if ("help" in parsed) throw new Error("no help was asked for");
 * if (trainingArgsJson(parsed).max_steps !== 10) throw new Error("wrong steps");
 * ```
 */
export function trainingArgsJson(
  { finetune, training }: Pick<TrainArguments, "finetune" | "training">,
): Record<string, unknown> {
  return { ...training, resume_from_checkpoint: null, ...finetune };
}
