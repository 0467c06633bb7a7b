/**
 * The machine and its programs as `watch.py` sees them: a quiet machine, peak
 * memory and the time of each line that a program prints.
 *
 * @module
 */

import { InputError } from "../mod.ts";

/** The machine, and the share of its processors' time that nobody used. */
export interface Machine {
  readonly idle: number;
  /** Mean number of running programs over the last minute. */
  readonly load: number;
  readonly processor: string;
  readonly cores: number;
  readonly memory_bytes: number;
  /** The widest vector instructions. */
  readonly widest: string;
}

/** What a program did. */
export interface WatchedRun {
  readonly exit: number;
  /** Its lines that begin with a brace, with the seconds since its start. */
  readonly lines: readonly {
    readonly seconds: number;
    readonly text: string;
  }[];
  /** The end of what it wrote to standard error. */
  readonly error: string;
  readonly peak_bytes: number;
  readonly processor_seconds: number;
  readonly device_peak_bytes: number | null;
}

/** Least share of idle time on a quiet machine. */
const QUIET = 0.95;

function watch(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string {
  const { success, stdout, stderr } = new Deno.Command("python3", {
    args: ["bench/watch.py", ...words],
    env,
  }).outputSync();
  if (success) return new TextDecoder().decode(stdout);
  const last = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
  throw new InputError(`Cannot measure with python3: ${last}`);
}

/** The machine, watched for so many seconds. */
export function watchMachine(seconds: number): Machine {
  return JSON.parse(watch(["idle", `${seconds}`]));
}

/** Why `machine` is not quiet enough for a measurement, or `null`. */
export function busyReason({ idle, load }: Machine): string | null {
  if (idle >= QUIET) return null;
  const busy = Math.round(100 * (1 - idle));
  return `Cannot measure on this machine: other programs use ${busy} % of its ` +
    `processors, with a load of ${
      load.toFixed(1)
    }; stop them, or measure all ` +
    "the same with --busy";
}

/**
 * Runs a program to its end.
 *
 * @throws {InputError} when it fails.
 */
export function watchRun(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): WatchedRun {
  const run: WatchedRun = JSON.parse(watch(["run", ...command], env));
  if (run.exit === 0) return run;
  throw new InputError(
    `Cannot measure "${command.slice(0, 8).join(" ")} …": it ended with ` +
      `${run.exit}: ${run.error.trim().split("\n").slice(-3).join(" ")}`,
  );
}
