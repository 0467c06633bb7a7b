/**
 * How a command ends when something is wrong: what a user can put right is told
 * in one sentence, anything else keeps its stack, since it is our mistake.
 *
 * @module
 */

import { printable } from "../lib/input_error.ts";
import { InputError, LibtorchNotFoundError, TorchError } from "../mod.ts";

/** What the command prints for `error`, and the code it exits with. */
export function reportOf(error: unknown): { text: string; exitCode: number } {
  if (error instanceof InputError) {
    return { text: error.message, exitCode: error.exitCode };
  }
  const isTold = error instanceof LibtorchNotFoundError ||
    error instanceof TorchError || isMissingPermission(error);
  if (isTold) return { text: printable(error.message), exitCode: 1 };
  const text = error instanceof Error
    ? error.stack ?? error.message
    : String(error);
  return { text: printable(text), exitCode: 1 };
}

/** `main` is a command started without its task: Deno says which flag lacks. */
function isMissingPermission(error: unknown): error is Error {
  return error instanceof Deno.errors.NotCapable;
}

/** Prints a warning on standard error, with nothing in it that a terminal obeys. */
export function warn(message: string): void {
  console.error(`Warning: ${printable(message)}`);
}

/**
 * Runs a command; what it throws is written to standard error and sets the exit
 * code. Wrong flags are followed by `usage`, how the command is called.
 */
export async function runCommand(
  main: () => Promise<void>,
  { usage }: { readonly usage?: string } = {},
): Promise<void> {
  try {
    await main();
  } catch (error) {
    const { text, exitCode } = reportOf(error);
    console.error(text);
    if (exitCode === 2 && usage !== undefined) {
      console.error(`usage: ${usage}\n--help lists the flags`);
    }
    Deno.exitCode = exitCode;
  }
}
