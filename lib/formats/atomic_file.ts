/**
 * Writing files so that nobody ever sees half of one: bytes go to a temporary
 * neighbour, reach the disk, and take the final name in one rename.
 *
 * @module
 */

import { systemReason } from "./file_info.ts";
import { InputError, quoted } from "../input_error.ts";

/**
 * Writes `content` to `path`; the old file stays whole until the new one is.
 *
 * @throws {InputError} with the file system's reason, such as a full disk; the
 * temporary file is removed then.
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

/** A neighbour of `path` that no other process writes. */
function temporaryOf(path: string): string {
  return path.replace(/[^/]*$/, (name) => `.${name}.lorikeet-${Deno.pid}.tmp`);
}

/** Whether `name` is that of a file that a killed process had not yet finished. */
export function isTemporary(name: string): boolean {
  return /^\..+\.lorikeet-\d+\.tmp$/.test(name);
}

/**
 * The error to throw where the file system would not write `path`: a full disk or
 * a folder that may not be written is for the user to put right. Any other error
 * is given back as it is.
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
