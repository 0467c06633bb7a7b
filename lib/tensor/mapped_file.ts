/**
 * A file of tensors mapped into memory: a tensor over it takes no memory until
 * its pages are read, and is never copied on a CPU.
 *
 * @module
 */

import { MemoryMap } from "../../ffi/mod.ts";
import { byteLengthOf, type DType } from "../formats/dtype.ts";
import { type Tensor, unsafeBorrow } from "./tensor.ts";

const inUse = new Set<MappedFile>();

/** A mapped file; the tensors over it must be freed first. */
export class MappedFile implements Disposable {
  readonly #map: MemoryMap;

  /**
   * Maps the file at `path`.
   *
   * @throws {InputError} when it is missing, empty or cannot be mapped.
   */
  constructor(path: string) {
    this.#map = new MemoryMap(path);
    inUse.add(this);
  }

  /**
   * A CPU tensor over the bytes that start at `offset`; it must not be written
   * to.
   *
   * @throws {InputError} when the file has fewer bytes, or has changed since it
   *   was mapped.
   */
  tensor(
    offset: number,
    data: { readonly dtype: DType; readonly shape: readonly number[] },
  ): Tensor {
    const bytes = byteLengthOf(data);
    return unsafeBorrow(this.#map.at(offset, bytes), data);
  }

  /**
   * Makes sure that no other process has shortened the file or written into it.
   *
   * @throws {InputError} naming the file, when one has.
   */
  assertUnchanged(): void {
    this.#map.assertUnchanged();
  }

  /** Takes the pages that were read out of memory; they are read again when they are used. */
  release(): void {
    this.#map.release();
  }

  /** Unmaps the file. */
  [Symbol.dispose](): void {
    inUse.delete(this);
    this.#map[Symbol.dispose]();
  }
}

/**
 * Makes sure that every mapped file is unchanged, before work that reads its
 * tensors: touching a page that has been cut off would end the process.
 *
 * @throws {InputError} naming the file that another process has changed.
 */
export function assertMappedFilesUnchanged(): void {
  for (const file of inUse) file.assertUnchanged();
}

/**
 * Takes the pages of all mapped files out of memory, after work that reads each of
 * them once.
 */
export function releaseMappedPages(): void {
  for (const file of inUse) file.release();
}
