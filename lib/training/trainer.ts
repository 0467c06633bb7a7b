/**
 * `Trainer`: the loop over steps. The parts of a step are in other files:
 * batches, gradients, clipping, schedule, optimizer, log, checkpoints. It prints
 * nothing; callbacks follow the run and may stop it.
 *
 * @module
 */

import type { ActivationPlan } from "./activation_budget.ts";
import { writeFileAtomic } from "../formats/atomic_file.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { TrainingBatches, type Window } from "./batches.ts";
import { followedSchedule, noteEvaluation } from "./best_model.ts";
import { Breath } from "./breath.ts";
import {
  type EvaluationRows,
  Evaluations,
  isEvaluationMissing,
  type PredictionOutput,
} from "./evaluations.ts";
import { resolveCheckpoint } from "./find_checkpoint.ts";
import {
  FailedSteps,
  MAX_FAILED_STEPS,
  nonFiniteError,
  refuseNonFiniteStart,
} from "./non_finite.ts";
import { OutputLock } from "./output_folder.ts";
import {
  evaluatesAt,
  logsAt,
  planTraining,
  savesAt,
  type TrainingPlan,
} from "./plan.ts";
import { RunCheckpoints } from "./run_checkpoints.ts";
import { endRow, LossLog, lossRow } from "./run_log.ts";
import { learningRateAt, type Schedule, scheduleOf } from "./schedules.ts";
import { StepEngine } from "./step_engine.ts";
import { type TrainableModel, trainableModel } from "./trainable_model.ts";
import {
  Callbacks,
  type StepReport,
  type TrainerOptions,
  type TrainOptions,
  type TrainOutput,
} from "./trainer_options.ts";
import { freshState, type LogRow, type TrainerState } from "./trainer_state.ts";
import type { Feature } from "../data/batch.ts";

/**
 * Trains a model, as `transformers.Trainer` does.
 *
 * @example
 * ```ts
 * import {
 *   AutoModelForCausalLM,
 *   AutoTokenizer,
 *   getPeftModel,
 *   Trainer,
 *   trainingArguments,
 * } from "@lorikeet/lorikeet";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
 * using base = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * using model = getPeftModel(base, { target_modules: ["q_proj"] }, { seed: 42 });
 * const folder = Deno.makeTempDirSync();
 * using trainer = new Trainer({
 *   model,
 *   tokenizer,
 *   args: trainingArguments({ output_dir: folder, max_steps: 1 }),
 *   trainDataset: [{ input_ids: [1, 5, 6, 7, 2], labels: [-100, -100, 6, 7, 2] }],
 * });
 * const { globalStep } = await trainer.train();
 * if (globalStep !== 1) throw new Error("unexpected step");
 * Deno.removeSync(folder, { recursive: true });
 * ```
 */
export class Trainer implements Disposable {
  /** The state of the run. */
  readonly state: TrainerState = freshState();
  /** The number of steps, epochs and intervals. */
  readonly plan: TrainingPlan;
  readonly #options: TrainerOptions;
  readonly #schedule: Schedule;
  readonly #trainable: TrainableModel;
  readonly #engine: StepEngine;
  readonly #batches: TrainingBatches;
  readonly #evaluations: Evaluations;
  readonly #checkpoints: RunCheckpoints;
  readonly #failed = new FailedSteps();
  readonly #callbacks: Callbacks;
  #log = new LossLog();

