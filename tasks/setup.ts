/**
 * `deno task setup`: finds libtorch or downloads it once, opens it, and prints one
 * line about it.
 *
 * @module
 */

import { printable } from "../lib/input_error.ts";
import { openLibtorch } from "./open_libtorch.ts";
import { runCommand } from "./report_error.ts";

const HELP = `usage: deno task setup

Finds libtorch, or downloads it once with pip, and says where it is.

variables:
  LIBTORCH        folder of a libtorch to use instead
  LORIKEET_CACHE  folder for the download (default: ~/.cache/lorikeet)`;

async function main([flag]: readonly string[]): Promise<void> {
  if (flag === "--help" || flag === "-h") return console.log(HELP);
  if (flag !== undefined) {
    console.error(`unrecognized arguments: ${printable(flag)}\n${HELP}`);
    Deno.exitCode = 2;
    return;
  }
  const { version, cuda, folder } = await openLibtorch();
  console.log(`libtorch ${version} (${cuda ? "cuda" : "cpu"}) in ${folder}`);
}

if (import.meta.main) runCommand(() => main(Deno.args));
