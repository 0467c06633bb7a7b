/**
 * Turns a stored tensor into a libtorch tensor: a view of the mapped file if its
 * bytes can be used unchanged; a copy if they are packed, strided or not aligned.
 *
 * @module
 */

import { type DType, DTYPE_BYTES } from "../formats/dtype.ts";
import { FileBytes } from "../formats/file_bytes.ts";
import { type PackedTensor, unpackInto } from "../formats/packed_blocks.ts";
import { readStored, type StoredTensor } from "../formats/stored_tensor.ts";
import {
  aten,
  type Device,
  empty,
  fromData,
  full,
  MappedFile,
  type Tensor,
  tensorScope,
  to,
} from "../tensor/mod.ts";

/** The wanted form of a stored tensor. */
export interface StoredTensorOptions {
  /** The files that are mapped already, by path; new ones are added. */
  readonly files: Map<string, MappedFile>;
  /** The wanted type. */
  readonly dtype: DType;
  /** The wanted device. */
  readonly device: Device;
}

/** `stored` in the wanted type, on the wanted device. */
export function storedTensor(
  stored: StoredTensor,
  options: StoredTensorOptions,
): Tensor {
  using scope = tensorScope();
  const { dtype, device } = options;
  const tensor = asStored(stored, options.files);
  const rows = stored.interleavedHeads === undefined
    ? tensor
    : halvesOf(tensor, stored.interleavedHeads);
  const plain = stored.added === undefined
    ? rows
    : to(rows, { dtype: "float32" }).add(full([1], { value: -stored.added }));
  return scope.keep(to(plain, { dtype, device }));
}

/** Rows that are interleaved in each head are put into two halves. */
function halvesOf(tensor: Tensor, heads: number): Tensor {
  const [rows = 0, ...rest] = tensor.shape;
  // [heads, headSize / 2, 2, …] → [heads, 2, headSize / 2, …]
  const pairs = aten.reshape(tensor, [heads, rows / heads / 2, 2, ...rest]);
  return aten.reshape(aten.transpose(pairs, 1, 2), tensor.shape);
}

function asStored(
  stored: StoredTensor,
  files: Map<string, MappedFile>,
): Tensor {
  const { offset, strides, shape, packing } = stored;
  if (packing !== undefined) return unpacked({ ...stored, packing });
  const isAligned = offset % DTYPE_BYTES[stored.dtype] === 0;
  const [rows = 0, columns = 0] = shape;
  const isTransposed = shape.length === 2 && strides?.join() === `1,${rows}`;
  if (!isAligned || strides !== undefined && !isTransposed) {
    using file = new FileBytes(stored.file);
    return fromData(readStored(file, stored));
  }
  const file = mapped(stored.file, files);
  if (!isTransposed) return file.tensor(offset, stored);
  const turned = file.tensor(offset, { ...stored, shape: [columns, rows] });
  return aten.contiguous(aten.t(turned));
}

/** Unpacked directly on the device. */
function unpacked(stored: StoredTensor & PackedTensor): Tensor {
  using file = new FileBytes(stored.file);
  const made = empty(stored.shape, { dtype: "float32" });
  const bytes = made.unsafeBytes();
  const numbers = new Float32Array(
    bytes.buffer,
    bytes.byteOffset,
    bytes.length / 4,
  );
  unpackInto(file, stored, numbers);
  return made;
}

function mapped(path: string, files: Map<string, MappedFile>): MappedFile {
  const known = files.get(path);
  if (known !== undefined) return known;
  const file = new MappedFile(path);
  files.set(path, file);
  return file;
}
