/**
 * Feeds damaged files to a reader and tells what was no answer: an error that is no
 * InputError, a read of more than two seconds, memory beyond twice the file.
 *
 * @module
 */

import process from "node:process";
import { InputError } from "../../lib/input_error.ts";
import { Draws } from "./mutants.ts";
import type { Subject } from "./subjects.ts";

// of the processor, so that a busy machine changes nothing
const LONGEST_SECONDS = 2;
const SPARE_BYTES = 8 * 2 ** 20;

/** Something that is wrong with a reader. */
export interface Finding {
  /** What happened, and where. */
  readonly what: string;
  /** The damaged file that made it happen. */
  readonly content: Uint8Array;
}

/** How many files to read, and which. */
export interface Hunt {
  readonly count: number;
  readonly seed: number;
}

/** Reads `count` damaged files; the findings, one for each place in the code. */
export async function hunt(
  subject: Subject,
  { count, seed }: Hunt,
): Promise<Finding[]> {
  const folder = Deno.makeTempDirSync();
  const findings = new Map<string, Finding>();
  try {
    for (const path of subject.beside ?? []) {
      Deno.copyFileSync(path, `${folder}/${path.split("/").at(-1)}`);
    }
    const good = subject.good();
    for (let index = 0; index < count; index++) {
      const draws = new Draws(seed + index * 7919);
      const content = subject.mutate(draws.of(good), draws);
      Deno.writeFileSync(`${folder}/${subject.file}`, content);
      const what = await problemOf(subject, { folder, size: content.length });
      if (what !== null) findings.set(what, { what, content });
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
  return [...findings.values()];
}

async function problemOf(
  subject: Subject,
  { folder, size }: { folder: string; size: number },
): Promise<string | null> {
  const memory = Deno.memoryUsage().external;
  const start = process.cpuUsage();
  try {
    await subject.read(folder);
  } catch (error) {
    if (!(error instanceof InputError)) return placeOf(error);
  }
  const seconds = process.cpuUsage(start).user / 1e6;
  if (seconds > LONGEST_SECONDS) return `takes ${seconds.toFixed(1)} s`;
  const grown = Deno.memoryUsage().external - memory;
  if (grown > 2 * size + SPARE_BYTES) {
    return `takes ${grown} bytes for a file of ${size}`;
  }
  return null;
}

/** The error's first line and the first place of ours in its stack. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return `throws ${error}`;
  const at = /(?:lib|ffi)\/[\w/]+\.ts:\d+/.exec(error.stack ?? "")?.[0];
  return `${error.name} at ${at}: ${
    error.message.split("\n")[0]!.slice(0, 150)
  }`;
}
