/**
 * Temporary folders for tests, and the messages of errors that code under test
 * throws.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";

/** Folder of the golden files. */
export const GOLDEN = new URL("../fixtures/formats/", import.meta.url).pathname;

/** Gives `use` a new folder and removes it afterwards. */
export function inFolder<T>(use: (folder: string) => T): T {
  const folder = Deno.makeTempDirSync();
  try {
    return use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** The message of the InputError that `read` throws for a file with `content`; the file's path is "F" in it. */
export function errorReading(
  content: Uint8Array | string,
  read: (path: string) => unknown,
): string {
  return inFolder((folder) => {
    const path = `${folder}/file`;
    Deno.writeFileSync(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
    return errorOf(() => read(path)).replaceAll(path, "F");
  });
}

/** The message of the InputError that `act` throws. */
export function errorOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert(error instanceof InputError, `${error} is not an InputError`);
    return error.message;
  }
  throw new Error("nothing was thrown");
}

/** Numbers in [0, 1) that are the same in every run. */
export function* seeded(seed: number): Generator<number, never> {
  for (let state = seed;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}
