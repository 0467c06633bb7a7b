/**
 * Watches for gradients that are no finite numbers. Logged losses may hide them
 * (`logging_nan_inf_filter`), and one such step spoils every weight.
 *
 * @module
 */

import type { StepReport } from "./callbacks.ts";

/** Complains once in a run. */
export class FiniteWatch {
  #told = false;

  /** A sentence for the user about the first bad step, `null` otherwise; float16's skipped steps are none. */
  complaint({ gradNorm, skipped, step }: StepReport): string | null {
    if (this.#told || skipped || Number.isFinite(gradNorm)) return null;
    this.#told = true;
    return `Gradients of step ${step} are not finite numbers and spoil the weights: ` +
      "stop, and begin again or from an earlier checkpoint with a lower " +
      "learning_rate or with torch_dtype bfloat16 or float32";
  }
}
