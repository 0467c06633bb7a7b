/**
 * `deno task inspect`: what a training run would do, with the flags of
 * `deno task train`: rows as they are trained, targets, steps, memory. Reads no
 * weights and writes nothing; `--measure` loads the weights and times three steps.
 *
 * @module
 */

import {
  type CausalLm,
  describePreflight,
  type Feature,
  InputError,
} from "../mod.ts";
import {
  type FinetuneArguments,
  type InspectReading,
  parseInspectArguments,
} from "../lib/arguments/mod.ts";
import { familyNames } from "../lib/architectures/mod.ts";
import { promptFormatNames } from "../lib/data/mod.ts";
import { printable, quoted } from "../lib/input_error.ts";
import {
  optimizerNames,
  planTraining,
  scheduleNames,
} from "../lib/training/mod.ts";
import { overriddenFlags } from "./adapter_checks.ts";
import { describeMemory, describeParameters } from "./inspect_model.ts";
import {
  counted,
  countEdges,
  describeEdges,
  describeLengths,
  lengthBins,
  renderRow,
  ROW_INDENT,
  type RowLook,
} from "./inspect_rows.ts";
import { timeSteps } from "./inspect_time.ts";
import { runCommand, warn } from "./report_error.ts";
import { userFolder } from "./user_folder.ts";
import { loadRows } from "./run_rows.ts";
import { type CheckedRun, checkRun } from "./train_checks.ts";

/** Above any row: nothing is cut or left out. */
const UNLIMITED = 2 ** 31 - 1;

async function main(args: readonly string[]): Promise<void> {
  const folder = userFolder();
  const reading = parseInspectArguments(args, {
    optimizers: optimizerNames(),
    schedules: scheduleNames(),
    families: familyNames(),
    promptFormats: promptFormatNames(),
    example: "train.jsonc",
    ...(folder && { folder }),
  });
  if ("help" in reading) return console.log(reading.help);
  const { inspect, run } = reading;
  const checked = await checkRun(run, { output: false, weights: false });
  overriddenFlags(run, checked.adapter).forEach(warn);
  const whole = await uncutRows(reading, checked);
  say(run.notes.map(printable));
  section("Dataset", describeDataset(checked));
  showRows(reading, { checked, whole });
  showLengths(reading, { checked, whole });
  section("Targets", describeParameters(checked));
  section("Steps", describeSteps(reading, checked));
  section("Memory", describeMemory(checked, run));
  if (inspect.measure) section("Time", await timeSteps(checked, run));
}

/** All rows of the file, as long as they are. */
async function uncutRows(
  { run }: InspectReading,
  { dataset, tokenizer, tree, storedFormat }: CheckedRun,
): Promise<readonly Feature[]> {
  const { rowsSkipped, longestRow, maxSeqLength } = dataset.preflight;
  // a row that is cut is as long as the limit
  if (rowsSkipped === 0 && longestRow < maxSeqLength) return dataset.features;
  const uncut = { ...run.finetune, max_seq_length: UNLIMITED };
  const { features } = await loadRows(uncut, {
    tokenizer,
    model: tree,
    storedFormat,
    seed: run.training.seed,
  });
  return features;
}

interface Rows {
  readonly checked: CheckedRun;
  readonly whole: readonly Feature[];
}

/** What the rows are, and how they begin and end. */
function describeDataset(checked: CheckedRun): string[] {
  return [
    printable(checked.dataset.description),
    ...describePreflight(checked.dataset.preflight).map(printable),
    ...edges(checked),
  ];
}

/** The chosen rows as they are trained. */
function showRows({ inspect, run }: InspectReading, rows: Rows): void {
  const { checked, whole } = rows;
  const numbers = inspect.row_numbers ??
    Array.from(
      { length: Math.min(inspect.rows, whole.length) },
      (_, at) => at + 1,
    );
  if (numbers.length === 0) return;
  const look = rowLook();
  const how = look.colour ? "trained tokens green" : "trained tokens in [[ ]]";
  const lines = numbers.flatMap((number) => {
    const uncut = whole[number - 1];
    if (uncut === undefined) {
      throw noSuchRow(number, whole.length, run.finetune.dataset_path);
    }
    const feature = trainedRow(number, rows);
    const length = counted(uncut.input_ids.length);
    if (feature === null) {
      return [`${number}: ${length} tokens, left out by skip_overlength`];
    }
    const cut = feature.input_ids.length < uncut.input_ids.length
      ? `, cut to ${counted(feature.input_ids.length)}`
      : "";
    return [
      `${number}: ${length} tokens${cut}`,
      `${" ".repeat(ROW_INDENT - 2)}${
        renderRow(feature, checked.tokenizer, look)
      }`,
    ];
  });
  section(`Rows as they are trained (${how})`, lines);
}

/** Colours and broken lines on a terminal only. */
function rowLook(): RowLook {
  if (!Deno.stdout.isTerminal()) return { colour: false, columns: null };
  return { colour: !Deno.noColor, columns: terminalColumns() };
}

