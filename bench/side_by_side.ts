/**
 * `deno task train` and the reference on the same model, rows, batch and precision,
 * in turn. First both run without dropout and must give equal losses; then they are
 * timed with the recipe's dropout.
 *
 * @module
 */

import { libraries } from "../ffi/mod.ts";
import { InputError } from "../mod.ts";
import { type WatchedRun, watchRun } from "./watch.ts";
import {
  makeModel,
  makeRows,
  type Precision,
  type Profile,
  PROFILES,
  type SizeName,
  SIZES,
} from "./workloads.ts";

/** What is trained, and how often. */
export interface Work {
  readonly profile: Profile;
  readonly size: SizeName;
  readonly precision: Precision;
  /** Rows of a batch. */
  readonly batch: number;
  /** Steps that are timed, after the first. */
  readonly steps: number;
  readonly rounds: number;
}

/** Who is measured. */
type Who = "lorikeet" | "reference";

/** The measures of one program; medians of the rounds. */
export interface Measures {
  readonly rows_per_s: number;
  /** Tokens of rows, without padding. */
  readonly tokens_per_s: number;
  /** Seconds from the command to the end of the first step. */
  readonly first_step_s: number;
  /** Peak memory of the process, or of the GPU where one computes. */
  readonly peak_mb: number;
}

/** The measures of both. */
export interface Comparison extends Work {
  readonly lorikeet: Measures;
  readonly reference: Measures;
  /** Largest relative difference of losses without dropout. */
  readonly loss_difference: number;
}

/** Largest relative difference of losses that counts as equal. */
const LOSS_LIMIT = { fp32: 1e-4, bf16: 2e-2 } as const;
const CHECKED_STEPS = 2;
const PROJECTIONS = ["q", "k", "v", "o", "gate", "up", "down"];

/** Files that both programs read, and where they write. */
interface Files {
  readonly model: string;
  readonly rows: string;
  readonly scratch: string;
}

/** The measures of several runs: the median of each. */
function medianMeasures(rounds: readonly Measures[]): Measures {
  const of = (name: keyof Measures): number =>
    median(rounds.map((each) => each[name]));
  return {
    rows_per_s: of("rows_per_s"),
    tokens_per_s: of("tokens_per_s"),
    first_step_s: of("first_step_s"),
    peak_mb: of("peak_mb"),
  };
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle) - 1]!) / 2;
}

/**
 * The measures of one run. `tokens` are those of each batch; the first step, which
 * also prepares and compiles, counts only for `first_step_s`.
 */
export function measuresOf(
  run: WatchedRun,
  { batch, tokens }: { batch: number; tokens: readonly number[] },
): Measures {
  const ends = run.lines.filter(({ text }) => text.startsWith("{'loss'"))
    .map(({ seconds }) => seconds);
  const seconds = ends.at(-1)! - ends[0]!;
  const timed = tokens.slice(1, ends.length);
  return {
    rows_per_s: batch * timed.length / seconds,
    tokens_per_s: timed.reduce((sum, count) => sum + count, 0) / seconds,
    first_step_s: ends[0]!,
    peak_mb: (run.device_peak_bytes || run.peak_bytes) / 1e6,
  };
}

/** The command line of `who`. */
function commandOf(who: Who): string[] {
  return who === "reference"
    ? ["python3", "-u", "bench/reference.py"]
    : [Deno.execPath(), "run", "-q", "-P=train", "--no-prompt"]
      .concat(["tasks/train.ts", "--sample_question", "none"])
      .concat(["--prompt_format", "recipe"]);
}

