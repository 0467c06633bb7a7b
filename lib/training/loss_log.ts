/**
 * The sums behind the logged losses. They are saved with a checkpoint, so that a
 * resumed run reports what the uninterrupted one would.
 *
 * @module
 */

/** The sums. */
export interface LossSums {
  /** Sum of the losses of all steps. */
  readonly lossSum: number;
  /** Sum and number of the losses since the last log row. */
  readonly unlogged: { readonly sum: number; readonly count: number };
}

/** Adds up losses. */
export class LossLog {
  #total: number;
  #sum: number;
  #count: number;

  /** Starts at zero, or where `sums` left off. */
  constructor(sums: LossSums = { lossSum: 0, unlogged: { sum: 0, count: 0 } }) {
    this.#total = sums.lossSum;
    this.#sum = sums.unlogged.sum;
    this.#count = sums.unlogged.count;
  }

  /** The sums as they are. */
  get sums(): LossSums {
    return {
      lossSum: this.#total,
      unlogged: { sum: this.#sum, count: this.#count },
    };
  }

  /** Sum of the losses of all steps. */
  get total(): number {
    return this.#total;
  }

  /** Adds a loss; with `filter`, a NaN or infinite one counts as the mean so far. */
  add(loss: number, options: { readonly filter: boolean }): void {
    const known = options.filter && !Number.isFinite(loss)
      ? this.#sum / Math.max(this.#count, 1)
      : loss;
    this.#total += known;
    this.#sum += known;
    this.#count++;
  }

  /** The mean since the last row; begins a new one. */
  take(): number {
    const mean = this.#sum / this.#count;
    this.#sum = this.#count = 0;
    return mean;
  }
}
