/**
 * LoRA+ (Hayou et al., arXiv:2402.12354): `B` learns at a higher rate than `A`,
 * in the groups of peft's `create_loraplus_optimizer`.
 *
 * @module
 */

import type { NamedParameter } from "../nn/mod.ts";

/** The settings of LoRA+, by peft's names. */
export interface LoraPlus {
  /** The rate of `lora_B` over that of `lora_A`, such as 16. */
  readonly lrRatio: number;
  /** The rate of adapters of embeddings. Default 1e-6. */
  readonly lrEmbedding?: number;
}

/**
 * The factors of the learning rates: `lrRatio` for `lora_B` and vectors,
 * `lrEmbedding` over `learningRate` for adapters of embeddings, 1 for the others.
 *
 * @example
 * ```ts
 * import { loraPlusRates } from "@lorikeet/lorikeet/training";
 *
 * const rateOf = loraPlusRates({ lrRatio: 16 }, 1e-4);
 * const path = "model.layers.0.self_attn.q_proj.lora_B.weight";
 * if (rateOf({ path, dimensions: 2 }) !== 16) throw new Error("unexpected rate");
 * ```
 */
export function loraPlusRates(
  { lrRatio, lrEmbedding = 1e-6 }: LoraPlus,
  learningRate: number,
): (
  parameter: { readonly path: string; readonly dimensions: number },
) => number {
  return ({ path, dimensions }) => {
    if (path.includes("lora_embedding_")) {
      return learningRate === 0 ? 1 : lrEmbedding / learningRate;
    }
    return path.includes("lora_B") || dimensions === 1 ? lrRatio : 1;
  };
}

/** {@linkcode loraPlusRates} of a parameter in a tree; 1 without LoRA+. */
export function rateFactors(
  loraPlus: LoraPlus | undefined,
  learningRate: number,
): (parameter: NamedParameter) => number {
  if (loraPlus === undefined) return () => 1;
  const rateOf = loraPlusRates(loraPlus, learningRate);
  return ({ path, tensor }) =>
    rateOf({ path, dimensions: tensor.shape.length });
}
