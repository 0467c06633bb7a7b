/**
 * The one error class for what libtorch refuses, with libtorch's own words.
 *
 * @module
 */

/**
 * libtorch refused a call.
 *
 * @example
 * ```ts
 * import { TorchError } from "@lorikeet/lorikeet";
 *
 * const error = new TorchError("aten::mm", "self must be a matrix");
 * if (error.message !== "Cannot call aten::mm: self must be a matrix") {
 *   throw new Error("unexpected message");
 * }
 * ```
 */
export class TorchError extends Error {
  /** The class's name, as messages show it. */
  override readonly name = "TorchError";

  /** Makes an error that says which `call` failed and libtorch's `words`. */
  constructor(readonly call: string, words: string) {
    super(`Cannot call ${call}: ${words}`);
  }

  /** Whether memory ran out, on the CPU or on a CUDA device. */
  get outOfMemory(): boolean {
    return /out of memory|can't allocate memory|not enough memory/i
      .test(this.message);
  }
}
