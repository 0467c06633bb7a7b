/**
 * A file open for reading at any position: exact byte ranges, and a clear error
 * when there is no file or the range goes beyond its end.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { fileInfo, systemReason } from "./file_info.ts";
import { InputError, quoted } from "../input_error.ts";

const LFS_START = "version https://git-lfs";

/** A file open for reading; close it with `using`. */
export class FileBytes implements Disposable {
  readonly #file: Deno.FsFile;
  /** The path as given. */
  readonly path: string;
  /** Length of the file in bytes. */
  readonly size: number;

  /**
   * Opens the file at `path`.
   *
   * @throws {InputError} when there is no such file, or it is a folder.
   */
  constructor(path: string) {
    this.path = path;
    this.#file = openFile(path);
    this.size = this.#file.statSync().size;
  }

  /**
   * The `length` bytes that start at `offset`.
   *
   * @throws {InputError} when the file has fewer.
   */
  read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    if (offset < 0 || length < 0 || offset + length > this.size) {
      this.#cutShort(offset + length);
    }
    const bytes = new Uint8Array(length);
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    for (let done = 0; done < length;) {
      const count = this.#file.readSync(bytes.subarray(done));
      if (count === null) this.#cutShort(offset + length);
      else done += count;
    }
    return bytes;
  }

  /**
   * Refuses the placeholder that Git leaves for a large file that was not
   * downloaded.
   *
   * @throws {InputError} with the remedy.
   */
  refuseLfsPointer(): void {
    const start = this.read(0, Math.min(this.size, LFS_START.length));
    if (new TextDecoder().decode(start) !== LFS_START) return;
    throw new InputError(
      `Cannot load ${
        quoted(this.path)
      }: it is a Git LFS pointer, fetch the real file with \`git lfs pull\``,
    );
  }

  #cutShort(end: number): never {
    throw new InputError(
      `Cannot load ${
        quoted(this.path)
      }: byte ${end} was wanted, the file has ${this.size}`,
    );
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}

function openFile(path: string): Deno.FsFile {
  const fail = (reason: string, cause?: unknown): never => {
    throw new InputError(`Cannot load ${quoted(path)}: ${reason}`, { cause });
  };
  try {
    // checked before opening: opening a pipe would wait for a program that writes
    // into it
    const info = fileInfo(path);
    if (info === null) return fail("there is no such file");
    if (info.isDirectory) return fail("it is a folder");
    return info.isFile ? Deno.openSync(path) : fail("it is not a regular file");
  } catch (cause) {
    const reason = systemReason(cause);
    if (reason === undefined) throw cause;
    return fail(reason, cause);
  }
}

const CHUNK_BYTES = 1 << 24;

/**
 * CRC-32 of each file in `folder` that `wanted` takes, by its name.
 *
 * @throws {InputError} when one of them cannot be read.
 */
export function checksums(
  folder: string,
  wanted: (name: string) => boolean,
): Record<string, number> {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter(wanted).sort();
  return Object.fromEntries(
    names.map((name) => [name, checksum(`${folder}/${name}`)]),
  );
}

function checksum(path: string): number {
  using file = new FileBytes(path);
  let sum = 0;
  for (let at = 0; at < file.size; at += CHUNK_BYTES) {
    sum = crc32(file.read(at, Math.min(CHUNK_BYTES, file.size - at)), sum);
  }
  return sum;
}
