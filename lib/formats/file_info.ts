/**
 * Whether a file or folder exists, with the operating system's reason when this
 * cannot be found out.
 *
 * @module
 */

/**
 * Errors that mean "there is nothing": no such file, a file instead of a
 * folder, a loop of links, a name too long or with a null character.
 */
const MISSING: ReadonlySet<unknown> = new Set([
  "ENOENT",
  "ENOTDIR",
  "ELOOP",
  "ENAMETOOLONG",
  "EINVAL",
]);

/**
 * The file or folder at `path`, or `null` when there is none. A name that is too
 * long or has a null character is the name of nothing.
 */
export function fileInfo(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && MISSING.has(error.code)) {
      return null;
    }
    throw error;
  }
}

/** Whether there is a file at `path`. */
export function isFile(path: string): boolean {
  return fileInfo(path)?.isFile ?? false;
}

/**
 * The operating system's reason in the error of a file operation, such as
 * "permission denied"; undefined for other errors.
 */
export function systemReason(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const reason = /^(.*?) \(os error \d+\)/.exec(error.message)?.[1];
  return reason && `${reason[0]?.toLowerCase()}${reason.slice(1)}`;
}
