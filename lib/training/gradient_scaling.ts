/**
 * What gradients are multiplied with between backward and update: clipping to a
 * norm as `clip_grad_norm_` does, and dynamic loss scaling for float16
 * (Micikevicius et al., arXiv:1710.03740) with the numbers of `torch.amp.GradScaler`.
 *
 * @module
 */

import { aten, type Tensor, tensor, tensorScope } from "../tensor/mod.ts";

/** `‖gradients‖₂` of a flat tensor. */
export function gradientNorm(gradients: Tensor): number {
  using _scope = tensorScope();
  return aten.sqrt(aten.sum(aten.mul(gradients, gradients))).item();
}

/**
 * Multiplies a flat tensor of gradients by `factor`, and by what brings its norm,
 * which was `norm` before, down to `maxNorm`: `min(1, maxNorm / (norm + 1e-6))`.
 * A `maxNorm` of 0 does not clip.
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

/** The numbers of `torch.amp.GradScaler`. */
export const GRAD_SCALER = {
  initialScale: 65536,
  growthFactor: 2,
  backoffFactor: 0.5,
  growthInterval: 2000,
} as const;

/** What must be saved to go on exactly. */
export interface LossScalerState {
  readonly scale: number;
  readonly goodSteps: number;
}

/** Grows the scale while gradients stay finite and halves it when they do not. */
export class LossScaler {
  #scale: number;
  #goodSteps: number;

  /** Starts at 65536, or where `state` left off. */
  constructor(state: LossScalerState = {
    scale: GRAD_SCALER.initialScale,
    goodSteps: 0,
  }) {
    this.#scale = state.scale;
    this.#goodSteps = state.goodSteps;
  }

  /** What losses are multiplied with. */
  get scale(): number {
    return this.#scale;
  }

  /** What {@linkcode LossScaler} can be made of again. */
  get state(): LossScalerState {
    return { scale: this.#scale, goodSteps: this.#goodSteps };
  }

  /** Learns whether the gradients of a step were finite. */
  update(finite: boolean): void {
    this.#goodSteps = finite ? this.#goodSteps + 1 : 0;
    if (!finite) this.#scale *= GRAD_SCALER.backoffFactor;
    if (this.#goodSteps === GRAD_SCALER.growthInterval) {
      this.#scale *= GRAD_SCALER.growthFactor;
      this.#goodSteps = 0;
    }
  }
}
