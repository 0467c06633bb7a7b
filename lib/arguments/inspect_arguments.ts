/**
 * The arguments of `deno task inspect`: those of a training run, and which rows are
 * shown and whether steps are timed.
 *
 * @module
 */
import { InputError } from "../input_error.ts";
import { type HelpRequest, HfArgumentParser } from "./hf_argument_parser.ts";
import type { SettingsOf, SettingsTable } from "./setting.ts";
import {
  parseTrainArguments,
  type ParseTrainOptions,
  type TrainArguments,
} from "./train_arguments.ts";

/** What `deno task inspect` takes besides the flags of `deno task train`. */
export const INSPECT = {
  rows: {
    kind: "int",
    default: 3,
    help: "How many rows are shown, from the first one on",
  },
  row_numbers: {
    kind: "ints",
    default: null,
    help: "Numbers of the rows that are shown instead, counted from 1",
  },
  measure: {
    kind: "bool",
    default: false,
    help: "Load the weights, time three steps and tell the time of an epoch",
  },
} as const satisfies SettingsTable;

/** The settings of `deno task inspect` itself. */
export type InspectArguments = SettingsOf<typeof INSPECT>;

/** The result of {@linkcode parseInspectArguments}. */
export interface InspectReading {
  /** What is shown. */
  readonly inspect: InspectArguments;
  /** The run that is looked at. */
  readonly run: TrainArguments;
}

/**
 * Parses the arguments of `deno task inspect`. Its own flags are taken out; all
 * others are read as `deno task train` reads them.
 *
 * @throws {InputError} with all problems and exit code 2.
 *
 * @example
 * ```ts
 * import { parseInspectArguments } from "@lorikeet/lorikeet/arguments";
 *
 * const parsed = parseInspectArguments(["--rows", "5", "--lora_rank", "4"]);
 * if ("help" in parsed) throw new Error("no help was asked for");
 * if (parsed.inspect.rows !== 5) throw new Error("wrong rows");
 * if (parsed.run.finetune.lora_rank !== 4) throw new Error("wrong rank");
 * ```
 */
export function parseInspectArguments(
  args: readonly string[],
  options: ParseTrainOptions = {},
): InspectReading | HelpRequest {
  const prog = "deno task inspect";
  const { own, others } = split(args);
  const parser = new HfArgumentParser(
    [{ title: TITLE, table: INSPECT }],
    { prog, columns: options.columns ?? 80 },
  );
  const problems: string[] = [];
  const run = attempt(
    problems,
    () => parseTrainArguments(others, { prog, ...options }),
  );
  if (run !== undefined && "help" in run) {
    return { help: `${run.help.trimEnd()}\n\n${ownHelp(parser.read(["-h"]))}` };
  }
  const reading = parser.read(own);
  if ("help" in reading) return reading;
  const [inspect] = reading.dataclasses;
  problems.push(...reading.problems, ...inspectProblems(inspect));
  if (run === undefined || problems.length > 0) {
    throw new InputError(problems.join("\n"), { exitCode: 2 });
  }
  return { inspect, run };
}

const TITLE = "What deno task inspect shows";

/** The part of the help that lists this command's own flags. */
function ownHelp(reading: object): string {
  const help = "help" in reading ? String(reading.help) : "";
  return help.slice(Math.max(help.indexOf(TITLE), 0)).trimEnd();
}

function attempt<T>(problems: string[], step: () => T): T | undefined {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

/** The words of this command's own flags, and all others. */
function split(args: readonly string[]): { own: string[]; others: string[] } {
  const own: string[] = [];
  const others: string[] = [];
  let target = others;
  for (const word of args) {
    if (/^--|^-h$/.test(word)) target = isOwn(word) ? own : others;
    target.push(word);
  }
  return { own, others };
}

function isOwn(word: string): boolean {
  const name = word.replace(/^--(no[-_])?/, "").replace(/=.*$/s, "")
    .replaceAll("-", "_");
  return word.startsWith("--") && Object.hasOwn(INSPECT, name);
}

function inspectProblems({ rows, row_numbers }: InspectArguments): string[] {
  const wrong = (row_numbers ?? []).filter((number) => number < 1);
  return [
    ...rows < 0 ? [`Cannot use --rows ${rows}: expected 0 or more`] : [],
    ...wrong.map((number) =>
      `Cannot use --row_numbers ${number}: expected 1 or more`
    ),
  ];
}
