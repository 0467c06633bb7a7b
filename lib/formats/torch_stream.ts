/**
 * Files of `torch.save` from before PyTorch 1.6, which
 * `_use_new_zipfile_serialization=False` still writes: pickles one after the
 * other (a magic number, a version, the machine, the object, the keys of its
 * storages), then each storage: its number of elements, and their bytes.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import type { FileBytes } from "./file_bytes.ts";
import type { PickleValue } from "./pickle.ts";
import { type PickledObjects, readObjectPickles } from "./tensor_pickle.ts";

/** At most this many bytes are read as a pickle. */
export const MAX_PICKLE_BYTES = 64 * 2 ** 20;

/** `pickle.dumps(0x1950a86a20f9469cfc6c, 2)` without its last byte. */
const START = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a];
const VERSION = 1001;

/** The content of a file. */
export interface TorchStream {
  /** The object that was saved. */
  readonly root: PickleValue;
  /** Where each storage is, by its key. */
  readonly storage: (
    key: string,
  ) => { readonly offset: number; readonly size: number } | undefined;
}

/** Whether `file` begins like such a file. */
export function isTorchStream(file: FileBytes): boolean {
  const start = file.read(0, Math.min(file.size, START.length));
  return START.every((byte, index) => start[index] === byte);
}

/**
 * Reads the object, and where its storages are; not their bytes.
 *
 * @throws {SyntaxError} when it is damaged, names code, or was written on another
 *   kind of machine.
 */
export function readTorchStream(file: FileBytes): TorchStream {
  const { objects, end, storages } = readPickles(file);
  const [, version, machine, root = null, keys] = objects;
  if (version !== VERSION) {
    throw new SyntaxError(`it has version ${version}, only ${VERSION} is read`);
  }
  if (machine instanceof Map && machine.get("little_endian") === false) {
    throw new SyntaxError("its numbers are big-endian, only little is read");
  }
  if (!Array.isArray(keys)) {
    throw new SyntaxError("it has no list of its storages, it is damaged");
  }
  const places = new Map<string, { offset: number; size: number }>();
  let offset = end;
  for (const key of keys) {
    const width = typeof key === "string" ? storages.get(key) : undefined;
    if (typeof key !== "string" || width === undefined || places.has(key)) {
      throw new SyntaxError(
        `it lists storage ${
          quoted(key)
        }, which no tensor has or which comes twice`,
      );
    }
    const size = elementsAt(file, offset) * width;
    offset += 8;
    if (offset + size > file.size) {
      throw new SyntaxError(
        `storage ${quoted(key)} ends at byte ${
          offset + size
        } but the file has ${file.size}, the file is cut short`,
      );
    }
    places.set(key, { offset, size });
    offset += size;
  }
  return { root, storage: (key) => places.get(key) };
}

/**
 * The end of the pickles is known only after reading them, so larger and larger
 * parts are tried.
 */
function readPickles(file: FileBytes): PickledObjects {
  const most = Math.min(file.size, MAX_PICKLE_BYTES);
  for (let length = 2 ** 18;; length *= 8) {
    const bytes = file.read(0, Math.min(length, most));
    try {
      return readObjectPickles(bytes, 5);
    } catch (error) {
      if (!(error instanceof SyntaxError) || length >= most) throw error;
    }
  }
}

function elementsAt(file: FileBytes, offset: number): number {
  if (offset + 8 > file.size) {
    throw new SyntaxError("its storages are missing, the file is cut short");
  }
  const { buffer } = file.read(offset, 8);
  return Number(new DataView(buffer).getBigUint64(0, true));
}
