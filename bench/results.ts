/**
 * The results of the bench: a JSON file that keeps the newest comparison of each
 * profile, size and precision, and how one reads on a terminal.
 *
 * @module
 */

import { writeFileAtomic } from "../lib/formats/atomic_file.ts";
import type { Comparison, Measures, Work } from "./side_by_side.ts";
import type { Machine } from "./watch.ts";

/** A comparison, and where and when it was made. */
export interface Result extends Comparison {
  readonly date: string;
  readonly machine: string;
  readonly libtorch: string;
}

/** What tells two results apart. */
function keyOf({ profile, size, precision }: Work): string {
  return `${profile} ${size} ${precision}`;
}

/** The results in the file; none where there is no file. */
export function readResults(path: string): Result[] {
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** `results` with `fresh` in the place of an older one of its kind, or at the end. */
function withResult(
  results: readonly Result[],
  fresh: Result,
): Result[] {
  const at = results.findIndex((each) => keyOf(each) === keyOf(fresh));
  return at < 0 ? [...results, fresh] : results.with(at, fresh);
}

/** Adds `fresh` to the file. */
export function keepResult(path: string, fresh: Result): void {
  const all = withResult(readResults(path), fresh);
  writeFileAtomic(path, `${JSON.stringify(all, null, 2)}\n`);
}

/** A machine in a few words. */
export function describeMachine(machine: Machine): string {
  const { processor, cores, widest, memory_bytes } = machine;
  const gigabytes = Math.round(memory_bytes / 2 ** 30);
  return `${processor}, ${cores} cores, ${widest}, ${gigabytes} GB`;
}

/** How often as fast, and the shares of time and memory; below 1 is less. */
export function ratiosOf(
  { lorikeet, reference }: Comparison,
): { speed: number; firstStep: number; memory: number } {
  return {
    speed: lorikeet.tokens_per_s / reference.tokens_per_s,
    firstStep: lorikeet.first_step_s / reference.first_step_s,
    memory: lorikeet.peak_mb / reference.peak_mb,
  };
}

/** A comparison as lines for a terminal. */
export function describeComparison(comparison: Comparison): string {
  const { batch, rounds, steps, loss_difference } = comparison;
  const { speed, firstStep, memory } = ratiosOf(comparison);
  const line = (name: string, measures: Measures): string =>
    `  ${name.padEnd(21)}${measures.rows_per_s.toFixed(2).padStart(8)} rows/s` +
    `${measures.tokens_per_s.toFixed(0).padStart(8)} tokens/s` +
    `${measures.first_step_s.toFixed(1).padStart(8)} s to the first step` +
    `${measures.peak_mb.toFixed(0).padStart(8)} MB at most`;
  return [
    `${
      keyOf(comparison)
    }, batch ${batch}, ${rounds} rounds of ${steps} steps; ` +
    `losses without dropout differ by ${loss_difference.toExponential(1)}`,
    line("lorikeet", comparison.lorikeet),
    line("transformers + peft", comparison.reference),
    `  lorikeet is ${speed.toFixed(2)} times as fast, takes ` +
    `${firstStep.toFixed(2)} of the time to the first step and ` +
    `${memory.toFixed(2)} of the memory`,
  ].join("\n");
}
