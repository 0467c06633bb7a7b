/**
 * Weights as generation reads them fastest: see `lib/nn/few_rows.ts`.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { type FewRowsProduct, Linear } from "../nn/mod.ts";
import { PeftModel } from "../peft/mod.ts";

/** Weights are not copied where their copies would need more bytes than this. */
const MOST_BYTES = 2 ** 31;

/** The faster products of a model, which are in use until this is disposed. */
export class WeightCopies implements Disposable {
  readonly #products: readonly FewRowsProduct[];
  readonly #own = new DisposableStack();

  /** Uses what an outer holder has, and adds what there is not. */
  constructor(model: CausalLm) {
    const layers = [...model.namedModules()].map(([, module]) => module)
      .filter((module) => module instanceof Linear);
    for (const layer of layers) {
      const made = layer.speedUpFewRows();
      if (made !== null) this.#own.use(made);
    }
    this.#products = layers.flatMap(({ fewRows }) => fewRows ?? []);
  }

  /** Copies the weights for one row at a time, unless they are too large. */
  make(): void {
    const bytes = this.#products.reduce((sum, each) => sum + each.copyBytes, 0);
    if (bytes > MOST_BYTES) return;
    for (const product of this.#products) product.copyColumns();
  }

  /** Frees the copies that were made here. */
  [Symbol.dispose](): void {
    this.#own.dispose();
  }
}

/**
 * Keeps the copies of weights that {@linkcode generate} makes in long answers for the
 * answers that follow, until what it returns is disposed. Meanwhile the model must not
 * be trained. Copies need as much memory as the linear layers that widen their input,
 * such as a gate or a head; none are made of more than 2 GiB, of half-precision
 * weights, or on a CUDA device.
 *
 * @example
 * ```ts
 * import {
 *   AutoModelForCausalLM,
 *   generate,
 *   keepWeightCopies,
 * } from "@lorikeet/lorikeet";
 *
 * using model = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * using _copies = keepWeightCopies(model);
 * const answers = [[1, 5, 6], [1, 7]].map((prompt) => [
 *   ...generate(model, prompt, { maxNewTokens: 24, eosTokenIds: [] }),
 * ]);
 * if (answers[1]!.length !== 24) throw new Error("unexpected length");
 * ```
 */
export function keepWeightCopies(model: CausalLm | PeftModel): Disposable {
  return new WeightCopies(model instanceof PeftModel ? model.base : model);
}
