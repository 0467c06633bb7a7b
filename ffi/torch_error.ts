/**
 * The only class for errors that libtorch reports, with libtorch's own message.
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

  /** Makes an error that names the failed `call` and gives libtorch's `reason`. */
  constructor(readonly call: string, reason: string) {
    super(`Cannot call ${call}: ${reason}`);
  }

  /** Whether memory ran out, on the CPU or on a CUDA device. */
  get outOfMemory(): boolean {
    return /out of memory|can't allocate memory|not enough memory/i
      .test(this.message);
  }
}
