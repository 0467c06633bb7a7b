/**
 * Dynamic loss scaling for float16 (Micikevicius et al., arXiv:1710.03740), with
 * the numbers of `torch.amp.GradScaler`.
 *
 * @module
 */

const GROWTH_FACTOR = 2;
const BACKOFF_FACTOR = 0.5;
const GROWTH_INTERVAL = 2000;

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
  constructor(state: LossScalerState = { scale: 65536, goodSteps: 0 }) {
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
    if (!finite) this.#scale *= BACKOFF_FACTOR;
    if (this.#goodSteps === GROWTH_INTERVAL) {
      this.#scale *= GROWTH_FACTOR;
      this.#goodSteps = 0;
    }
  }
}
