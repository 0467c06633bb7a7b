/**
 * A file of tensors mapped into memory: a tensor over it costs nothing until its
 * pages are read, and is never copied on a CPU.
 *
 * @module
 */

import { MemoryMap } from "../../ffi/mod.ts";
import type { DType } from "../formats/dtype.ts";
import { type Tensor, unsafeBorrow } from "./tensor.ts";

/** A mapped file; the tensors over it must be freed first. */
export class MappedFile implements Disposable {
  readonly #map: MemoryMap;

  /**
   * Maps the file at `path`.
   *
   * @throws {Error} when it cannot be opened.
   */
  constructor(path: string) {
    this.#map = new MemoryMap(path);
  }

  /** A CPU tensor over the bytes from `offset` on; it must not be written to. */
  tensor(
    offset: number,
    data: { readonly dtype: DType; readonly shape: readonly number[] },
  ): Tensor {
    return unsafeBorrow(this.#map.at(offset), data);
  }

  /** Unmaps the file. */
  [Symbol.dispose](): void {
    this.#map[Symbol.dispose]();
  }
}
