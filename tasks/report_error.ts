/**
 * How a command ends after an error: an error that the user can correct is one
 * sentence; any other is printed with its stack, because it is a bug of lorikeet.
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

/** The hint for a command that was started without `deno task`: Deno names the missing flag. */
function isMissingPermission(error: unknown): error is Error {
  return error instanceof Deno.errors.NotCapable;
}

/** Prints a warning on standard error, without control characters. */
export function warn(message: string): void {
  console.error(`Warning: ${printable(message)}`);
}

/**
 * Runs a command. An error is written to standard error and sets the exit code; for
 * wrong flags, `usage` follows, which says how the command is called.
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
