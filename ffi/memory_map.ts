/**
 * Files mapped into memory: weights are read by the page when they are first
 * used, shared between processes, and never copied on a CPU.
 *
 * @module
 */

import { libraries } from "./library.ts";

const PROT_READ = 1;
const MAP_PRIVATE = 2;
const MAP_FAILED = 0xffffffffffffffffn;

/** A file in memory, for reading; unmapped when disposed. */
export class MemoryMap implements Disposable {
  readonly #base: Deno.PointerObject;
  readonly #length: number;
  #mapped = true;

  /**
   * Maps the whole file at `path`.
   *
   * @throws {Error} when the file cannot be opened or is empty.
   */
  constructor(path: string) {
    const { libc } = libraries();
    this.#length = Deno.statSync(path).size;
    const file = libc.open(new TextEncoder().encode(`${path}\0`), 0);
    if (file < 0) throw new Error(`Cannot open "${path}" for mapping`);
    const base = libc.mmap(
      null,
      BigInt(this.#length),
      PROT_READ,
      MAP_PRIVATE,
      file,
      0n,
    );
    libc.close(file);
    if (base === null || Deno.UnsafePointer.value(base) === MAP_FAILED) {
      throw new Error(`Cannot map "${path}" of ${this.#length} bytes`);
    }
    this.#base = base;
  }

  /** The address of byte `offset`. */
  at(offset: number): Deno.PointerObject {
    return Deno.UnsafePointer.offset(this.#base, offset)!;
  }

  /** Gives the memory back; tensors over it must be gone. */
  [Symbol.dispose](): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    libraries().libc.munmap(this.#base, BigInt(this.#length));
  }
}
