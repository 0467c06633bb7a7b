/**
 * Files mapped into memory: weights are read page by page when they are first
 * used, shared between processes, and never copied on a CPU. The price: when
 * another process shortens the file, touching a page that is gone ends this
 * process (SIGBUS). So code that uses a map calls `assertUnchanged()` before each
 * piece of work.
 *
 * @module
 */

import { InputError, quoted } from "../lib/input_error.ts";
import { systemReason } from "../lib/formats/file_info.ts";
import { libraries } from "./library.ts";

const PROT_READ = 1;
const MAP_PRIVATE = 2;
const MADV_DONTNEED = 4;
const MAP_FAILED = 0xffffffffffffffffn;

/** A file mapped into memory for reading; unmapped when disposed. */
export class MemoryMap implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #opened: Deno.FileInfo;
  readonly #base: Deno.PointerObject;
  #mapped = true;

  /**
   * Maps the whole file at `path`.
   *
   * @throws {InputError} when the file is missing, empty or cannot be mapped.
   */
  constructor(path: string) {
    this.#path = path;
    this.#file = openFile(path);
    try {
      this.#opened = this.#file.statSync();
      this.#base = mapFile(path, this.#opened.size);
      // The map was opened by name, a second time: make sure it is the same file.
      if (!isSame(this.#opened, Deno.statSync(path))) throw changed(path);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /**
   * The address of the `length` bytes that start at `offset`.
   *
   * @throws {InputError} when the file has fewer bytes, or has changed since it
   *   was mapped.
   */
  at(offset: number, length: number): Deno.PointerObject {
    this.assertUnchanged();
    const { size } = this.#opened;
    if (offset < 0 || length < 0 || offset + length > size) {
      throw new InputError(
        `Cannot load ${quoted(this.#path)}: byte ${
          offset + length
        } was wanted, the file has ${size}`,
      );
    }
    return Deno.UnsafePointer.offset(this.#base, offset)!;
  }

  /**
   * Makes sure that the file is unchanged. A new file that replaces it by a
   * rename does no harm: the mapped file lives on.
   *
   * @throws {InputError} when another process has shortened the file or written
   *   into it.
   */
  assertUnchanged(): void {
    if (!isSame(this.#opened, this.#file.statSync())) throw changed(this.#path);
  }

  /** Takes the pages that were read out of memory; they are read again when they are used. */
  release(): void {
    const { libc } = libraries();
    libc.madvise(this.#base, BigInt(this.#opened.size), MADV_DONTNEED);
  }

  /** Unmaps the file; tensors over it must have been freed. */
  [Symbol.dispose](): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    libraries().libc.munmap(this.#base, BigInt(this.#opened.size));
    this.#file.close();
  }
}

function openFile(path: string): Deno.FsFile {
  try {
    return Deno.openSync(path);
  } catch (cause) {
    const reason = systemReason(cause);
    if (reason === undefined) throw cause;
    throw new InputError(`Cannot load ${quoted(path)}: ${reason}`, { cause });
  }
}

function mapFile(path: string, size: number): Deno.PointerObject {
  const { libc } = libraries();
  const file = libc.open(new TextEncoder().encode(`${path}\0`), 0);
  const base = file < 0
    ? null
    : libc.mmap(null, BigInt(size), PROT_READ, MAP_PRIVATE, file, 0n);
  if (file >= 0) libc.close(file);
  if (base === null || Deno.UnsafePointer.value(base) === MAP_FAILED) {
    throw new InputError(
      `Cannot load ${
        quoted(path)
      }: its ${size} bytes cannot be mapped into memory`,
    );
  }
  return base;
}

/**
 * Same device and inode: the same file. Same size and modification time: the
 * same content.
 */
function isSame(one: Deno.FileInfo, other: Deno.FileInfo): boolean {
  return one.ino === other.ino && one.dev === other.dev &&
    one.size === other.size && one.mtime?.getTime() === other.mtime?.getTime();
}

function changed(path: string): InputError {
  return new InputError(
    `Cannot go on with ${
      quoted(path)
    }: another program changed the file while it was in use, ` +
      "start again with a file that stays as it is (a new one may take its name)",
  );
}
