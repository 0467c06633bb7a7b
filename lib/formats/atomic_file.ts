/**
 * Writing files so that nobody ever sees half of one: bytes go to a temporary
 * neighbour, reach the disk, and take the final name in one rename.
 *
 * @module
 */

/**
 * Writes `content` to `path`; the old file stays whole until the new one is.
 *
 * @throws the file system's own error; the temporary file is removed then.
 */
export function writeFileAtomic(
  path: string,
  content: Uint8Array | string | Iterable<Uint8Array>,
): void {
  const temporary = `${path}.tmp-${Deno.pid}`;
  try {
    writeAndSync(temporary, content);
    Deno.renameSync(temporary, path);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // the write failed before the file existed
    }
    throw error;
  }
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
