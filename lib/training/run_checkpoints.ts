/**
 * The checkpoints of one run: writes them with everything that resuming needs,
 * goes on from one, keeps the best, and remembers the last for errors.
 *
 * @module
 */

import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { followedSchedule } from "./best_model.ts";
import { readCheckpoint, readWeights, writeCheckpoint } from "./checkpoint.ts";
import { refuseNonFinite } from "./non_finite.ts";
import { rotateCheckpoints, TRAINER_STATE } from "./output_folder.ts";
import type { TrainingPlan } from "./plan.ts";
import { LossLog } from "./run_log.ts";
import { checkResume, runSettings } from "./run_settings.ts";
import { learningRateAt, type Schedule } from "./schedules.ts";
import type { StepEngine } from "./step_engine.ts";
import type { RunSettings, TrainableModel } from "./trainable_model.ts";
import type { Callbacks, TrainerOptions } from "./trainer_options.ts";
import { stateToJson, type TrainerState } from "./trainer_state.ts";

/** The parts of a run that its checkpoints are made of. */
export interface CheckpointedRun {
  readonly options: TrainerOptions;
  readonly plan: TrainingPlan;
  readonly state: TrainerState;
  readonly trainable: TrainableModel;
  readonly engine: StepEngine;
  readonly callbacks: Callbacks;
  readonly schedule: Schedule;
  /** Writes weights and arguments into a folder. */
  readonly saveModel: (folder: string) => void;
  /** Whether the run ends with the present step. */
  readonly isDone: () => boolean;
}

/** Writes and reads the checkpoints of a run. */
export class RunCheckpoints {
  readonly #run: CheckpointedRun;
  #last: string | null = null;
  #settings: RunSettings | null = null;

  /** Nothing is read or written yet. */
  constructor(run: CheckpointedRun) {
    this.#run = run;
  }

  /** The newest checkpoint that has at least one update, or `null`. */
  get last(): string | null {
    return this.#last;
  }

  /**
   * Loads the checkpoint in `folder` into the run, and returns its log.
   *
   * @throws {InputError} when it is damaged or belongs to another run.
   */
  resume(folder: string): LossLog {
    const { engine, trainable, plan, callbacks, state: own } = this.#run;
    let warnings: readonly string[] = [];
    const { state, resume } = readCheckpoint(folder, {
      engine,
      weights: trainable.read,
      check: (reading) => {
        const settings = this.#runSettings();
        warnings = checkResume(folder, { ...reading, plan, settings });
      },
    });
    for (const each of warnings) callbacks.warn(each);
    Object.assign(own, state);
    trainable.model.restoreRunState(resume.modelState);
    this.#note(folder);
    return new LossLog(resume);
  }

  /**
   * Writes a checkpoint of the present step, and returns its folder.
   *
   * @throws {InputError} when weights are not finite, or cannot be written.
   */
  save(log: LossLog): string {
    const { engine, trainable, state, callbacks, options } = this.#run;
    const { args } = options;
    const step = state.globalStep;
    const path = `${args.output_dir}/checkpoint-${step}`;
    this.refuseNonFinite(path);
    const { optimizer } = engine;
    optimizer.train?.(false);
    if (state.bestGlobalStep === step) state.bestModelCheckpoint = path;
    const folder = writeCheckpoint(args.output_dir, {
      step,
      engine,
      state: this.#stateJson(true),
      resume: {
        ...log.sums,
        optimizer: { ...optimizer.scalars },
        modelState: trainable.model.runState(),
        settings: this.#runSettings(),
      },
      rates: {
        base: args.learning_rate,
        next: learningRateAt(
          followedSchedule(this.#run.schedule, state, args),
          optimizer.scalars.step,
        ),
      },
      seed: [args.seed, step],
      onlyModel: args.save_only_model,
      saveModel: this.#run.saveModel,
    });
    this.#note(folder);
    const best = state.bestModelCheckpoint;
    rotateCheckpoints(args.output_dir, args.save_total_limit, [
      folder,
      ...best === null || best === folder ? [] : [best],
    ]);
    callbacks.notify((each, control) => each.onSave?.(folder, control));
    return folder;
  }

  /**
   * Loads the weights of the best checkpoint; warns where none was saved. With a
   * limit of one checkpoint, only the best is left.
   */
  loadBest(): void {
    const { state, engine, trainable, callbacks, options } = this.#run;
    const { output_dir, save_total_limit } = options.args;
    const folder = state.bestModelCheckpoint;
    if (folder === null) {
      return callbacks.warn(
        "The run ends with its last weights: no checkpoint of its best evaluation was saved",
      );
    }
    engine.optimizer.train?.(false);
    readWeights(folder, {
      parameters: engine.parameters,
      weights: trainable.read,
    });
    if (save_total_limit === 1) rotateCheckpoints(output_dir, 1, [folder]);
  }

  /** Writes `trainer_state.json` into `output_dir`. */
  saveState(): void {
    const folder = this.#run.options.args.output_dir;
    Deno.mkdirSync(folder, { recursive: true });
    writePythonJson(`${folder}/${TRAINER_STATE}`, this.#stateJson(false), {
      trailingNewline: true,
    });
  }

  /** @throws {InputError} when weights that are to be saved in `folder` are not finite. */
  refuseNonFinite(folder: string): void {
    refuseNonFinite(this.#run.engine.parameters.values, {
      folder,
      step: this.#run.state.globalStep,
      checkpoint: this.#last,
    });
  }

  /** One without a single update is no better than a new run. */
  #note(folder: string): void {
    if (this.#run.engine.optimizer.scalars.step > 0) this.#last = folder;
  }

  #runSettings(): RunSettings {
    const { options, plan, trainable } = this.#run;
    return this.#settings ??= runSettings({ options, plan, trainable });
  }

  #stateJson(saving: boolean): PythonJson {
    return stateToJson(this.#run.state, {
      plan: this.#run.plan,
      batchSize: this.#run.options.args.per_device_train_batch_size,
      saving,
      stopping: this.#run.isDone(),
    });
  }
}