function terminalColumns(): number | null {
  try {
    return Deno.consoleSize().columns || null;
  } catch {
    return null; // a terminal without a size
  }
}

/** Row `number` of the file as it is trained, or `null` where it is left out. */
function trainedRow(
  number: number,
  { checked, whole }: Rows,
): Feature | null {
  const { features, preflight } = checked.dataset;
  if (preflight.rowsSkipped === 0) return features[number - 1]!;
  const fits = ({ input_ids }: Feature): boolean =>
    input_ids.length <= preflight.maxSeqLength;
  if (!fits(whole[number - 1]!)) return null;
  return features[whole.slice(0, number - 1).filter(fits).length]!;
}

function edges({ dataset, tokenizer, tree }: CheckedRun): string[] {
  const { features } = dataset;
  const { bosTokenId: bos } = tokenizer;
  const own = tokenizer.eosTokenId;
  const eos = [
    ...new Set([...tree.config.eosTokenIds, ...own === null ? [] : [own]]),
  ];
  const nameOf = (id: number): string =>
    tokenizer.tokensOf([id])[0] ?? String(id);
  const counts = countEdges(features, { bos, eos });
  const lines = describeEdges(counts, {
    rows: features.length,
    bos: bos === null ? null : printable(nameOf(bos)),
    eos: printable(eos.map(nameOf).join(" or ")),
  });
  const isRecipe = dataset.promptFormat.name === "recipe" &&
    counts.bosDoubled === features.length;
  return isRecipe
    ? [`${lines[0]}, as the recipe spells them`, ...lines.slice(1)]
    : lines;
}

/** How long rows are before anything is cut, and what the limit does to them. */
function showLengths({ run }: InspectReading, { whole }: Rows): void {
  const { max_seq_length: limit, skip_overlength } = run.finetune;
  const lengths = whole.map(({ input_ids }) => input_ids.length);
  const over = lengths.filter((length) => length > limit).length;
  const verb = skip_overlength ? "left out" : "cut";
  section("Lengths in tokens, before cutting", [
    ...describeLengths(lengthBins(lengths)),
    over === 0
      ? `no row is longer than max_seq_length ${counted(limit)}`
      : `${counted(over)} of ${counted(lengths.length)} rows are longer than ` +
        `max_seq_length ${counted(limit)} and are ${verb}`,
  ]);
}

function describeSteps(
  { run }: InspectReading,
  { dataset, tree }: CheckedRun,
): string[] {
  const { training } = run;
  const { preflight, features } = dataset;
  const plan = planTraining(features.length, training);
  const { per_device_train_batch_size: batch, gradient_accumulation_steps } =
    training;
  const rows = batch * gradient_accumulation_steps;
  const epochs = plan.maxSteps / plan.stepsPerEpoch;
  return [
    `${ofWhat(plan.maxSteps, "step")} of ${
      ofWhat(Math.min(rows, features.length), "row")
    }${
      gradient_accumulation_steps > 1
        ? ` (${batch} at a time, ${gradient_accumulation_steps} times)`
        : ""
    }; ${counted(plan.stepsPerEpoch)} make an epoch, so ${
      epochs.toLocaleString("en-US", { maximumFractionDigits: 1 })
    } epochs in all`,
    `${counted(preflight.tokens)} tokens an epoch, ${
      counted(preflight.trainedTokens)
    } of them trained`,
    describeBatches(run.finetune, tree),
  ];
}

/** Whether batches are padded, and why. */
function describeBatches(
  { shared_prefix }: FinetuneArguments,
  { paddingReason }: CausalLm,
): string {
  if (!shared_prefix) {
    return "rows are padded to one length, as --shared_prefix false asks";
  }
  return paddingReason === null
    ? "rows are not padded, and what rows of a batch have in common is computed once"
    : `rows are padded to one length, since ${paddingReason}`;
}

function ofWhat(count: number, what: string): string {
  return `${counted(count)} ${what}${count === 1 ? "" : "s"}`;
}

function noSuchRow(
  number: number,
  rows: number,
  path: string | readonly string[],
): InputError {
  return new InputError(
    `Cannot show row ${number} of ${
      [path].flat().map((it) => quoted(it)).join(", ")
    }: it has ${rows} rows, ` +
      "expected a number of one of them as --row_numbers",
  );
}

function section(title: string, lines: readonly string[]): void {
  const bold = Deno.stdout.isTerminal() && !Deno.noColor;
  console.log(bold ? `\n\u001b[1m${title}\u001b[0m` : `\n${title}`);
  say(lines.map((line) => `  ${line}`));
}

/** Lines of our own colours; what came from files has been made printable. */
function say(lines: readonly string[]): void {
  for (const line of lines) console.log(line);
}

if (import.meta.main) {
  runCommand(() => main(Deno.args), {
    usage: "deno task inspect [settings.json|.jsonc|.yaml] [--flag value ...]",
  });
}
