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
import { readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import { resolveCheckpoint } from "./find_checkpoint.ts";
import {
  FailedSteps,
  MAX_FAILED_STEPS,
  nonFiniteError,
  refuseNonFinite,
  refuseNonFiniteStart,
} from "./non_finite.ts";
import {
  OutputLock,
  rotateCheckpoints,
  TRAINER_STATE,
} from "./output_folder.ts";
import { logsAt, planTraining, savesAt, type TrainingPlan } from "./plan.ts";
import { endRow, LossLog, lossRow } from "./run_log.ts";
import { checkResume, runSettings } from "./run_settings.ts";
import { type Schedule, scheduleFactor, scheduleOf } from "./schedules.ts";
import { StepEngine } from "./step_engine.ts";
import {
  type RunSettings,
  type TrainableModel,
  trainableModel,
} from "./trainable_model.ts";
import {
  Callbacks,
  type StepReport,
  type TrainerOptions,
  type TrainOptions,
  type TrainOutput,
} from "./trainer_options.ts";
import {
  freshState,
  type LogRow,
  stateToJson,
  type TrainerState,
} from "./trainer_state.ts";

const YIELD_MS = 50;

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
  readonly #failed = new FailedSteps();
  readonly #callbacks: Callbacks;
  #log = new LossLog();
  #lastCheckpoint: string | null = null;
  #settings: RunSettings | null = null;

  /**
   * Moves the trained parameters into flat tensors, which belong to the trainer
   * until it is disposed.
   *
   * @throws {InputError} when there is nothing to train, the rows do not fill a
   *   batch, or the optimizer or schedule is unknown.
   */
  constructor(options: TrainerOptions) {
    this.#options = options;
    this.#callbacks = new Callbacks(options.callbacks);
    this.plan = planTraining(options.trainDataset.length, options.args);
    this.#schedule = scheduleOf(options.args, this.plan);
    this.#trainable = trainableModel(options.model);
    const { model } = this.#trainable;
    this.#batches = new TrainingBatches(options, { plan: this.plan, model });
    this.#engine = new StepEngine(this.#trainable, {
      ...options.args,
      warmup_steps: this.plan.warmupSteps,
    }, { ...options.loraPlus && { loraPlus: options.loraPlus } });
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
    using _lock = options.lock === undefined
      ? new OutputLock(this.#options.args.output_dir)
      : null;
    const first = this.#begin(options);
    const started = performance.now();
    this.#trainable.model.train();
    try {
      const interruptedAt = await this.#loop(options.signal);
      if (interruptedAt !== null) return this.#output(interruptedAt);
    } finally {
      this.#trainable.model.train(false);
      this.#engine.optimizer.train?.(false);
      this.#callbacks.notify((each) => each.onTrainEnd?.());
    }
    this.#addRow(endRow({
      first,
      state: this.state,
      plan: this.plan,
      args: this.#options.args,
      rows: this.#options.trainDataset.length,
      seconds: (performance.now() - started) / 1000,
      lossSum: this.#log.total,
    }));
    return this.#output(null);
  }

  /** Trains all remaining steps; returns the checkpoint saved when aborted, else `null`. */
  async #loop(signal: AbortSignal | undefined): Promise<string | null> {
    const updatesBefore = this.#engine.optimizer.scalars.step;
    let lastYield = performance.now();
    while (!this.#isDone()) {
      const window = this.#batches.window(this.state.globalStep);
      const report = this.#step(window);
      this.#callbacks.notify((each, control) =>
        each.onStepEnd?.(report, control)
      );
      this.#callbacks.warn(this.#failed.add(report));
      const updates = this.#engine.optimizer.scalars.step - updatesBefore;
      this.#refuseFailure(window, updates);
      // the order of transformers: log, evaluate, save
      if (this.#logsNow(report)) {
        this.#addRow(lossRow(this.#log.take(), report));
      }
      // Signals and timers run here; after each step it would slow down short steps.
      if (performance.now() - lastYield > YIELD_MS) {
        await new Promise((resolve) => setTimeout(resolve));
        lastYield = performance.now();
      }
      const aborted = signal?.aborted === true && !this.#isDone();
      const saved = aborted || this.#savesNow() ? this.#saveCheckpoint() : null;
      if (aborted) return saved;
    }
    return null;
  }

  #isDone(): boolean {
    return this.#callbacks.control.shouldTrainingStop ||
      this.state.globalStep >= this.plan.maxSteps;
  }

  /**
   * Writes weights and arguments into `folder`, as into every checkpoint, and
   * returns the folder.
   *
   * @throws {InputError} when weights are not finite, or cannot be written.
   */
  saveModel(folder: string = this.#options.args.output_dir): string {
    this.#refuseNonFinite(folder);
    Deno.mkdirSync(folder, { recursive: true });
    this.#trainable.save(folder);
    const args = this.#options.argsJson ?? this.#options.args;
    writePythonJson(
      `${folder}/training_args.json`,
      args as unknown as PythonJson,
      { trailingNewline: true },
    );
    Object.entries(this.#options.files ?? {}).forEach(([name, text]) =>
      writeFileAtomic(`${folder}/${name}`, text)
    );
    return folder;
  }

  /** Writes `trainer_state.json` into `output_dir`. */
  saveState(): void {
    const folder = this.#options.args.output_dir;
    Deno.mkdirSync(folder, { recursive: true });
    writePythonJson(`${folder}/${TRAINER_STATE}`, this.#stateJson(false), {
      trailingNewline: true,
    });
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
    if (folder !== null) this.#resume(folder);
    else refuseNonFiniteStart(this.#engine.parameters, this.state.globalStep);
    this.#callbacks.control.shouldTrainingStop = false;
    const { globalStep } = this.state;
    this.#callbacks.notify((each) =>
      each.onTrainBegin?.(this.plan, globalStep)
    );
    return globalStep;
  }

  #resume(folder: string): void {
    let warnings: readonly string[] = [];
    const { state, resume } = readCheckpoint(folder, {
      engine: this.#engine,
      weights: this.#trainable.read,
      check: (reading) => {
        const settings = this.#runSettings();
        const { plan } = this;
        warnings = checkResume(folder, { ...reading, plan, settings });
      },
    });
    for (const each of warnings) this.#callbacks.warn(each);
    Object.assign(this.state, state);
    this.#log = new LossLog(resume);
    this.#trainable.model.restoreRunState(resume.modelState);
    this.#noteCheckpoint(folder);
  }

  /** Remembers a checkpoint for errors; one without a single update is no better than a new run. */
  #noteCheckpoint(folder: string): void {
    if (this.#engine.optimizer.scalars.step > 0) this.#lastCheckpoint = folder;
  }

  #runSettings(): RunSettings {
    return this.#settings ??= runSettings({
      options: this.#options,
      plan: this.plan,
      trainable: this.#trainable,
    });
  }

  /** One optimizer step. */
  #step({ batches, epoch, tokens, trainedTokens, flos }: Window): StepReport {
    const started = performance.now();
    const { args, loss = "tokens" } = this.#options;
    const { globalStep } = this.state;
    const learningRate = this.#rateAfter(this.#engine.optimizer.scalars.step);
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

  /** The learning rate after `updates` updates. */
  #rateAfter(updates: number): number {
    return this.#options.args.learning_rate *
      scheduleFactor(this.#schedule, updates);
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
      checkpoint: this.#lastCheckpoint,
    });
  }

  #refuseNonFinite(folder: string): void {
    refuseNonFinite(this.#engine.parameters.values, {
      folder,
      step: this.state.globalStep,
      checkpoint: this.#lastCheckpoint,
    });
  }

  #logsNow({ step }: StepReport): boolean {
    const { args } = this.#options;
    return this.#callbacks.isAsked("shouldLog") ||
      (args.logging_first_step && step === 1) || logsAt(step, this.plan, args);
  }

  #savesNow(): boolean {
    return this.#callbacks.isAsked("shouldSave") ||
      savesAt(this.state.globalStep, this.plan, this.#options.args);
  }

  #addRow(values: LogRow): void {
    const { epoch, globalStep: step } = this.state;
    const row = { ...values, epoch, step };
    this.state.logHistory.push(row);
    this.#callbacks.notify((each, control) => each.onLog?.(row, control));
  }

  #saveCheckpoint(): string {
    const { args } = this.#options;
    const step = this.state.globalStep;
    this.#refuseNonFinite(`${args.output_dir}/checkpoint-${step}`);
    const { optimizer } = this.#engine;
    optimizer.train?.(false);
    const folder = writeCheckpoint(args.output_dir, {
      step,
      engine: this.#engine,
      state: this.#stateJson(true),
      resume: {
        ...this.#log.sums,
        optimizer: { ...optimizer.scalars },
        modelState: this.#trainable.model.runState(),
        settings: this.#runSettings(),
      },
      rates: {
        base: args.learning_rate,
        next: this.#rateAfter(optimizer.scalars.step),
      },
      seed: [args.seed, step],
      onlyModel: args.save_only_model,
      saveModel: (path) => this.saveModel(path),
    });
    this.#noteCheckpoint(folder);
    rotateCheckpoints(args.output_dir, args.save_total_limit, folder);
    this.#callbacks.notify((each, control) => each.onSave?.(folder, control));
    return folder;
  }

  #stateJson(saving: boolean): PythonJson {
    return stateToJson(this.state, {
      plan: this.plan,
      batchSize: this.#options.args.per_device_train_batch_size,
      saving,
      stopping: this.#isDone(),
    });
  }

  #output(interruptedAt: string | null): TrainOutput {
    const { globalStep } = this.state;
    const trainingLoss = this.#log.total / Math.max(globalStep, 1);
    return { globalStep, trainingLoss, interruptedAt };
  }
}
