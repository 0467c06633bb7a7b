/**
 * Learning-rate schedules by name, each a pure function of the step. The
 * formulas of transformers are in `schedule_formulas.ts`; a script adds one of
 * its own with {@linkcode registerSchedule}.
 *
 * @module
 */

import type { TrainingArguments } from "../arguments/settings.ts";
import { InputError } from "../input_error.ts";
import { unknownName } from "./optimizers.ts";
import {
  type ScheduleDefinition,
  type ScheduleFormula,
  SCHEDULES,
  type ScheduleSetting,
  type ScheduleSpan,
} from "./schedule_formulas.ts";

/** The schedule of a run. */
export interface Schedule extends ScheduleSpan {
  /** Which formula is used, such as `linear`. */
  readonly name: string;
}

const table = new Map<string, ScheduleDefinition>(Object.entries(SCHEDULES));

/**
 * Adds a schedule that `lr_scheduler_type` can then name: a formula, or a
 * definition with settings for `lr_scheduler_kwargs`. It replaces one of the same
 * name.
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
export function registerSchedule(
  name: string,
  schedule: ScheduleFormula | ScheduleDefinition,
): void {
  const isFormula = typeof schedule === "function";
  table.set(name, isFormula ? { factor: schedule } : schedule);
}

/** The names that `lr_scheduler_type` may have. */
export function scheduleNames(): string[] {
  return [...table.keys()];
}

function scheduleNamed(name: string): ScheduleDefinition {
  const found = table.get(name);
  if (found !== undefined) return found;
  throw unknownName("lr_scheduler_type", { name, names: scheduleNames() });
}

/**
 * The schedule that `args` ask for, its settings filled in and checked.
 *
 * @throws {InputError} with exit code 2 when there is no such schedule, it has no
 *   such setting, or it cannot run with these settings.
 *
 * @example
 * ```ts
 * import { trainingArguments } from "@lorikeet/lorikeet";
 * import { scheduleFactor, scheduleOf } from "@lorikeet/lorikeet/training";
 *
 * const schedule = scheduleOf(
 *   trainingArguments({
 *     lr_scheduler_type: "cosine_with_min_lr",
 *     lr_scheduler_kwargs: { min_lr_rate: 0.5 },
 *   }),
 *   { warmupSteps: 0, maxSteps: 10 },
 * );
 * if (scheduleFactor(schedule, 10) !== 0.5) throw new Error("unexpected factor");
 * ```
 */
export function scheduleOf(
  args: TrainingArguments,
  { warmupSteps, maxSteps }: Pick<ScheduleSpan, "warmupSteps" | "maxSteps">,
): Schedule {
  const name = args.lr_scheduler_type;
  const { settings: usual = {}, problem, followsMetrics } = scheduleNamed(name);
  const given = args.lr_scheduler_kwargs ?? {};
  const refused = (why: string): InputError =>
    new InputError(`Cannot use --lr_scheduler_type "${name}": ${why}`, {
      exitCode: 2,
    });
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(usual, key)) {
      const names = Object.keys(usual).join(", ");
      throw refused(
        `it has no setting "${key}" in --lr_scheduler_kwargs, expected ` +
          (names === "" ? "none" : `some of ${names}`),
      );
    }
    if (typeof usual[key] === "string" !== (typeof value === "string")) {
      const wanted = typeof usual[key] === "string" ? "text" : "a number";
      throw refused(
        `"${key}" is ${JSON.stringify(value)}, expected ${wanted}`,
      );
    }
  }
  const span = {
    warmupSteps,
    maxSteps,
    learningRate: args.learning_rate,
    metrics: [],
    settings: { ...usual, ...given },
  };
  const why = problem?.(span) ??
    (followsMetrics && args.eval_strategy === "no"
      ? "it requires --eval_strategy steps or epoch"
      : undefined);
  if (why !== undefined) throw refused(why);
  return { name, ...span };
}

/** Whether `schedule` depends on the evaluations of the run. */
export function followsMetrics({ name }: Schedule): boolean {
  return scheduleNamed(name).followsMetrics === true;
}

/** The learning rate of `schedule` after `updates` updates. */
export function learningRateAt(schedule: Schedule, updates: number): number {
  const { learningRate = 1 } = schedule;
  return learningRate * scheduleFactor(schedule, updates);
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
  const { factor, settings: usual } = scheduleNamed(schedule.name);
  const settings: Readonly<Record<string, ScheduleSetting>> = {
    ...usual,
    ...schedule.settings,
  };
  return factor(step, { ...schedule, settings });
}
