/**
 * Training: the Trainer and its parts.
 *
 * @module
 */

export {
  type ActivationPlan,
  fewestRecomputed,
  freeForStep,
  freeMemory,
} from "./activation_budget.ts";
export { type BestModelArguments, type EarlyStopping } from "./best_model.ts";
export { earlyStopping, lossWatchdog } from "./callbacks.ts";
export {
  evaluateRows,
  type Evaluation,
  type EvaluationOptions,
} from "./evaluate.ts";
export type {
  EvalPrediction,
  EvaluationRows,
  PredictionOutput,
} from "./evaluations.ts";
export { resolveCheckpoint } from "./find_checkpoint.ts";
export {
  type FlatEntry,
  type FlatGroup,
  FlatParameters,
  viewOf,
} from "./flat_parameters.ts";
export { accumulateGradients, type GradientOptions } from "./gradients.ts";
export { type LoraPlus, loraPlusRates } from "./lora_plus.ts";
export {
  type OptimArgument,
  type Optimizer,
  type OptimizerDefinition,
  type OptimizerSetting,
  type OptimSettings,
  optimSettings,
} from "./optimizer.ts";
export {
  optimizerNamed,
  optimizerNames,
  registerOptimizer,
} from "./optimizers.ts";
export { AdamW, type AdamWOptions } from "./optimizers/adamw.ts";
export {
  checkOutputFolder,
  listCheckpoints,
  OutputLock,
} from "./output_folder.ts";
export { type PlanArguments, planTraining, type TrainingPlan } from "./plan.ts";
export {
  epochBatches,
  type SamplerOptions,
  type SamplingStrategy,
} from "./sampler.ts";
export {
  type ScheduleDefinition,
  type ScheduleFormula,
  type ScheduleSetting,
  type ScheduleSpan,
} from "./schedule_formulas.ts";
export {
  registerSchedule,
  type Schedule,
  scheduleFactor,
  scheduleNames,
  scheduleOf,
} from "./schedules.ts";
export type { Precision, StepResult } from "./step_engine.ts";
export {
  type BatchSizes,
  batchSizes,
  type StepForm,
  type StepMemory,
  stepMemory,
} from "./step_memory.ts";
export {
  csvCallback,
  type JsonLinesCallback,
  jsonLinesCallback,
  type LogCallback,
} from "./log_files.ts";
export {
  ModifiedTrainer,
  type ModifiedTrainerOptions,
} from "./modified_trainer.ts";
export {
  type TensorBoardCallback,
  tensorBoardCallback,
  type TensorBoardOptions,
} from "./tensorboard.ts";
export { Trainer } from "./trainer.ts";
export type { TokenLoss } from "./loss.ts";
export type {
  FollowedRun,
  StepReport,
  TrainerCallback,
  TrainerControl,
  TrainerOptions,
  TrainOptions,
  TrainOutput,
} from "./trainer_options.ts";
export type { LogRow, TrainerState } from "./trainer_state.ts";
