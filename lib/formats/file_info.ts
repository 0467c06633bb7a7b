/**
 * Asking whether something is there, where nothing being there is an answer, and
 * the operating system's reason where it will not say.
 *
 * @module
 */

/** No such file, a file for a folder, a circle of links, a name too long, a null in it. */
const MISSING: ReadonlySet<unknown> = new Set([
  "ENOENT",
  "ENOTDIR",
  "ELOOP",
  "ENAMETOOLONG",
  "EINVAL",
]);

/**
 * What lies at `path`, or `null` when there is nothing: a name that cannot be one,
 * because it is too long or has a null character, is a name of nothing.
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
 * The operating system's reason in an error of a file operation, such as
 * "permission denied"; undefined where the error is of another kind.
 */
export function systemReason(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const reason = /^(.*?) \(os error \d+\)/.exec(error.message)?.[1];
  return reason && `${reason[0]?.toLowerCase()}${reason.slice(1)}`;
}
