/**
 * Opens libtorch for a command. The progress of a download is shown on one line of
 * the terminal, which is cleared afterwards; warnings stay.
 *
 * @module
 */

import { ensureLibtorch } from "../mod.ts";
import { type Libtorch, loadLibtorch } from "../lib/tensor/mod.ts";
import { showLine } from "./progress_bar.ts";
import { warn } from "./report_error.ts";

/**
 * Begins to load libtorch on another thread, so that a command can read its files
 * meanwhile. What goes wrong is reported by {@linkcode openLibtorch}.
 */
export function beginLoadingLibtorch(): void {
  loadLibtorch().catch(() => {});
}

/**
 * Finds and opens libtorch, and downloads it first when it is found nowhere. Then
 * gives the permissions in `spare` back: from here on the command can start no
 * program and do nothing else listed there, whatever is in the files that it reads.
 */
export async function openLibtorch(
  spare: readonly Deno.PermissionName[] = [],
): Promise<Libtorch> {
  let hasShown = false;
  try {
    const opened = await ensureLibtorch({
      onProgress: (line) => {
        hasShown = true;
        showLine(line);
      },
      onWarning: warn,
    });
    for (const name of spare) Deno.permissions.revokeSync({ name });
    return opened;
  } finally {
    if (hasShown && Deno.stderr.isTerminal()) showLine("");
  }
}
