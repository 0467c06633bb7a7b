/**
 * Files of rows for a test, and what readExamples says is wrong with them.
 *
 * @module
 */

import { readExamples } from "../../lib/data/read_examples.ts";
import { InputError } from "../../lib/input_error.ts";

/** A file as text or bytes. */
export type Content = string | Uint8Array<ArrayBuffer>;

/** Calls `use` with the path of a file that lasts as long. */
export function withFile<T>(
  name: string,
  content: Content,
  use: (path: string) => T,
): T {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/${name}`;
    const bytes = typeof content === "string"
      ? new TextEncoder().encode(content)
      : content;
    Deno.writeFileSync(path, bytes);
    return use(path);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** The lines of the message after the first, without the path. */
export function problems(
  name: string,
  content: Content,
  shape = "auto",
): string[] {
  return withFile(name, content, (path) => {
    try {
      readExamples(path, { shape });
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      const [, ...lines] = error.message.split("\n");
      return lines.map((line) => line.replace(`${path}:`, ""));
    }
    throw new Error("nothing was refused");
  });
}
