/**
 * A stored tensor as one of libtorch's: a view of the mapped file where its bytes
 * are what is wanted, a copy where they are strided or lie at an odd place.
 *
 * @module
 */

import { type DType, DTYPE_BYTES } from "../formats/dtype.ts";
import { FileBytes } from "../formats/file_bytes.ts";
import { readStored, type StoredTensor } from "../formats/stored_tensor.ts";
import {
  aten,
  type Device,
  fromData,
  MappedFile,
  type Tensor,
  tensorScope,
  to,
} from "../tensor/mod.ts";

/** How a stored tensor is wanted. */
export interface StoredTensorOptions {
  /** Files that are mapped already, by path; a new one is added. */
  readonly files: Map<string, MappedFile>;
  /** The type to hold it in. */
  readonly dtype: DType;
  /** Where to hold it. */
  readonly device: Device;
}

/** `stored` in the wanted type and place. */
export function storedTensor(
  stored: StoredTensor,
  options: StoredTensorOptions,
): Tensor {
  using scope = tensorScope();
  const { dtype, device } = options;
  return scope.keep(to(asStored(stored, options.files), { dtype, device }));
}

function asStored(
  stored: StoredTensor,
  files: Map<string, MappedFile>,
): Tensor {
  const { offset, strides, shape } = stored;
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

function mapped(path: string, files: Map<string, MappedFile>): MappedFile {
  const known = files.get(path);
  if (known !== undefined) return known;
  const file = new MappedFile(path);
  files.set(path, file);
  return file;
}
