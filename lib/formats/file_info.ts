/**
 * Asking whether something is there, where nothing being there is an answer.
 *
 * @module
 */

/** What lies at `path`, or `null` when there is nothing. */
export function fileInfo(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (error) {
    const isMissing = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (isMissing) return null;
    throw error;
  }
}

/** Whether there is a file at `path`. */
export function isFile(path: string): boolean {
  return fileInfo(path)?.isFile ?? false;
}
