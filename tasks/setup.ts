/**
 * `deno task setup`: finds libtorch or fetches it once, opens it, and says in one
 * line which it is.
 *
 * @module
 */

import { ensureLibtorch } from "../lib/tensor/mod.ts";

/** Writes progress on standard error: over one line on a terminal, else line by line. */
function showProgress(line: string): void {
  const text = Deno.stderr.isTerminal() ? `\r\x1b[2K${line}` : `${line}\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}

async function main(): Promise<number> {
  let told = false;
  const onProgress = (line: string): void => {
    told = true;
    showProgress(line);
  };
  const endLine = (): void => {
    if (told && Deno.stderr.isTerminal()) showProgress("");
  };
  try {
    const { version, cuda, folder } = await ensureLibtorch({ onProgress });
    endLine();
    console.log(`libtorch ${version} (${cuda ? "cuda" : "cpu"}) in ${folder}`);
    return 0;
  } catch (error) {
    endLine();
    console.error((error as Error).message);
    return 1;
  }
}

if (import.meta.main) main().then(Deno.exit);
