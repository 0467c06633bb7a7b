/**
 * Learning-rate schedules as pure functions of the step, with the formulas of
 * `transformers.optimization`.
 *
 * @module
 */

/** The schedules that can be computed. */
export type ScheduleName =
  | "linear"
  | "cosine"
  | "constant"
  | "constant_with_warmup";

/** What a schedule needs to know of the run. */
export interface Schedule {
  /** Which formula is used. */
  readonly name: ScheduleName;
  /** Steps in which the rate rises from 0. */
  readonly warmupSteps: number;
  /** Steps of the whole run. */
  readonly maxSteps: number;
}

/**
 * What the learning rate is multiplied with at optimizer step `step`, the first
 * being 0.
 *
 * @example
 * ```ts
 * import { scheduleFactor } from "@lorikeet/lorikeet";
 *
 * const schedule = { name: "linear", warmupSteps: 2, maxSteps: 10 } as const;
 * if (scheduleFactor(schedule, 1) !== 0.5) throw new Error("unexpected factor");
 * if (scheduleFactor(schedule, 6) !== 0.5) throw new Error("unexpected factor");
 * ```
 */
export function scheduleFactor(schedule: Schedule, step: number): number {
  const { name, warmupSteps: warmup, maxSteps } = schedule;
  if (name === "constant") return 1;
  if (step < warmup) return step / Math.max(1, warmup);
  if (name === "constant_with_warmup") return 1;
  const rest = Math.max(1, maxSteps - warmup);
  if (name === "linear") return Math.max(0, (maxSteps - step) / rest);
  const progress = (step - warmup) / rest;
  return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}
