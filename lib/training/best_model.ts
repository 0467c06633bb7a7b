/**
 * Which evaluation is the best: the metric that decides, what is better, and how
 * many evaluations in a row were not, all from the rows of the log.
 *
 * @module
 */

import type { TrainingArguments } from "../arguments/settings.ts";
import { InputError, quoted } from "../input_error.ts";
import { followsMetrics, type Schedule } from "./schedules.ts";
import type { LogRow, TrainerState } from "./trainer_state.ts";

/** The settings that say what is best. */
export type BestModelArguments = Pick<
  TrainingArguments,
  "metric_for_best_model" | "greater_is_better"
>;

/** The settings that ask for the best model. */
type BestModelWishes = Pick<
  TrainingArguments,
  "load_best_model_at_end" | "save_strategy"
>;

/**
 * Notes in `state` whether the evaluation after its step is the best so far, where
 * `args` ask for the best, and returns whether it is.
 *
 * @throws {InputError} when the metric that decides is not among `metrics`.
 */
export function noteEvaluation(
  state: TrainerState,
  metrics: LogRow,
  args: BestModelArguments & BestModelWishes,
): boolean {
  const isAsked = args.load_best_model_at_end ||
    args.save_strategy === "best" || args.metric_for_best_model !== null;
  if (!isAsked) return false;
  const value = decidingMetric(metrics, args);
  if (!isBetter(value, state.bestMetric, args)) return false;
  state.bestMetric = value;
  if (args.save_strategy !== "no") state.bestGlobalStep = state.globalStep;
  return true;
}

/** The metric that decides, with its prefix: `eval_loss` unless another is asked for. */
function bestMetricName(
  { metric_for_best_model }: BestModelArguments,
): string {
  const name = metric_for_best_model ?? "loss";
  return name.startsWith("eval_") ? name : `eval_${name}`;
}

/**
 * `schedule`, with the metrics that decide of all evaluations so far where it
 * depends on them.
 */
export function followedSchedule(
  schedule: Schedule,
  { logHistory }: Pick<TrainerState, "logHistory">,
  args: BestModelArguments,
): Schedule {
  if (!followsMetrics(schedule)) return schedule;
  const name = bestMetricName(args);
  const metrics = logHistory.flatMap((row) => {
    // the evaluation before the first step counts for nothing, as in transformers
    const value = row.step === 0 ? undefined : row[name];
    return value === undefined ? [] : [value];
  });
  return { ...schedule, metrics };
}

/**
 * The value of the metric that decides.
 *
 * @throws {InputError} with the metrics there are, when it is not one of them.
 */
function decidingMetric(
  metrics: LogRow,
  args: BestModelArguments,
): number {
  const name = bestMetricName(args);
  const value = metrics[name];
  if (value !== undefined) return value;
  throw new InputError(
    `Cannot choose the best model by --metric_for_best_model ${
      quoted(args.metric_for_best_model ?? "loss")
    }: the evaluation gives ${Object.keys(metrics).join(", ")}`,
  );
}

/** Whether `value` is better than `best`, which is `null` before the first. */
function isBetter(
  value: number,
  best: number | null,
  args: BestModelArguments,
): boolean {
  if (best === null) return !Number.isNaN(value);
  return isGreaterBetter(args) ? value > best : value < best;
}

function isGreaterBetter(args: BestModelArguments): boolean {
  return args.greater_is_better ?? !bestMetricName(args).endsWith("loss");
}

/** When training ends early. */
export interface EarlyStopping {
  /** Evaluations in a row without a better metric after which it ends. */
  readonly patience: number;
  /** By how much a metric must be better to count. Default 0. */
  readonly threshold?: number;
}

/**
 * The number of evaluations in a row, up to now, without a better metric, as
 * `EarlyStoppingCallback` counts them: the best so far moves with any improvement,
 * the count starts anew with one of more than `threshold`.
 */
export function evaluationsWithoutGain(
  history: readonly LogRow[],
  args: BestModelArguments,
  { threshold = 0 }: EarlyStopping,
): number {
  const name = bestMetricName(args);
  let best: number | null = null;
  let count = 0;
  for (const row of history) {
    const value = row[name];
    if (value === undefined) continue;
    const better = isBetter(value, best, args);
    const gains = better &&
      (best === null || Math.abs(value - best) > threshold);
    count = gains ? 0 : count + 1;
    if (better) best = value;
  }
  return count;
}
