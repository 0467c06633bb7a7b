/**
 * Input for writing a file of tensors: tensors in memory, or tensors whose type
 * and shape are known and whose bytes are made when they are written.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import { byteLengthOf } from "./dtype.ts";
import type { DType, TensorData } from "./dtype.ts";

/**
 * A tensor whose bytes are made when they are written, so that a large model is
 * saved tensor by tensor.
 */
export interface LazyTensor {
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the dimensions; empty for a scalar. */
  readonly shape: readonly number[];
  /**
   * Returns the bytes: little-endian, row-major. Called once; they stay valid
   * until the next tensor is read.
   */
  readonly read: () => Uint8Array;
}

/** A tensor to be written. */
export type TensorSource = TensorData | LazyTensor;

/** Named tensors to be written: a map, or its entries. */
export type NamedTensors = Iterable<readonly [string, TensorSource]>;

/**
 * The bytes of `source`.
 *
 * @throws {RangeError} when they are not `product(shape)` elements.
 */
export function bytesOf(name: string, source: TensorSource): Uint8Array {
  const bytes = "read" in source ? source.read() : source.bytes;
  const expected = byteLengthOf(source);
  if (bytes.length === expected) return bytes;
  throw new RangeError(
    `Cannot write tensor ${
      quoted(name)
    }: it has ${bytes.length} bytes, ${source.dtype} of shape [${
      source.shape.join(", ")
    }] takes ${expected}`,
  );
}

/**
 * The entries of `tensors`, after checking that no name occurs twice.
 *
 * @throws {RangeError} when a name occurs twice.
 */
export function uniqueEntries(
  tensors: NamedTensors,
): (readonly [string, TensorSource])[] {
  const entries = [...tensors];
  const seen = new Set<string>();
  for (const [name] of entries) {
    if (seen.has(name)) {
      throw new RangeError(
        `Cannot write tensors: ${
          quoted(name)
        } is there twice, names must differ`,
      );
    }
    seen.add(name);
  }
  return entries;
}
