/**
 * The error for everything a user can put right: flags, data, files, folders.
 * Commands print its message without a stack trace and exit with its code.
 *
 * @module
 */

/** Options of {@linkcode InputError}. */
export interface InputErrorOptions extends ErrorOptions {
  /** Exit code for a command: 1, or 2 for flags as argparse does. Default 1. */
  readonly exitCode?: 1 | 2;
}

/**
 * What a user gave cannot be used; the message is one clear sentence.
 *
 * @example
 * ```ts
 * import { InputError } from "@lorikeet/lorikeet";
 *
 * const error = new InputError('Cannot read "rows.jsonl": line 3 is not JSON');
 * if (error.exitCode !== 1) throw new Error("unexpected exit code");
 * ```
 */
export class InputError extends Error {
  /** The class's name, as messages show it. */
  override readonly name = "InputError";
  /** Exit code for a command. */
  readonly exitCode: 1 | 2;

  /** Makes an error with `message` and, for flags, exit code 2. */
  constructor(message: string, options: InputErrorOptions = {}) {
    super(message, options);
    this.exitCode = options.exitCode ?? 1;
  }
}
