/**
 * The evaluations of a run: when they take place, of which sets, and the metrics
 * they give.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { type Batch, type Feature, IGNORED_LABEL } from "../data/batch.ts";
import { dataCollator } from "../data/collator.ts";
import type { DType } from "../formats/dtype.ts";
import { InputError } from "../input_error.ts";
import { evaluateRows, type Evaluation } from "./evaluate.ts";
import {
  evaluatesAt,
  type EvaluationTimes,
  type TrainingPlan,
} from "./plan.ts";
import { rounded } from "./run_log.ts";
import type { TrainerOptions } from "./trainer_options.ts";
import type { LogRow, TrainerState } from "./trainer_state.ts";

/** What a model predicts, row by row, at the positions that have a label. */
export interface EvalPrediction {
  /** The most probable token at each position. */
  readonly predictions: readonly (readonly number[])[];
  /** The labels there. */
  readonly labelIds: readonly (readonly number[])[];
}

/** What `Trainer.predict()` returns. */
export interface PredictionOutput extends EvalPrediction {
  /** The metrics of the rows, named `test_loss` and so on. */
  readonly metrics: LogRow;
}

/** Rows to evaluate, or several sets of them by name. */
export type EvaluationRows =
  | readonly Feature[]
  | Readonly<Record<string, readonly Feature[]>>;

/**
 * Whether a run must evaluate before its next step: at the start, if asked for, or
 * because it was stopped in an evaluation.
 */
export function isEvaluationMissing(
  { globalStep: step, epoch, logHistory }: TrainerState,
  plan: TrainingPlan,
  args: EvaluationTimes & { readonly eval_on_start: boolean },
): boolean {
  if (step === 0) return args.eval_on_start;
  return evaluatesAt({ step, epoch }, plan, args) &&
    !logHistory.some((row) =>
      row.step === step &&
      Object.keys(row).some((name) => name.startsWith("eval_"))
    );
}

/** Evaluates sets of rows with the settings of a run. */
export class Evaluations {
  readonly #options: TrainerOptions;
  readonly #model: CausalLm;
  readonly #collate: (rows: readonly Feature[]) => Batch;
  readonly #autocast: DType | null;

  /** Makes batches with `collate`, which training uses too. */
  constructor(options: TrainerOptions, run: {
    readonly model: CausalLm;
    readonly collate: (rows: readonly Feature[]) => Batch;
    readonly autocast: DType | null;
  }) {
    this.#options = options;
    this.#model = run.model;
    this.#collate = run.collate;
    this.#autocast = run.autocast;
  }

  /**
   * The metrics of each set, one row a set; the names of several sets stand in
   * those of their metrics.
   *
   * @throws {InputError} when there are no rows, or none with a label.
   */
  async run(
    rows: EvaluationRows | undefined = this.#options.evalDataset,
    options: { readonly prefix?: string; readonly signal?: AbortSignal } = {},
  ): Promise<LogRow[]> {
    const { prefix = "eval" } = options;
    const sets = Object.entries(
      Array.isArray(rows) ? { "": rows } : rows ?? {},
    );
    if (sets.length === 0) {
      throw new InputError("Cannot evaluate: there are no rows to evaluate");
    }
    const metrics: LogRow[] = [];
    for (const [name, own] of sets) {
      const named = name === "" ? prefix : `${prefix}_${name}`;
      metrics.push(
        (await this.predict(own, { ...options, prefix: named })).metrics,
      );
    }
    return metrics;
  }

  /** The predictions for `rows`, and their metrics. */
  async predict(
    rows: readonly Feature[],
    options: { readonly prefix: string; readonly signal?: AbortSignal },
  ): Promise<PredictionOutput> {
    const { args, computeMetrics, computeLossFunc, tokenizer } = this.#options;
    const started = performance.now();
    const isByRow = computeMetrics !== undefined || options.prefix === "test";
    const found = await evaluateRows(this.#model, rows, {
      batchSize: args.per_device_eval_batch_size,
      // padded rows keep their order, which rows with shared prefixes do not
      collate: isByRow ? (own) => dataCollator(own, tokenizer) : this.#collate,
      autocast: this.#autocast,
      labelSmoothing: args.label_smoothing_factor,
      lossFunction: computeLossFunc,
      signal: options.signal,
    });
    if (found.tokens === 0) {
      throw new InputError(
        "Cannot evaluate: no row has any token of its answer left",
      );
    }
    const byRow = isByRow
      ? rowByRow(rows, found)
      : { predictions: [], labelIds: [] };
    const seconds = (performance.now() - started) / 1000;
    const metrics = {
      loss: found.loss,
      perplexity: Math.exp(found.loss),
      mean_token_accuracy: found.accuracy,
      ...computeMetrics?.(byRow),
      runtime: rounded(seconds, 4),
      samples_per_second: rounded(rows.length / seconds, 3),
      steps_per_second: rounded(
        Math.ceil(rows.length / args.per_device_eval_batch_size) / seconds,
        3,
      ),
    };
    const named = Object.entries(metrics).map(([name, value]) => [
      name.startsWith(`${options.prefix}_`)
        ? name
        : `${options.prefix}_${name}`,
      value,
    ]);
    return { ...byRow, metrics: Object.fromEntries(named) };
  }
}

function rowByRow(
  rows: readonly Feature[],
  { predictions, labels }: Evaluation,
): EvalPrediction {
  let start = 0;
  const parts = rows.map((row) => {
    const count = row.labels.slice(1).filter((label) =>
      label !== IGNORED_LABEL
    ).length;
    const own = [start, start += count] as const;
    return own;
  });
  return {
    predictions: parts.map((own) => predictions.slice(...own)),
    labelIds: parts.map((own) => labels.slice(...own)),
  };
}
