/**
 * Training: the Trainer and its parts.
 *
 * @module
 */

export { AdamW, type AdamWOptions } from "./adamw.ts";
export { resolveCheckpoint } from "./find_checkpoint.ts";
export {
  type FlatEntry,
  type FlatGroup,
  FlatParameters,
  viewOf,
} from "./flat_parameters.ts";
export { accumulateGradients, type GradientOptions } from "./gradients.ts";
export {
  type Optimizer,
  type OptimizerDefinition,
  optimizerNamed,
  optimizerNames,
  type OptimizerSetting,
  registerOptimizer,
} from "./optimizers.ts";
export {
  checkOutputFolder,
  listCheckpoints,
  OutputLock,
} from "./output_folder.ts";
export { type PlanArguments, planTraining, type TrainingPlan } from "./plan.ts";
export { epochBatches, type SamplerOptions } from "./sampler.ts";
export {
  registerSchedule,
  type Schedule,
  scheduleFactor,
  type ScheduleFormula,
  scheduleNames,
  type ScheduleSpan,
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
  ModifiedTrainer,
  type ModifiedTrainerOptions,
} from "./modified_trainer.ts";
export { Trainer } from "./trainer.ts";
export type {
  StepReport,
  TrainerCallback,
  TrainerControl,
  TrainerOptions,
  TrainOptions,
  TrainOutput,
} from "./trainer_options.ts";
export type { LogRow, TrainerState } from "./trainer_state.ts";