  /**
   * Moves the trained parameters into flat tensors, which belong to the trainer
   * until it is disposed.
   *
   * @throws {InputError} when there is nothing to train, the rows do not fill a
   *   batch, or the optimizer or schedule is unknown.
   */
  constructor(options: TrainerOptions) {
    const { args, loraPlus, computeLossFunc, freeMemory } = options;
    this.#options = options;
    this.#callbacks = new Callbacks(options.callbacks);
    this.plan = planTraining(options.trainDataset.length, args);
    this.#schedule = scheduleOf(args, this.plan);
    this.#trainable = trainableModel(options.model);
    const { model } = this.#trainable;
    this.#batches = new TrainingBatches(options, { plan: this.plan, model });
    this.#engine = new StepEngine(
      this.#trainable,
      { ...args, warmup_steps: this.plan.warmupSteps },
      {
        ...loraPlus && { loraPlus },
        ...freeMemory !== undefined && { freeMemory },
        ...computeLossFunc && { lossFunction: computeLossFunc },
      },
    );
    this.#evaluations = new Evaluations(options, {
      model,
      collate: (rows) => this.#batches.collate(rows),
      autocast: this.#engine.autocast,
    });
    this.#checkpoints = new RunCheckpoints({
      options,
      plan: this.plan,
      state: this.state,
      trainable: this.#trainable,
      engine: this.#engine,
      callbacks: this.#callbacks,
      schedule: this.#schedule,
      saveModel: (folder) => this.saveModel(folder),
      isDone: () => this.#isDone(),
    });
  }

  /**
   * Trains to the last step, until a callback stops it, or until `signal` is
   * aborted. When it is called again, it continues where it stopped; after the
   * last step it does nothing.
   *
   * @throws {InputError} when another run writes into `output_dir`, a checkpoint
   *   cannot be resumed from, trained parameters are not finite at the start, or loss
   *   or gradients are not finite for several steps in a row.
   * @throws {TorchError} when libtorch reports an error, such as out of memory.
   */
  async train(options: TrainOptions = {}): Promise<TrainOutput> {
    const { args, trainDataset } = this.#options;
    using _lock = options.lock === undefined
      ? new OutputLock(args.output_dir)
      : null;
    const first = this.#begin(options);
    const started = performance.now();
    this.#trainable.model.train();
    try {
      const interruptedAt = await this.#loop(options.signal);
      if (interruptedAt !== null) return this.#output(interruptedAt);
      if (args.load_best_model_at_end) this.#checkpoints.loadBest();
    } finally {
      this.#trainable.model.train(false);
      this.#engine.optimizer.train?.(false);
      this.#callbacks.notify((each) => each.onTrainEnd?.());
    }
    this.#addRow(endRow({
      first,
      state: this.state,
      plan: this.plan,
      args,
      rows: trainDataset.length,
      seconds: (performance.now() - started) / 1000,
      lossSum: this.#log.total,
    }));
    return this.#output(null);
  }

  /** Trains all remaining steps; returns the checkpoint saved when aborted, else `null`. */
  async #loop(signal: AbortSignal | undefined): Promise<string | null> {
    const updatesBefore = this.#engine.optimizer.scalars.step;
    const breath = new Breath();
    if (isEvaluationMissing(this.state, this.plan, this.#options.args)) {
      await this.#evaluateNow(signal);
    }
    while (!this.#isDone()) {
      const report = this.#nextStep(updatesBefore);
      // the order of transformers: log, evaluate, save
      if (this.#logsNow(report)) {
        this.#addRow(lossRow(this.#log.take(), report));
      }
      await breath.take();
      const evaluates = this.#callbacks.isAsked("shouldEvaluate") ||
        evaluatesAt(report, this.plan, this.#options.args);
      if (evaluates) await this.#evaluateNow(signal);
      const aborted = signal?.aborted === true && !this.#isDone();
      const saves = aborted || this.#callbacks.isAsked("shouldSave") ||
        savesAt(report.step, this.plan, this.#options.args);
      const saved = saves ? this.#checkpoints.save(this.#log) : null;
      if (aborted) return saved;
    }
    return null;
  }

  /** Takes a step, and tells callbacks; this session has made the updates since `updatesBefore`. */
  #nextStep(updatesBefore: number): StepReport {
    const { globalStep } = this.state;
    const { stepsPerEpoch } = this.plan;
    const epoch = Math.floor(globalStep / stepsPerEpoch);
    if (globalStep % stepsPerEpoch === 0) {
      this.#callbacks.notify((each, on) => each.onEpochBegin?.(epoch, on));
    }
    this.#callbacks.notify((each, on) =>
      each.onStepBegin?.(globalStep + 1, on)
    );
    const window = this.#batches.window(globalStep);
    const report = this.#step(window);
    this.#callbacks.notify((each, on) => each.onStepEnd?.(report, on));
    this.#callbacks.warn(this.#failed.add(report));
    const updates = this.#engine.optimizer.scalars.step - updatesBefore;
    this.#refuseFailure(window, updates);
    if (report.step % stepsPerEpoch === 0 || this.#isDone()) {
      this.#callbacks.notify((each, on) => each.onEpochEnd?.(epoch, on));
    }
    return report;
  }

  #isDone(): boolean {
    return this.#callbacks.control.shouldTrainingStop ||
      this.state.globalStep >= this.plan.maxSteps;
  }

  /**
   * The metrics of `rows`, by default of the rows to evaluate, which are logged and
   * told to callbacks; those of several sets together.
   *
   * @throws {InputError} when there are no rows, or none with a label.
   */
  async evaluate(
    rows?: EvaluationRows,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<LogRow> {
    const sets = await this.#evaluations.run(rows, options);
    for (const metrics of sets) {
      this.#addRow(metrics);
      const run = { state: this.state, args: this.#options.args };
      this.#callbacks.notify((each, control) =>
        each.onEvaluate?.(metrics, control, run)
      );
    }
    return Object.assign({}, ...sets);
  }

  /**
   * The most probable token at each labelled position of `rows`, the labels, and
   * their metrics.
   *
   * @throws {InputError} when no row has a label.
   */
  async predict(rows: readonly Feature[]): Promise<PredictionOutput> {
    const found = await this.#evaluations.predict(rows, { prefix: "test" });
    this.#callbacks.notify((each) => each.onPredict?.(found.metrics));
    return found;
  }

  /** Evaluates in the run, and notes whether it is the best so far. */
  async #evaluateNow(signal: AbortSignal | undefined): Promise<void> {
    const { args } = this.#options;
    this.#engine.optimizer.train?.(false);
    let metrics: LogRow;
    try {
      metrics = await this.evaluate(undefined, { ...signal && { signal } });
    } catch (error) {
      // a resumed run begins with the evaluation that is missing
      if (signal?.aborted && error === signal.reason) return;
      throw error;
    }
    if (this.state.globalStep === 0) return;
    const isBest = noteEvaluation(this.state, metrics, args);
    if (args.save_strategy === "best" && isBest) {
      this.#callbacks.control.shouldSave = true;
    }
  }

  /**
   * Writes weights and arguments into `folder`, as into every checkpoint, and
   * returns the folder.
   *
   * @throws {InputError} when weights are not finite, or cannot be written.
   */
  saveModel(folder: string = this.#options.args.output_dir): string {
    this.#checkpoints.refuseNonFinite(folder);
    Deno.mkdirSync(folder, { recursive: true });
    this.#trainable.save(folder);
    const { args, argsJson = args, files = {} } = this.#options;
    const json = argsJson as unknown as PythonJson;
    writePythonJson(`${folder}/training_args.json`, json, {
      trailingNewline: true,
    });
    Object.entries(files).forEach(([name, text]) =>
      writeFileAtomic(`${folder}/${name}`, text)
    );
    return folder;
  }

  /** Writes `trainer_state.json` into `output_dir`. */
  saveState(): void {
    this.#checkpoints.saveState();
  }

  /** What `gradient_checkpointing` "auto" recomputes in the longest rows, else `null`. */
  get activationPlan(): ActivationPlan | null {
    return this.#engine.activations?.planFor(this.#batches.longest()) ?? null;
  }

  /** Frees the optimizer's state; the model keeps its trained weights. */
  [Symbol.dispose](): void {
    this.#engine[Symbol.dispose]();
  }

  /** Prepares the run and returns the step it starts from. */
  #begin(options: TrainOptions): number {
    const { args } = this.#options;
    const asked = options.resumeFromCheckpoint ?? args.resume_from_checkpoint;
    if (this.state.globalStep === 0) {
      this.#trainable.model.restoreRunState(null);
    }
    const folder = resolveCheckpoint(args.output_dir, asked);
    if (folder !== null) this.#log = this.#checkpoints.resume(folder);
    else refuseNonFiniteStart(this.#engine.parameters, this.state.globalStep);
    this.#callbacks.control.shouldTrainingStop = false;
    const { globalStep } = this.state;
    this.#callbacks.notify((each) =>
      each.onTrainBegin?.(this.plan, globalStep)
    );
    return globalStep;
  }

  /** One optimizer step. */
  #step({ batches, epoch, tokens, trainedTokens, flos }: Window): StepReport {
    const started = performance.now();
    const { args, loss = "tokens" } = this.#options;
    const { globalStep } = this.state;
    const { step: updates } = this.#engine.optimizer.scalars;
    const schedule = followedSchedule(this.#schedule, this.state, args);
    const learningRate = learningRateAt(schedule, updates);
    const result = this.#engine.step(batches, {
      learningRate,
      loss,
      seed: [args.seed, globalStep],
    });
    this.state.globalStep = globalStep + 1;
    this.state.epoch = epoch;
    this.state.totalFlos += flos;
    this.#log.add(result.loss, { filter: args.logging_nan_inf_filter });
    return {
      ...result,
      learningRate,
      epoch,
      step: globalStep + 1,
      tokens,
      trainedTokens,
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** Ends a run that has failed too often; this session has made `updates` updates. */
  #refuseFailure({ batches }: Window, updates: number): void {
    const { inARow } = this.#failed;
    const isHopeless = inARow >= MAX_FAILED_STEPS ||
      inARow > 0 && this.#isDone() && updates === 0;
    if (!isHopeless) return;
    throw nonFiniteError({
      batches,
      inARow,
      model: this.#trainable.model,
      parameters: this.#engine.parameters,
      autocast: this.#engine.autocast,
      step: this.state.globalStep,
      checkpoint: this.#checkpoints.last,
    });
  }

  #logsNow({ step }: StepReport): boolean {
    const { args } = this.#options;
    return this.#callbacks.isAsked("shouldLog") ||
      (args.logging_first_step && step === 1) || logsAt(step, this.plan, args);
  }

  #addRow(values: LogRow): void {
    const { epoch, globalStep: step } = this.state;
    const row = { ...values, epoch, step };
    this.state.logHistory.push(row);
    this.#callbacks.notify((each, control) => each.onLog?.(row, control));
  }

  #output(interruptedAt: string | null): TrainOutput {
    const { globalStep } = this.state;
    const trainingLoss = this.#log.total / Math.max(globalStep, 1);
    return { globalStep, trainingLoss, interruptedAt };
  }
}
