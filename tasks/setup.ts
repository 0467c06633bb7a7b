/**
 * `deno task setup`: finds libtorch or fetches it once, opens it, and says in one
 * line which it is.
 *
 * @module
 */

import { openLibtorch } from "./open_libtorch.ts";

async function main(): Promise<number> {
  try {
    const { version, cuda, folder } = await openLibtorch();
    console.log(`libtorch ${version} (${cuda ? "cuda" : "cpu"}) in ${folder}`);
    return 0;
  } catch (error) {
    console.error((error as Error).message);
    return 1;
  }
}

if (import.meta.main) main().then(Deno.exit);
