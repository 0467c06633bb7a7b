/**
 * The norm of all gradients, and clipping to it as `clip_grad_norm_` does.
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
