/**
 * libtorch for a command: what fetching it tells shows on one line of a terminal,
 * which is gone afterwards, and warnings stay.
 *
 * @module
 */

import { ensureLibtorch } from "../mod.ts";
import type { Libtorch } from "../lib/tensor/mod.ts";
import { showLine } from "./progress_bar.ts";
import { warn } from "./report_error.ts";

/**
 * Finds and opens libtorch, fetching it first where no place has one. Then gives
 * `spare` permissions back: from here on the command cannot start a program (and
 * whatever else it lists), whatever the files that it reads make of it.
 */
export async function openLibtorch(
  spare: readonly Deno.PermissionName[] = [],
): Promise<Libtorch> {
  let told = false;
  try {
    const opened = await ensureLibtorch({
      onProgress: (line) => {
        told = true;
        showLine(line);
      },
      onWarning: warn,
    });
    for (const name of spare) Deno.permissions.revokeSync({ name });
    return opened;
  } finally {
    if (told && Deno.stderr.isTerminal()) showLine("");
  }
}
