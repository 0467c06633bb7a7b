/**
 * Files mapped into memory: weights are read by the page when they are first
 * used, shared between processes, and never copied on a CPU. The price: a page
 * that another process cuts off while it is in use ends this one (SIGBUS), so
 * whoever uses a map asks `assertUnchanged()` before each piece of work.
 *
 * @module
 */

import { InputError, quoted } from "../lib/input_error.ts";
import { systemReason } from "../lib/formats/file_info.ts";
import { libraries } from "./library.ts";

const PROT_READ = 1;
const MAP_PRIVATE = 2;
const MAP_FAILED = 0xffffffffffffffffn;

/** A file in memory, for reading; unmapped when disposed. */
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
      // What was mapped was opened by its name a second time.
      if (!isSame(this.#opened, Deno.statSync(path))) throw changed(path);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /**
   * The address of the `length` bytes from `offset` on.
   *
   * @throws {InputError} when the file has fewer, or is not as it was when it was mapped.
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
   * Makes sure that the file still is what was mapped. A file that takes its name
   * by a rename does not matter: the mapped one lives on.
   *
   * @throws {InputError} when another process has cut it, or written into it.
   */
  assertUnchanged(): void {
    if (!isSame(this.#opened, this.#file.statSync())) throw changed(this.#path);
  }

  /** Gives the memory back; tensors over it must be gone. */
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

/** By device and inode the same file, by size and time of the last change the same content. */
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
