/**
 * The header of a safetensors file: which tensors it contains and where. Makes
 * all checks of the safetensors library, and refuses a key that occurs twice; the
 * tensors' bytes are not read.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { byteLengthOf, DTYPE_BYTES, MAX_DIMENSIONS } from "./dtype.ts";
import type { DType } from "./dtype.ts";
import { FileBytes } from "./file_bytes.ts";
import { duplicateKey, parseJson } from "./json_text.ts";
import type { StoredTensor } from "./stored_tensor.ts";

/** The content of a safetensors header. */
export interface SafetensorsFile {
  /** The path as given. */
  readonly path: string;
  /** `__metadata__`, empty when there is none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The tensors in the order of the header. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** The format's names of the element types that lorikeet has, in the format's order. */
export const SAFETENSORS_DTYPES: ReadonlyMap<string, DType> = new Map([
  ["BOOL", "bool"],
  ["U8", "uint8"],
  ["I8", "int8"],
  ["F8_E5M2", "float8_e5m2"],
  ["F8_E4M3", "float8_e4m3fn"],
  ["I16", "int16"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
  ["I32", "int32"],
  ["F32", "float32"],
  ["F64", "float64"],
  ["I64", "int64"],
]);

const MAX_HEADER_BYTES = 100_000_000;

/**
 * Reads the header of the safetensors file at `path`.
 *
 * @throws {InputError} naming the file, the tensor and what is wrong with it.
 */
export function readSafetensorsHeader(path: string): SafetensorsFile {
  using file = new FileBytes(path);
  file.refuseLfsPointer();
  const start = 8 + headerLength(file);
  const header = parseHeader(path, file.read(8, start - 8));
  const metadata = readMetadata(path, header.get("__metadata__"));
  header.delete("__metadata__");
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of header) {
    tensors.set(name, readEntry(path, { name, entry, start }));
  }
  checkLayout(file, { tensors, start });
  return { path, metadata, tensors };
}

function fail(path: string, reason: string, cause?: unknown): never {
  throw new InputError(`Cannot load ${quoted(path)}: ${reason}`, { cause });
}

function headerLength(file: FileBytes): number {
  if (file.size < 8) {
    fail(
      file.path,
      `the file has ${file.size} bytes, a safetensors file at least 8, the file is cut short`,
    );
  }
  const length = new DataView(file.read(0, 8).buffer).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    fail(
      file.path,
      `its header would take ${length} bytes, at most ${MAX_HEADER_BYTES} are allowed, it is not a safetensors file`,
    );
  }
  if (8n + length > file.size) {
    fail(
      file.path,
      `the header ends at byte ${
        8n + length
      } but the file has ${file.size}, the file is cut short`,
    );
  }
  return Number(length);
}

function parseHeader(path: string, bytes: Uint8Array): Map<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(bytes);
  } catch (cause) {
    fail(path, "its header is not UTF-8, it is not a safetensors file", cause);
  }
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (cause) {
    fail(path, `its header is not JSON, ${(cause as Error).message}`, cause);
  }
  if (!isRecord(value) || !text.startsWith("{")) {
    fail(path, 'its header is not a JSON object, it must start with "{"');
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) {
    fail(
      path,
      `its header has the key ${quoted(twice)} twice, keys must differ`,
    );
  }
  return new Map(Object.entries(value));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readMetadata(path: string, value: unknown): Map<string, string> {
  if (value === undefined || value === null) return new Map();
  if (!isRecord(value)) {
    fail(path, "its __metadata__ is not an object of strings");
  }
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      fail(
        path,
        `its __metadata__ has ${quoted(text)} under ${
          quoted(key)
        }, values must be strings`,
      );
    }
    metadata.set(key, text);
  }
  return metadata;
}

interface RawEntry {
  readonly name: string;
  readonly entry: unknown;
  readonly start: number;
}

function readEntry(path: string, raw: RawEntry): StoredTensor {
  const { name, entry, start } = raw;
  const bad = (reason: string): never =>
    fail(path, `tensor ${quoted(name)} ${reason}`);
  if (!isRecord(entry)) return bad("is described by no JSON object");
  const extra = Object.keys(entry).find((key) =>
    !["dtype", "shape", "data_offsets"].includes(key)
  );
  if (extra !== undefined) return bad(`has the unknown field ${quoted(extra)}`);
  const dtype = SAFETENSORS_DTYPES.get(String(entry.dtype));
  if (dtype === undefined) {
    const known = [...SAFETENSORS_DTYPES.keys()].join(", ");
    return bad(`has dtype ${quoted(entry.dtype)}, known are ${known}`);
  }
  if (!isSizes(entry.shape)) {
    return bad(
      `has shape ${quoted(entry.shape)}, whole numbers are needed`,
    );
  }
  if (entry.shape.length > MAX_DIMENSIONS) {
    return bad(
      `has ${entry.shape.length} dimensions, at most ${MAX_DIMENSIONS} are possible`,
    );
  }
  const offsets = entry.data_offsets;
  if (!isSizes(offsets) || offsets.length !== 2) {
    return bad(
      `has data_offsets ${quoted(offsets)}, two whole numbers are needed`,
    );
  }
  const [begin = 0, end = 0] = offsets;
  if (end < begin) return bad(`ends at ${end}, before its begin ${begin}`);
  const bytes = sizeInBytes(entry.shape, dtype);
  if (!Number.isSafeInteger(bytes)) {
    return bad(`has shape [${entry.shape.join(", ")}], which no memory holds`);
  }
  if (end - begin !== bytes) {
    return bad(
      `has ${end - begin} bytes, ${dtype} of shape [${
        entry.shape.join(", ")
      }] takes ${bytes}`,
    );
  }
  const { shape } = entry;
  return { file: path, offset: start + begin, dtype, shape };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) &&
    value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** NaN when a product is too large to be exact, even if a later size is 0. */
function sizeInBytes(shape: readonly number[], dtype: DType): number {
  let bytes: number = DTYPE_BYTES[dtype];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return NaN;
  }
  return bytes;
}

function checkLayout(
  file: FileBytes,
  layout: {
    readonly tensors: ReadonlyMap<string, StoredTensor>;
    readonly start: number;
  },
): void {
  let end = layout.start;
  const sorted = [...layout.tensors].sort(([, left], [, right]) =>
    left.offset - right.offset || byteLengthOf(left) - byteLengthOf(right)
  );
  for (const [name, tensor] of sorted) {
    const { offset } = tensor;
    if (offset !== end) {
      const kind = offset > end ? "a gap" : "an overlap";
      fail(
        file.path,
        `tensor ${
          quoted(name)
        } starts at byte ${offset} where ${end} is next, ${kind} is not allowed`,
      );
    }
    end = offset + byteLengthOf(tensor);
    if (end > file.size) {
      fail(
        file.path,
        `tensor ${
          quoted(name)
        } ends at byte ${end} but the file has ${file.size}, the file is cut short`,
      );
    }
  }
  if (end !== file.size) {
    fail(
      file.path,
      `its tensors end at byte ${end} but the file has ${file.size}, bytes after the tensors are not allowed`,
    );
  }
}
