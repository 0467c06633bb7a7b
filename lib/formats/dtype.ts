/**
 * Element types by their PyTorch names, and a tensor as plain bytes: the two
 * types that file formats and libtorch tensors share.
 *
 * @module
 */

/** Bytes per element, by PyTorch's name of the type. */
export const DTYPE_BYTES = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float8_e4m3fn: 1,
  float8_e5m2: 1,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
} as const;

/** The name of an element type, as `str(tensor.dtype)` in PyTorch without `torch.`. */
export type DType = keyof typeof DTYPE_BYTES;

/**
 * A contiguous tensor in memory that does not depend on libtorch:
 * little-endian, row-major.
 */
export interface TensorData {
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the dimensions; empty for a scalar. */
  readonly shape: readonly number[];
  /** `product(shape)` elements. */
  readonly bytes: Uint8Array;
}

/** The largest number of dimensions of a tensor; libtorch's own limit. */
export const MAX_DIMENSIONS = 64;

/** The number of elements of `shape`; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((count, size) => count * size, 1);
}

/** The number of bytes of all elements of a tensor. */
export function byteLengthOf(
  tensor: Pick<TensorData, "shape" | "dtype">,
): number {
  return elementCount(tensor.shape) * DTYPE_BYTES[tensor.dtype];
}
