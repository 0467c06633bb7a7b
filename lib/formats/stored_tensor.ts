/**
 * A tensor in a file of any format: its place, type and shape.
 *
 * @module
 */

import {
  byteLengthOf,
  type DType,
  DTYPE_BYTES,
  elementCount,
  type TensorData,
} from "./dtype.ts";
import type { FileBytes } from "./file_bytes.ts";
import { type Packing, unpackInto } from "./packed_blocks.ts";

/** A tensor in a file. */
export interface StoredTensor {
  /** Path of the file it is in. */
  readonly file: string;
  /** Number of bytes before its first element. */
  readonly offset: number;
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the dimensions; empty for a scalar. */
  readonly shape: readonly number[];
  /**
   * Distance in elements from one index to the next, by dimension, when the
   * elements are not contiguous.
   */
  readonly strides?: readonly number[];
  /** How its numbers are packed in blocks, where they are; `dtype` is what they are unpacked to. */
  readonly packing?: Packing;
  /**
   * Heads whose rows lie interleaved, the first of the one half, the first of the
   * other and so on, as llama.cpp turns neighbours; a model's rows lie half by half.
   */
  readonly interleavedHeads?: number;
  /** What was added to its numbers before they were stored. */
  readonly added?: number;
}

/**
 * The elements of `tensor` in the open `file`, unpacked and made contiguous, rows
 * in the order of the file.
 *
 * @throws {InputError} when the file ends before the tensor.
 */
export function readStored(file: FileBytes, tensor: StoredTensor): TensorData {
  const { dtype, shape, strides, offset, packing } = tensor;
  if (packing !== undefined) {
    const numbers = new Float32Array(elementCount(shape));
    unpackInto(file, { offset, shape, packing }, numbers);
    return { dtype, shape, bytes: new Uint8Array(numbers.buffer) };
  }
  const bytes = strides === undefined
    ? file.read(offset, byteLengthOf(tensor))
    : gather(file, { ...tensor, strides });
  return { dtype, shape, bytes };
}

function gather(
  file: FileBytes,
  tensor: StoredTensor & { readonly strides: readonly number[] },
): Uint8Array {
  const { shape, strides, dtype } = tensor;
  const width = DTYPE_BYTES[dtype];
  const span = shape.reduce(
    (sum, size, axis) => sum + (size - 1) * (strides[axis] ?? 0),
    1,
  );
  const source = file.read(tensor.offset, span * width);
  const target = new Uint8Array(byteLengthOf(tensor));
  const index = shape.map(() => 0);
  for (let at = 0, from = 0; at < target.length; at += width) {
    target.set(source.subarray(from * width, (from + 1) * width), at);
    // advances `index` like an odometer, the last dimension fastest
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      from += strides[axis] ?? 0;
      index[axis] = next;
      if (next < (shape[axis] ?? 0)) break;
      from -= next * (strides[axis] ?? 0);
      index[axis] = 0;
    }
  }
  return target;
}
