/**
 * Reads and writes whole safetensors files. The same tensors give the same bytes
 * as Python's `safetensors.torch.save_file`. Large files are mapped instead of
 * read, see `weights.ts`.
 *
 * @module
 */

import { writeFileAtomic } from "./atomic_file.ts";
import { compareCodePoints } from "./code_point_order.ts";
import { byteLengthOf, type DType, type TensorData } from "./dtype.ts";
import { FileBytes } from "./file_bytes.ts";
import {
  readSafetensorsHeader,
  SAFETENSORS_DTYPES,
} from "./safetensors_header.ts";
import { readStored } from "./stored_tensor.ts";
import { bytesOf, uniqueEntries } from "./tensor_source.ts";
import type { NamedTensors, TensorSource } from "./tensor_source.ts";

/** Options of {@linkcode writeSafetensors}. */
export interface WriteSafetensorsOptions {
  /**
   * Text in the header. Default `{ format: "pt" }`, without which transformers
   * may refuse the file.
   */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Reads all tensors of the safetensors file at `path` into memory.
 *
 * @throws {InputError} naming the file, the tensor and what is wrong with it.
 */
export function readSafetensors(path: string): Map<string, TensorData> {
  const header = readSafetensorsHeader(path);
  using file = new FileBytes(path);
  const tensors = new Map<string, TensorData>();
  for (const [name, tensor] of header.tensors) {
    tensors.set(name, readStored(file, tensor));
  }
  return tensors;
}

/**
 * Writes `tensors` to `path`, atomically and one tensor at a time.
 *
 * @throws {RangeError} when a tensor's bytes do not fit its shape, or a name
 *   occurs twice.
 */
export function writeSafetensors(
  path: string,
  tensors: NamedTensors,
  options: WriteSafetensorsOptions = {},
): void {
  const sorted = uniqueEntries(tensors).sort(inFileOrder);
  writeFileAtomic(path, chunks(sorted, options.metadata ?? { format: "pt" }));
}

const DTYPE_NAMES: ReadonlyMap<DType, string> = new Map(
  [...SAFETENSORS_DTYPES].map(([name, dtype]) => [dtype, name]),
);
const DTYPE_ORDER: readonly DType[] = [...SAFETENSORS_DTYPES.values()];

type Named = readonly [string, TensorSource];

/** Types with more bytes first, so that each tensor is aligned; then by name. */
function inFileOrder([left, a]: Named, [right, b]: Named): number {
  return DTYPE_ORDER.indexOf(b.dtype) - DTYPE_ORDER.indexOf(a.dtype) ||
    compareCodePoints(left, right);
}

function* chunks(
  sorted: readonly Named[],
  metadata: Readonly<Record<string, string>>,
): Generator<Uint8Array> {
  yield headerBytes(sorted, metadata);
  for (const [name, source] of sorted) yield bytesOf(name, source);
}

function headerBytes(
  sorted: readonly Named[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) {
    fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  }
  let begin = 0;
  for (const [name, source] of sorted) {
    const end = begin + byteLengthOf(source);
    const entry = {
      dtype: DTYPE_NAMES.get(source.dtype),
      shape: source.shape,
      data_offsets: [begin, end],
    };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    begin = end;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}
