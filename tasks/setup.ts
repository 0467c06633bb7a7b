/**
 * `deno task setup`: finds libtorch or downloads it once, opens it, and prints one
 * line about it.
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
