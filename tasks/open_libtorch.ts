/**
 * libtorch for a command: what fetching it tells shows on one line of a terminal,
 * which is gone afterwards, and warnings stay.
 *
 * @module
 */

import { ensureLibtorch, type Libtorch } from "../mod.ts";
import { showLine } from "./progress_bar.ts";
import { warn } from "./report_error.ts";

/** Finds and opens libtorch, fetching it first where no place has one. */
export async function openLibtorch(): Promise<Libtorch> {
  let told = false;
  try {
    return await ensureLibtorch({
      onProgress: (line) => {
        told = true;
        showLine(line);
      },
      onWarning: warn,
    });
  } finally {
    if (told && Deno.stderr.isTerminal()) showLine("");
  }
}