function flagsOf(
  { profile, size, precision, batch }: Work,
  run: { files: Files; output: string; steps: number; dropout: number },
): string[] {
  const isBf16 = precision === "bf16";
  const flags: Readonly<Record<string, string | number | boolean>> = {
    model_path: run.files.model,
    dataset_path: run.files.rows,
    output_dir: run.output,
    max_seq_length: PROFILES[profile].maxSeqLength,
    max_steps: run.steps,
    per_device_train_batch_size: batch,
    lora_rank: 8,
    lora_alpha: 32,
    lora_dropout: run.dropout,
    torch_dtype: isBf16 ? "bfloat16" : "float32",
    bf16: isBf16,
    use_cpu: !("needsGpu" in SIZES[size]),
    learning_rate: 1e-3,
    logging_steps: 1,
    save_strategy: "no",
    report_to: "none",
    disable_tqdm: true,
    remove_unused_columns: false,
    seed: 42,
  };
  return [
    ...Object.entries(flags).flatMap(([name, value]) => [
      `--${name}`,
      `${value}`,
    ]),
    ...["--target_modules", ...PROJECTIONS.map((name) => `${name}_proj`)],
  ];
}

/** One run of `who`, the losses of its steps and the tokens of the reference's batches. */
function runOnce(
  who: Who,
  work: Work,
  { files, steps, dropout }: { files: Files; steps: number; dropout: number },
): { run: WatchedRun; losses: number[]; tokens: number[] } {
  const output = Deno.makeTempDirSync({ dir: files.scratch });
  try {
    const flags = flagsOf(work, { files, output, steps, dropout });
    const run = watchRun([...commandOf(who), ...flags], {
      HF_DATASETS_CACHE: `${files.scratch}/datasets`,
      HF_HUB_OFFLINE: "1",
      LIBTORCH: libraries().folder,
      NO_COLOR: "1",
    });
    const state = Deno.readTextFileSync(`${output}/trainer_state.json`);
    const history: { loss?: number }[] = JSON.parse(state).log_history;
    const last = run.lines.at(-1)!.text;
    return {
      run,
      losses: history.flatMap(({ loss }) => loss ?? []),
      tokens: who === "reference" ? JSON.parse(last).tokens : [],
    };
  } finally {
    Deno.removeSync(output, { recursive: true });
  }
}

/** Largest relative difference of two lists of losses. */
export function lossDifference(
  ours: readonly number[],
  theirs: readonly number[],
): number {
  if (ours.length !== theirs.length || ours.length === 0) return Infinity;
  return Math.max(
    ...ours.map((loss, step) =>
      Math.abs(loss - theirs[step]!) / Math.abs(theirs[step]!)
    ),
  );
}

/** @throws {InputError} when losses without dropout differ. */
function checkLosses(work: Work, files: Files): number {
  const plain = { files, steps: CHECKED_STEPS, dropout: 0 };
  const theirs = runOnce("reference", work, plain).losses;
  const ours = runOnce("lorikeet", work, plain).losses;
  const difference = lossDifference(ours, theirs);
  if (difference <= LOSS_LIMIT[work.precision]) return difference;
  throw new InputError(
    `Cannot compare speeds of different work: losses without dropout are ${
      ours.join(", ")
    }, those of the reference are ${theirs.join(", ")}`,
  );
}

/**
 * Measures both, in turn, and calls `beforeEach` before every run.
 *
 * @throws {InputError} when a program fails, or losses without dropout differ.
 */
export async function compare(
  work: Work,
  scratch: string,
  beforeEach: (who: string) => void,
): Promise<Comparison> {
  const files = {
    model: makeModel(scratch, work.size, work.precision),
    rows: await makeRows(scratch, work.profile),
    scratch,
  };
  beforeEach("are losses without dropout equal");
  const difference = checkLosses(work, files);
  const timed = { files, steps: 1 + work.steps, dropout: 0.1 };
  const { batch } = work;
  const rounds = Array.from({ length: work.rounds }, () => {
    beforeEach("transformers + peft");
    const { run, tokens } = runOnce("reference", work, timed);
    beforeEach("lorikeet");
    const ours = runOnce("lorikeet", work, timed);
    return {
      reference: measuresOf(run, { batch, tokens }),
      lorikeet: measuresOf(ours.run, { batch, tokens }),
    };
  });
  return {
    ...work,
    lorikeet: medianMeasures(rounds.map((each) => each.lorikeet)),
    reference: medianMeasures(rounds.map((each) => each.reference)),
    loss_difference: difference,
  };
}
