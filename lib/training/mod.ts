/**
 * Training: the Trainer and what it is made of.
 *
 * @module
 */

export { AdamW, type AdamWOptions } from "./adamw.ts";
export type { StepReport, TrainerCallback } from "./callbacks.ts";
export {
  listCheckpoints,
  resolveCheckpoint,
  type ResumeState,
} from "./checkpoint.ts";
export {
  type FlatEntry,
  type FlatGroup,
  FlatParameters,
} from "./flat_parameters.ts";
export { accumulateGradients, type GradientOptions } from "./gradients.ts";
export {
  ModifiedTrainer,
  type ModifiedTrainerOptions,
} from "./modified_trainer.ts";
export { type PlanArguments, planTraining, type TrainingPlan } from "./plan.ts";
export { epochBatches, type SamplerOptions } from "./sampler.ts";
export {
  type Schedule,
  scheduleFactor,
  type ScheduleName,
} from "./schedule.ts";
export { StepEngine, type StepInput, type StepResult } from "./step_engine.ts";
export { type Trainee, traineeOf } from "./trainee.ts";
export { Trainer } from "./trainer.ts";
export type {
  TrainerOptions,
  TrainOptions,
  TrainOutput,
} from "./trainer_options.ts";
export type { LogRow, TrainerState } from "./trainer_state.ts";
