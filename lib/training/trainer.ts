/**
 * `Trainer`: the loop over steps. Every piece of it is a named step elsewhere:
 * sampling, gradients, clipping, schedule, optimizer, checkpoints. It prints
 * nothing; callbacks see what happens.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { Batch } from "../data/batch.ts";
import { dataCollator } from "../data/collator.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import type { StepReport, TrainerCallback } from "./callbacks.ts";
import {
  readCheckpoint,
  resolveCheckpoint,
  type ResumeState,
  rotateCheckpoints,
  TRAINER_STATE,
  writeCheckpoint,
} from "./checkpoint.ts";
import { FiniteWatch } from "./finite_watch.ts";
import { LossLog } from "./loss_log.ts";
import { planTraining, type TrainingPlan, windowAt } from "./plan.ts";
import { epochBatches } from "./sampler.ts";
import { scheduleFactor, scheduleNamed } from "./schedules.ts";
import { StepEngine } from "./step_engine.ts";
import { type Trainee, traineeOf } from "./trainee.ts";
import type {
  TrainerOptions,
  TrainOptions,
  TrainOutput,
} from "./trainer_options.ts";
import {
  freshState,
  type LogRow,
  stateFromJson,
  stateToJson,
  type TrainerState,
} from "./trainer_state.ts";

const BREATH_MS = 50;

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
  /** What the run knows of itself. */
  readonly state: TrainerState = freshState();
  /** How long the run is. */
  readonly plan: TrainingPlan;
  readonly #options: TrainerOptions;
  readonly #trainee: Trainee;
  readonly #engine: StepEngine;
  readonly #parameterCount: number;
  readonly #watch = new FiniteWatch();
  #log = new LossLog();
  #order: { epoch: number; batches: number[][] } | null = null;

  /**
   * Moves the trained parameters into flat tensors; from here on they are the
   * trainer's until it is disposed.
   *
   * @throws {InputError} when there is nothing to train or no batch can be made.
   */
  constructor(options: TrainerOptions) {
    this.#options = options;
    this.plan = planTraining(options.trainDataset.length, options.args);
    scheduleNamed(options.args.lr_scheduler_type);
    this.#trainee = traineeOf(options.model);
    this.#parameterCount = countParameters(this.#trainee.model);
    this.#engine = new StepEngine(this.#trainee, options.args);
  }

  /**
   * Runs to the last step, or until `signal` is aborted. Called again, it goes on
   * where it stopped; after the last step there is nothing left to do.
   *
   * @throws {InputError} when a checkpoint cannot be resumed from.
   * @throws {TorchError} when libtorch refuses, for want of memory for example.
   */
  async train(options: TrainOptions = {}): Promise<TrainOutput> {
    const first = this.#begin(options);
    const started = performance.now();
    this.#trainee.model.train();
    try {
      const interruptedAt = await this.#loop(options.signal);
      if (interruptedAt !== null) return this.#output(interruptedAt);
    } finally {
      this.#trainee.model.train(false);
      this.#tell((each) => each.onTrainEnd?.());
    }
    this.#logEnd(first, (performance.now() - started) / 1000);
    return this.#output(null);
  }

  /** All steps that are left; gives the checkpoint saved when aborted. */
  async #loop(signal: AbortSignal | undefined): Promise<string | null> {
    let breath = performance.now();
    while (this.state.globalStep < this.plan.maxSteps) {
      const report = this.#step();
      this.#tell((each) => each.onStepEnd?.(report));
      this.#warn(this.#watch.complaint(report));
      this.#logAfter(report);
      // Signals and timers get their turn; a turn per step would cost short steps.
      if (performance.now() - breath > BREATH_MS) {
        await new Promise((resolve) => setTimeout(resolve));
        breath = performance.now();
      }
      const aborted = signal?.aborted === true &&
        this.state.globalStep < this.plan.maxSteps;
      const saved = aborted || this.#savesNow() ? this.#saveCheckpoint() : null;
      if (aborted) return saved;
    }
    return null;
  }

  /** Writes weights and arguments into `folder`, as every checkpoint has them; gives the folder. */
  saveModel(folder: string = this.#options.args.output_dir): string {
    Deno.mkdirSync(folder, { recursive: true });
    this.#trainee.save(folder);
    const args = this.#options.argsJson ?? this.#options.args;
    writePythonJson(
      `${folder}/training_args.json`,
      args as unknown as PythonJson,
      { trailingNewline: true },
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

  /** Frees the optimizer's state; the model keeps its trained weights. */
  [Symbol.dispose](): void {
    this.#engine[Symbol.dispose]();
  }

  /** Prepares the run and gives the step it starts from. */
  #begin(options: TrainOptions): number {
    const { args } = this.#options;
    const asked = options.resumeFromCheckpoint ?? args.resume_from_checkpoint;
    if (this.state.globalStep === 0) this.#trainee.model.restoreRunState(null);
    const folder = resolveCheckpoint(args.output_dir, asked);
    if (folder !== null) this.#resume(folder);
    const { globalStep } = this.state;
    this.#tell((each) => each.onTrainBegin?.(this.plan, globalStep));
    return globalStep;
  }

  #resume(folder: string): void {
    const { state, resume } = readCheckpoint(folder, {
      parameters: this.#engine.parameters,
      optimizer: this.#engine.optimizer,
      weights: this.#trainee.read,
    });
    Object.assign(this.state, stateFromJson(state));
    this.#log = new LossLog(resume);
    this.#trainee.model.restoreRunState(resume.modelState);
    this.#engine.lossScaler = resume.lossScaler;
    const changed = Object.entries(this.#orderFacts())
      .filter(([name, value]) => resume.order[name] !== value)
      .map(([name, value]) => `${name} is ${value}, was ${resume.order[name]}`);
    if (changed.length > 0) {
      this.#warn(
        `Resuming from "${folder}" is not exact: ${changed.join("; ")}`,
      );
    }
  }

  /** One optimizer step. */
  #step(): StepReport {
    const started = performance.now();
    const { args, loss = "tokens" } = this.#options;
    const { globalStep } = this.state;
    const { batches, epoch } = this.#window();
    const schedule = {
      name: args.lr_scheduler_type,
      warmupSteps: this.plan.warmupSteps,
      maxSteps: this.plan.maxSteps,
    };
    const rate = (updates: number): number =>
      args.learning_rate * scheduleFactor(schedule, updates);
    const learningRate = rate(this.#engine.optimizer.scalars.step);
    const result = this.#engine.step(batches, {
      learningRate: rate,
      loss,
      seed: [args.seed, globalStep],
    });
    this.state.globalStep = globalStep + 1;
    this.state.epoch = epoch;
    this.#log.add(result.loss, { filter: args.logging_nan_inf_filter });
    return {
      ...result,
      learningRate,
      epoch,
      step: globalStep + 1,
      tokens: sumOf(batches, (each) => each.tokens),
      trainedTokens: sumOf(batches, (each) => each.targets.labels.length),
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** The micro-batches of the next step, and the epoch after it. */
  #window(): { batches: Batch[]; epoch: number } {
    const { args, trainDataset, tokenizer } = this.#options;
    const { stepsPerEpoch, batchesPerEpoch } = this.plan;
    const epoch = Math.floor(this.state.globalStep / stepsPerEpoch);
    if (this.#order?.epoch !== epoch) {
      const batches = epochBatches(trainDataset.length, {
        epoch,
        seed: args.data_seed ?? args.seed,
        batchSize: args.per_device_train_batch_size,
        dropLast: args.dataloader_drop_last,
      });
      this.#order = { epoch, batches };
    }
    const { start, end } = windowAt(this.plan, {
      step: this.state.globalStep % stepsPerEpoch,
      accumulation: args.gradient_accumulation_steps,
    });
    const collate = this.#options.dataCollator ?? dataCollator;
    const batches = this.#order.batches.slice(start, end).map((rows) =>
      collate(rows.map((row) => trainDataset[row]!), tokenizer)
    );
    const { hiddenSize, vocabSize } = this.#trainee.model.config;
    const weights = this.#parameterCount - hiddenSize * vocabSize;
    this.state.totalFlos += 6 * weights *
      sumOf(batches, (each) => each.inputIds.length);
    return { batches, epoch: epoch + end / batchesPerEpoch };
  }

  /** Whether something that happens every `every` steps happens now. */
  #isDue(strategy: "no" | "steps" | "epoch", every: number): boolean {
    const { globalStep } = this.state;
    if (strategy === "epoch") {
      // An epoch also ends where the run does, as in transformers.
      return globalStep % this.plan.stepsPerEpoch === 0 ||
        globalStep >= this.plan.maxSteps;
    }
    return strategy === "steps" && globalStep % every === 0;
  }

  #logAfter(report: StepReport): void {
    const { args } = this.#options;
    const first = args.logging_first_step && report.step === 1;
    if (!first && !this.#isDue(args.logging_strategy, this.plan.loggingSteps)) {
      return;
    }
    this.#addRow({
      loss: this.#log.take(),
      grad_norm: report.gradNorm,
      learning_rate: report.learningRate,
    });
  }

  /** The last row: what the whole run took, counting the steps of this session. */
  #logEnd(first: number, seconds: number): void {
    const { globalStep, totalFlos } = this.state;
    const { args, trainDataset } = this.#options;
    const steps = globalStep - first;
    const rows = args.max_steps > 0
      ? steps * args.per_device_train_batch_size *
        args.gradient_accumulation_steps
      : trainDataset.length * steps / this.plan.stepsPerEpoch;
    this.#addRow({
      train_runtime: rounded(seconds, 4),
      train_samples_per_second: rounded(rows / seconds, 3),
      train_steps_per_second: rounded(steps / seconds, 3),
      total_flos: totalFlos,
      train_loss: this.#log.total / Math.max(globalStep, 1),
    });
  }

  #addRow(values: LogRow): void {
    const { epoch, globalStep: step } = this.state;
    const row = { ...values, epoch, step };
    this.state.logHistory.push(row);
    this.#tell((each) => each.onLog?.(row));
  }

  #savesNow(): boolean {
    const { args } = this.#options;
    const ends = this.state.globalStep >= this.plan.maxSteps;
    return this.#isDue(args.save_strategy, this.plan.saveSteps) ||
      (ends && args.save_strategy === "steps");
  }

  #saveCheckpoint(): string {
    const { args } = this.#options;
    const folder = writeCheckpoint(args.output_dir, {
      step: this.state.globalStep,
      parameters: this.#engine.parameters,
      optimizer: this.#engine.optimizer,
      state: this.#stateJson(true),
      resume: this.#resumeState(),
      onlyModel: args.save_only_model,
      saveModel: (path) => this.saveModel(path),
    });
    rotateCheckpoints(args.output_dir, args.save_total_limit);
    this.#tell((each) => each.onSave?.(folder));
    return folder;
  }

  #resumeState(): ResumeState {
    return {
      ...this.#log.sums,
      optimizer: { ...this.#engine.optimizer.scalars },
      modelState: this.#trainee.model.runState(),
      lossScaler: this.#engine.lossScaler,
      order: this.#orderFacts(),
    };
  }

  #orderFacts(): Record<string, number> {
    const { args, trainDataset } = this.#options;
    return {
      rows: trainDataset.length,
      tokens: sumOf(trainDataset, (each) => each.input_ids.length),
      seed: args.seed,
      data_seed: args.data_seed ?? args.seed,
      per_device_train_batch_size: args.per_device_train_batch_size,
      gradient_accumulation_steps: args.gradient_accumulation_steps,
    };
  }

  #stateJson(saving: boolean): PythonJson {
    return stateToJson(this.state, {
      plan: this.plan,
      batchSize: this.#options.args.per_device_train_batch_size,
      saving,
    });
  }

  #output(interruptedAt: string | null): TrainOutput {
    const { globalStep } = this.state;
    const trainingLoss = this.#log.total / Math.max(globalStep, 1);
    return { globalStep, trainingLoss, interruptedAt };
  }

  #warn(message: string | null): void {
    if (message !== null) this.#tell((each) => each.onWarning?.(message));
  }

  #tell(say: (callback: TrainerCallback) => void): void {
    this.#options.callbacks?.forEach(say);
  }
}

/** Numbers in the tree, a tensor that hangs in two places counted once. */
function countParameters(model: CausalLm): number {
  const tensors = new Set(
    [...model.namedParameters()].map((each) => each.tensor),
  );
  return sumOf([...tensors], (each) => each.size);
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
