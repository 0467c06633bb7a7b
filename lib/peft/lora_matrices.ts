/**
 * The two matrices of LoRA, drawn in peft's order.
 *
 * @module
 */

import type { LoraStart } from "../arguments/lora_settings.ts";
import { Module } from "../nn/mod.ts";
import {
  aten,
  DetachedScope,
  type Device,
  empty,
  type Tensor,
  to,
} from "../tensor/mod.ts";

/** One of the two matrices, in a module with peft's name for it. */
export class LoraMatrix extends Module {
  /** A: `[r, in]`, B: `[out, r]`; float32 whatever the type of the base weights. */
  declare weight: Tensor;
  /** Of B with `lora_bias`: `[out]`, float32. */
  declare bias: Tensor | undefined;
}

/** Where {@linkcode drawMatrices} puts A and B, and their widths. */
export interface LoraPair {
  /** Columns of A. */
  readonly inFeatures: number;
  /** Rows of B. */
  readonly outFeatures: number;
  /** A. */
  readonly lora_A: LoraMatrix;
  /** B. */
  readonly lora_B: LoraMatrix;
}

/**
 * Draws A, `[rows, in]`, and B, `[out, rows]`, in peft's order; `deviation` is that
 * of A where `kind` is `gaussian`.
 */
export function drawMatrices(
  pair: LoraPair,
  options: {
    readonly rows: number;
    readonly deviation: number;
    readonly kind: LoraStart;
    /** Whether B has a bias, `[out]`. */
    readonly hasBias?: boolean;
    readonly device: Device;
  },
): void {
  const { rows, deviation, kind, hasBias = false, device } = options;
  using scope = new DetachedScope();
  const a = empty([rows, pair.inFeatures]);
  const b = empty([pair.outFeatures, rows]);
  kaimingUniform(a);
  kaimingUniform(b);
  const bias = empty([hasBias ? pair.outFeatures : 0]);
  const bound = 1 / Math.sqrt(rows);
  aten.uniform_(bias, -bound, bound);
  if (kind === true) kaimingUniform(a);
  if (kind === "gaussian") aten.normal_(a, 0, deviation);
  if (kind !== false) {
    b.fill(0);
    bias.fill(0);
  }
  pair.lora_A.weight = scope.keep(to(a, { device }));
  pair.lora_B.weight = scope.keep(to(b, { device }));
  if (hasBias) pair.lora_B.bias = scope.keep(to(bias, { device }));
}

/** `torch.nn.init.kaiming_uniform_(weight, a=√5)`, rounded as PyTorch does. */
function kaimingUniform(weight: Tensor): void {
  const fanIn = weight.shape[1]!;
  const gain = Math.sqrt(2 / (1 + Math.sqrt(5) ** 2));
  const bound = Math.sqrt(3) * (gain / Math.sqrt(fanIn));
  aten.uniform_(weight, -bound, bound);
}
