/**
 * The state of a run, in the form of transformers' `trainer_state.json`.
 *
 * @module
 */

import { readJsonFile } from "../formats/json_file.ts";
import { PyFloat, type PythonJson } from "../formats/python_json.ts";
import { InputError, quoted } from "../input_error.ts";
import type { TrainingPlan } from "./plan.ts";

/** One row of `log_history`: numbers by name, `step` among them. */
export type LogRow = Readonly<Record<string, number>>;

/** The state that is written into every checkpoint. */
export interface TrainerState {
  /** Number of optimizer steps so far, skipped ones included. */
  globalStep: number;
  /** Number of epochs so far, with fraction. */
  epoch: number;
  /** Floating point operations so far, as transformers' Trainer estimates them. */
  totalFlos: number;
  /** All log rows so far. */
  logHistory: LogRow[];
  /** The best value of the deciding metric, or `null` before an evaluation. */
  bestMetric: number | null;
  /** The step of the best evaluation. */
  bestGlobalStep: number | null;
  /** The checkpoint of the best evaluation, if one was saved. */
  bestModelCheckpoint: string | null;
}

/** The state before the first step. */
export function freshState(): TrainerState {
  return {
    globalStep: 0,
    epoch: 0,
    totalFlos: 0,
    logHistory: [],
    bestMetric: null,
    bestGlobalStep: null,
    bestModelCheckpoint: null,
  };
}

/** What the file contains besides the state. */
export interface StateContext {
  readonly plan: TrainingPlan;
  readonly batchSize: number;
  /** Whether the state goes into a checkpoint. */
  readonly saving: boolean;
  /** Whether the run ends with this step. */
  readonly stopping: boolean;
}

/** The object that `trainer_state.json` holds; losses and norms are not rounded. */
export function stateToJson(
  state: TrainerState,
  context: StateContext,
): PythonJson {
  const { plan, batchSize, saving, stopping } = context;
  return {
    best_global_step: state.bestGlobalStep,
    best_metric: state.bestMetric === null
      ? null
      : new PyFloat(state.bestMetric),
    best_model_checkpoint: state.bestModelCheckpoint,
    epoch: new PyFloat(state.epoch),
    eval_steps: plan.evalSteps,
    global_step: state.globalStep,
    is_hyper_param_search: false,
    is_local_process_zero: true,
    is_world_process_zero: true,
    log_history: state.logHistory.map(rowToJson),
    logging_steps: plan.loggingSteps,
    max_steps: plan.maxSteps,
    num_input_tokens_seen: 0,
    num_train_epochs: plan.epochs,
    save_steps: plan.saveSteps,
    stateful_callbacks: {
      TrainerControl: {
        args: {
          should_epoch_stop: false,
          should_evaluate: false,
          should_log: false,
          should_save: saving,
          should_training_stop: stopping,
        },
        attributes: {},
      },
    },
    total_flos: new PyFloat(state.totalFlos),
    train_batch_size: batchSize,
    trial_name: null,
    trial_params: null,
  };
}

function rowToJson(row: LogRow): PythonJson {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      name === "step" ? value : new PyFloat(value),
    ]),
  );
}

/**
 * The state in the `trainer_state.json` at `path`.
 *
 * @throws {InputError} when the file is damaged, or a number in it is impossible.
 */
export function stateFromJson(path: string): TrainerState {
  const json = readJsonFile(path);
  const fail = (name: string, expected: string): never => {
    throw new InputError(
      `Cannot resume from ${quoted(path)}: "${name}" is ${
        json[name] === undefined ? "missing" : quoted(json[name])
      }, expected ${expected}`,
    );
  };
  const { global_step, epoch, total_flos, log_history } = json;
  const {
    best_metric = null,
    best_global_step = null,
    best_model_checkpoint = null,
  } = json;
  const isAmount = (value: unknown): value is number =>
    typeof value === "number" && value >= 0 && value < Infinity;
  if (!isAmount(global_step) || !Number.isSafeInteger(global_step)) {
    return fail("global_step", "a whole number of steps, 0 or more");
  }
  if (!isAmount(epoch)) return fail("epoch", "0 or more");
  if (!isAmount(total_flos)) return fail("total_flos", "0 or more");
  if (!Array.isArray(log_history) || !log_history.every(isRow)) {
    return fail("log_history", "a list of rows");
  }
  if (best_metric !== null && typeof best_metric !== "number") {
    return fail("best_metric", "a number or null");
  }
  if (best_global_step !== null && !isAmount(best_global_step)) {
    return fail("best_global_step", "a number of steps or null");
  }
  if (
    best_model_checkpoint !== null && typeof best_model_checkpoint !== "string"
  ) return fail("best_model_checkpoint", "a path or null");
  return {
    bestMetric: best_metric,
    bestGlobalStep: best_global_step,
    bestModelCheckpoint: best_model_checkpoint,
    globalStep: global_step,
    epoch,
    totalFlos: total_flos,
    logHistory: log_history,
  };
}

function isRow(value: unknown): value is LogRow {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
