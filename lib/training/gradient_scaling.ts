/**
 * Factors of gradients between backward and update: clipping to a norm, as in
 * `clip_grad_norm_`, and dynamic loss scaling for float16 (Micikevicius et al.,
 * arXiv:1710.03740) with the constants of `torch.amp.GradScaler`.
 *
 * @module
 */

import { aten, type Tensor, tensor, tensorScope } from "../tensor/mod.ts";

/** `‖gradients‖₂` of a flat tensor, as a scalar tensor. */
export function gradientNorm(gradients: Tensor): Tensor {
  using scope = tensorScope();
  return scope.keep(aten.sqrt(aten.sum(aten.mul(gradients, gradients))));
}

/**
 * Multiplies a flat tensor of gradients by `factor`, and by `min(1, maxNorm /
 * (norm + 1e-6))`, which clips it to `maxNorm`; `norm` is its norm after
 * `factor`. A `maxNorm` of 0 does not clip.
 */
export function scaleGradients(
  gradients: Tensor,
  options: {
    readonly norm: number;
    readonly maxNorm: number;
    readonly factor: number;
  },
): void {
  const { norm, maxNorm, factor } = options;
  const clip = maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1;
  if (clip * factor === 1) return;
  using _scope = tensorScope();
  aten.mul_(gradients, tensor(clip * factor, { device: gradients.device }));
}

/** The constants of `torch.amp.GradScaler`. */
export const GRAD_SCALER = {
  initialScale: 65536,
  growthFactor: 2,
  backoffFactor: 0.5,
  growthInterval: 2000,
} as const;

/** The state that a checkpoint has to save. */
export interface LossScalerState {
  readonly scale: number;
  readonly goodSteps: number;
}

/** Raises the scale while gradients stay finite, and halves it when they do not. */
export class LossScaler {
  #scale: number;
  #goodSteps: number;

  /** Starts at 65536, or continues from `state`. */
  constructor(state: LossScalerState = {
    scale: GRAD_SCALER.initialScale,
    goodSteps: 0,
  }) {
    this.#scale = state.scale;
    this.#goodSteps = state.goodSteps;
  }

  /** The factor of the losses. */
  get scale(): number {
    return this.#scale;
  }

  /** The state from which an equal {@linkcode LossScaler} can be made. */
  get state(): LossScalerState {
    return { scale: this.#scale, goodSteps: this.#goodSteps };
  }

  /** Updates the scale after a step; `isFinite` says whether its gradients were finite. */
  update(finite: boolean): void {
    this.#goodSteps = finite ? this.#goodSteps + 1 : 0;
    if (!finite) this.#scale *= GRAD_SCALER.backoffFactor;
    if (this.#goodSteps === GRAD_SCALER.growthInterval) {
      this.#scale *= GRAD_SCALER.growthFactor;
      this.#goodSteps = 0;
    }
  }
}
