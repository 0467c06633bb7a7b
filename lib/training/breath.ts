/**
 * Lets signals and timers run in a loop of long computations.
 *
 * @module
 */

const YIELD_MS = 50;

/** Yields to the event loop now and then; after each round it would slow short rounds. */
export class Breath {
  #last = performance.now();

  /** Waits for signals and timers where the last time was a while ago. */
  async take(): Promise<void> {
    if (performance.now() - this.#last <= YIELD_MS) return;
    await new Promise((resolve) => setTimeout(resolve));
    this.#last = performance.now();
  }
}
