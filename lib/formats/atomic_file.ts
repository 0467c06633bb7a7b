/**
 * Writes files so that nobody ever sees an incomplete one: the bytes are written
 * to a temporary file in the same folder and to the disk, and then the file is
 * renamed.
 *
 * @module
 */

import { systemReason } from "./file_info.ts";
import { InputError, quoted } from "../input_error.ts";

/**
 * Writes `content` to `path`; an old file there stays complete until the new one
 * is.
 *
 * @throws {InputError} with the file system's reason, such as a full disk; the
 *   temporary file is removed.
 */
export function writeFileAtomic(
  path: string,
  content: Uint8Array | string | Iterable<Uint8Array>,
): void {
  const temporary = temporaryOf(path);
  try {
    writeAndSync(temporary, content);
    Deno.renameSync(temporary, path);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // the write failed before the file existed
    }
    throw writeFailure(path, error);
  }
}

/** The name of a file next to `path` that no other process writes. */
function temporaryOf(path: string): string {
  return path.replace(/[^/]*$/, (name) => `.${name}.lorikeet-${Deno.pid}.tmp`);
}

/** Whether `name` is that of a file which a killed process had not finished. */
export function isTemporary(name: string): boolean {
  return /^\..+\.lorikeet-\d+\.tmp$/.test(name);
}

/**
 * The error to throw when the file system could not write `path`. A full disk or
 * a folder without write permission becomes an {@linkcode InputError}; any other
 * error is returned unchanged.
 */
export function writeFailure(path: string, error: unknown): unknown {
  const reason = systemReason(error);
  if (reason === undefined) return error;
  return new InputError(
    `Cannot write ${quoted(path)}: ${reason}`,
    { cause: error },
  );
}

function writeAndSync(
  path: string,
  content: Uint8Array | string | Iterable<Uint8Array>,
): void {
  using file = Deno.openSync(path, {
    create: true,
    write: true,
    truncate: true,
  });
  for (const chunk of chunksOf(content)) {
    for (let offset = 0; offset < chunk.length;) {
      offset += file.writeSync(chunk.subarray(offset));
    }
  }
  file.syncSync();
}

function chunksOf(
  content: Uint8Array | string | Iterable<Uint8Array>,
): Iterable<Uint8Array> {
  if (typeof content === "string") return [new TextEncoder().encode(content)];
  return content instanceof Uint8Array ? [content] : content;
}
