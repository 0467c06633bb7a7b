/**
 * Callbacks that end a run early.
 *
 * @module
 */

import { type EarlyStopping, evaluationsWithoutGain } from "./best_model.ts";
import type { TrainerCallback } from "./trainer_options.ts";

/**
 * Ends the run after `patience` evaluations in a row without a better metric, as
 * transformers' `EarlyStoppingCallback`. The count comes from the log, so a
 * resumed run goes on with it.
 *
 * @example
 * ```ts
 * import { earlyStopping } from "@lorikeet/lorikeet/training";
 *
 * const callback = earlyStopping({ patience: 3, threshold: 0.01 });
 * if (callback.onEvaluate === undefined) throw new Error("unexpected");
 * ```
 */
export function earlyStopping(stopping: EarlyStopping): TrainerCallback {
  return {
    onEvaluate(_metrics, control, { state, args }): void {
      const count = evaluationsWithoutGain(state.logHistory, args, stopping);
      if (count >= stopping.patience) control.shouldTrainingStop = true;
    },
  };
}

/**
 * Ends the run when the loss of `patience` steps in a row is above `threshold`,
 * and saves nothing more: the weights have probably gone astray.
 *
 * @example
 * ```ts
 * import { lossWatchdog } from "@lorikeet/lorikeet/training";
 *
 * const callback = lossWatchdog({ threshold: 10 });
 * if (callback.onStepEnd === undefined) throw new Error("unexpected");
 * ```
 */
export function lossWatchdog(
  { threshold, patience = 3 }: {
    readonly threshold: number;
    readonly patience?: number;
  },
): TrainerCallback {
  let above = 0;
  return {
    onTrainBegin(): void {
      above = 0;
    },
    onStepEnd({ loss }, control): void {
      above = loss > threshold ? above + 1 : 0;
      if (above >= patience) control.shouldTrainingStop = true;
    },
  };
}
