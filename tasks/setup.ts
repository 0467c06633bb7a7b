/**
 * `deno task setup`: finds libtorch or fetches it once, opens it, and says in one
 * line which it is.
 *
 * @module
 */

import { openLibtorch } from "./open_libtorch.ts";
import { runCommand } from "./report_error.ts";

async function main(): Promise<void> {
  const { version, cuda, folder } = await openLibtorch();
  console.log(`libtorch ${version} (${cuda ? "cuda" : "cpu"}) in ${folder}`);
}

if (import.meta.main) runCommand(main);
