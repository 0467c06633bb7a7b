/**
 * Learning-rate schedules by name, each a pure function of the step, with the
 * formulas of `transformers.optimization`. A script adds one of its own with
 * {@linkcode registerSchedule}.
 *
 * @module
 */

import { unknownName } from "./optimizers.ts";

/** What a schedule depends on besides the step. */
export interface ScheduleSpan {
  /** Number of steps in which the rate rises from 0. */
  readonly warmupSteps: number;
  /** Number of steps of the whole run. */
  readonly maxSteps: number;
}

/** The schedule of a run. */
export interface Schedule extends ScheduleSpan {
  /** Which formula is used, such as `linear`. */
  readonly name: string;
}

/** The factor of the learning rate at optimizer step `step`, counted from 0. */
export type ScheduleFormula = (step: number, span: ScheduleSpan) => number;

/** Rises to 1 in the warm-up, and follows `rest` after it. */
function afterWarmup(rest: ScheduleFormula): ScheduleFormula {
  return (step, span) =>
    step < span.warmupSteps
      ? step / Math.max(1, span.warmupSteps)
      : rest(step, span);
}

/** Number of steps from the end of the warm-up to the end of the run. */
function stepsAfterWarmup({ maxSteps, warmupSteps }: ScheduleSpan): number {
  return Math.max(1, maxSteps - warmupSteps);
}

const table = new Map<string, ScheduleFormula>([
  [
    "linear",
    afterWarmup((step, span) =>
      Math.max(0, (span.maxSteps - step) / stepsAfterWarmup(span))
    ),
  ],
  [
    "cosine",
    afterWarmup((step, span) => {
      const progress = (step - span.warmupSteps) / stepsAfterWarmup(span);
      return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
    }),
  ],
  ["constant", () => 1],
  ["constant_with_warmup", afterWarmup(() => 1)],
]);

/**
 * Adds a schedule that `lr_scheduler_type` can then name. It replaces one of the
 * same name.
 *
 * @example
 * ```ts
 * import { registerSchedule } from "@lorikeet/lorikeet";
 * import { scheduleFactor } from "@lorikeet/lorikeet/training";
 *
 * registerSchedule("halving", (step) => 0.5 ** step);
 * const schedule = { name: "halving", warmupSteps: 0, maxSteps: 10 };
 * if (scheduleFactor(schedule, 3) !== 0.125) throw new Error("unexpected factor");
 * ```
 */
export function registerSchedule(name: string, formula: ScheduleFormula): void {
  table.set(name, formula);
}

/** The names that `lr_scheduler_type` may have. */
export function scheduleNames(): string[] {
  return [...table.keys()];
}

/**
 * The formula of the schedule called `name`.
 *
 * @throws {InputError} with the known names and exit code 2.
 */
export function scheduleNamed(name: string): ScheduleFormula {
  const found = table.get(name);
  if (found !== undefined) return found;
  throw unknownName("lr_scheduler_type", { name, names: scheduleNames() });
}

/**
 * The factor of the learning rate at optimizer step `step`, counted from 0.
 *
 * @throws {InputError} with the known names and exit code 2.
 *
 * @example
 * ```ts
 * import { scheduleFactor } from "@lorikeet/lorikeet/training";
 *
 * const schedule = { name: "linear", warmupSteps: 2, maxSteps: 10 };
 * if (scheduleFactor(schedule, 1) !== 0.5) throw new Error("unexpected factor");
 * if (scheduleFactor(schedule, 6) !== 0.5) throw new Error("unexpected factor");
 * ```
 */
export function scheduleFactor(schedule: Schedule, step: number): number {
  return scheduleNamed(schedule.name)(step, schedule);
}
