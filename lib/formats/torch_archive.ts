/**
 * Files of `torch.save`: a zip of raw storages and a pickle that describes the
 * tensors in them, or, from before PyTorch 1.6, pickle and storages one after the
 * other. Reads and writes a flat dict of tensors, and nested objects such as the
 * state of an optimizer. Nothing in a file is ever executed.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { writeFileAtomic } from "./atomic_file.ts";
import { byteLengthOf, DTYPE_BYTES } from "./dtype.ts";
import type { TensorData } from "./dtype.ts";
import { FileBytes } from "./file_bytes.ts";
import type { PickleValue } from "./pickle.ts";
import { type TorchValue, writePickle } from "./pickle_writer.ts";
import { readStored, type StoredTensor } from "./stored_tensor.ts";
import {
  contiguousStrides,
  readObjectPickle,
  tensorsIn,
  viewIn,
} from "./tensor_pickle.ts";
import type { TensorView } from "./tensor_pickle.ts";
import { bytesOf, uniqueEntries } from "./tensor_source.ts";
import type { NamedTensors, TensorSource } from "./tensor_source.ts";
import {
  isTorchStream,
  MAX_PICKLE_BYTES,
  readTorchStream,
} from "./torch_stream.ts";
import { readZipEntries, zipChunks } from "./zip_store.ts";
import type { ZipEntry, ZipSource } from "./zip_store.ts";

/**
 * Reads which tensors are in the torch archive at `path`, and where; not their
 * bytes.
 *
 * @throws {InputError} naming the file and what is wrong with it.
 */
export function readTorchArchiveIndex(
  path: string,
): Map<string, StoredTensor> {
  using archive = new TorchArchive(path);
  return archive.index();
}

/**
 * Reads all tensors of the torch archive at `path` into memory, contiguous.
 *
 * @throws {InputError} naming the file and what is wrong with it.
 */
export function readTorchArchive(path: string): Map<string, TensorData> {
  using archive = new TorchArchive(path);
  return new Map(
    Array.from(
      archive.index(),
      ([name, tensor]) => [name, archive.read(tensor)],
    ),
  );
}

/**
 * Views such as `tensor.expand(…)` may repeat this many bytes in one file, or as many
 * as the file has: a small file must not take up all memory.
 */
const REPEATED_BYTES = 2 ** 22;

/** Where a storage is in the file. */
type StoragePlace = Pick<ZipEntry, "offset" | "size">;

/** The object in a file, and where the storages of its tensors are. */
interface Content {
  readonly root: PickleValue;
  readonly storage: (key: string) => StoragePlace | undefined;
}

/** An open file of `torch.save`. */
export class TorchArchive implements Disposable {
  readonly #file: FileBytes;
  readonly #content: () => Content;
  #repeated = 0;

  /**
   * Opens the file at `path`.
   *
   * @throws {InputError} naming the file and what is wrong with it.
   */
  constructor(path: string) {
    this.#file = new FileBytes(path);
    try {
      this.#content = contentOf(this.#file);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The tensors in a flat dict, and where they are. */
  index(): Map<string, StoredTensor> {
    const { path } = this.#file;
    const views = parsePickle(path, () => tensorsIn(this.object()));
    this.#repeated = 0;
    return new Map(
      Array.from(views, ([name, view]) => [name, this.#place(name, view)]),
    );
  }

  /** The object in the file; {@linkcode TorchArchive.tensorIn} finds its tensors. */
  object(): PickleValue {
    return this.#content().root;
  }

  /**
   * The bytes of the tensor that `value` is, or undefined when it is not a tensor;
   * `name` is for errors.
   */
  tensorIn(
    value: PickleValue | undefined,
    name: string,
  ): TensorData | undefined {
    const view = viewIn(value);
    if (view === undefined) return undefined;
    return this.read(this.#place(name, view));
  }

  #place(name: string, view: TensorView): StoredTensor {
    const { path } = this.#file;
    const storage = this.#content().storage(view.key);
    const bytes = byteLengthOf(view);
    this.#repeated += Math.max(bytes - view.storageBytes, 0);
    const limit = Math.max(this.#file.size, REPEATED_BYTES);
    if (this.#repeated > limit) {
      fail(
        path,
        `tensor ${
          quoted(name)
        } repeats the elements of its storage to ${bytes} bytes, at most ${limit} in one file are read`,
      );
    }
    return place(path, { name, view, storage });
  }

  /** The elements of `tensor`, contiguous. */
  read(tensor: StoredTensor): TensorData {
    return readStored(this.#file, tensor);
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** Checks the form of the file at once, and reads its pickle when it is needed first. */
function contentOf(file: FileBytes): () => Content {
  let content: Content | undefined;
  if (isTorchStream(file)) {
    return () =>
      content ??= parsePickle(file.path, () => readTorchStream(file));
  }
  checkKind(file);
  const entries = readZipEntries(file);
  const root = rootOf(file, entries);
  const entry = (name: string): ZipEntry | undefined =>
    entries.get(`${root}/${name}`);
  checkByteOrder(file, entry("byteorder"));
  return () =>
    content ??= {
      root: parsePickle(
        file.path,
        () =>
          readObjectPickle(
            pickleBytes(file, entry("data.pkl"), entry("version")),
          ),
      ),
      storage: (key) => entry(`data/${key}`),
    };
}

function pickleBytes(
  file: FileBytes,
  pickle: ZipEntry | undefined,
  version: ZipEntry | undefined,
): Uint8Array {
  if (pickle === undefined || version === undefined) {
    fail(
      file.path,
      'it lacks "data.pkl" or "version", it is not a file of torch.save',
    );
  }
  if (pickle.size > MAX_PICKLE_BYTES) {
    fail(
      file.path,
      `its pickle has ${pickle.size} bytes, at most ${MAX_PICKLE_BYTES} are read`,
    );
  }
  return file.read(pickle.offset, pickle.size);
}

/**
 * Writes `tensors` to `path`, atomically and always with the same bytes, so that
 * `torch.load(path, weights_only=True)` returns them as a dict.
 *
 * @throws {RangeError} when a tensor's bytes do not fit its shape, or a name
 *   occurs twice.
 */
export function writeTorchArchive(path: string, tensors: NamedTensors): void {
  writeTorchObject(path, new Map(uniqueEntries(tensors)));
}

/**
 * Writes `object` to `path`, atomically, tensor by tensor and always with the
 * same bytes, so that `torch.load(path, weights_only=True)` returns it.
 *
 * @throws {RangeError} when a tensor's bytes do not fit its shape.
 */
export function writeTorchObject(path: string, object: TorchValue): void {
  const file = path.split(/[\\/]/).at(-1) ?? "";
  const root = file.replace(/(?<=.)\.[^.]*$/, "") || "archive";
  writeFileAtomic(path, zipChunks(records(root, object)));
}

function* records(root: string, object: TorchValue): Generator<ZipSource> {
  const text = (name: string, content: string): ZipSource => ({
    name: `${root}/${name}`,
    read: () => new TextEncoder().encode(content),
  });
  const tensors: TensorSource[] = [];
  const pickle = writePickle(
    object,
    (tensor) => String(tensors.push(tensor) - 1),
  );
  yield { name: `${root}/data.pkl`, read: () => pickle };
  yield text(".format_version", "1");
  yield text(".storage_alignment", "64");
  yield text("byteorder", "little");
  for (const [index, source] of tensors.entries()) {
    yield {
      name: `${root}/data/${index}`,
      read: () => bytesOf(String(index), source),
    };
  }
  yield text("version", "3\n");
}

function fail(path: string, reason: string, cause?: unknown): never {
  throw new InputError(`Cannot load ${quoted(path)}: ${reason}`, { cause });
}

/** The error for a file that is not a zip file. */
function checkKind(file: FileBytes): void {
  const start = file.read(0, Math.min(file.size, 300));
  const startsWith = (...bytes: number[]): boolean =>
    bytes.every((byte, index) => start[index] === byte);
  if (startsWith(0x50, 0x4b, 3, 4)) return;
  if (new TextDecoder().decode(start.subarray(257, 262)) === "ustar") {
    fail(
      file.path,
      "it is a tar file of PyTorch before 0.4, load it in Python and save it again with torch.save or as safetensors",
    );
  }
  file.refuseLfsPointer();
  fail(
    file.path,
    'it does not start with "PK", it is not a file of torch.save',
  );
}

function rootOf(
  file: FileBytes,
  entries: ReadonlyMap<string, ZipEntry>,
): string {
  const roots = new Set<string>();
  for (const name of entries.keys()) {
    const slash = name.indexOf("/");
    if (slash <= 0) {
      fail(file.path, `entry ${quoted(name)} is in no folder, it is damaged`);
    }
    roots.add(name.slice(0, slash));
  }
  const [root, ...others] = roots;
  if (root === undefined || others.length > 0) {
    fail(
      file.path,
      `it has ${roots.size} folders at the root, torch.save makes one`,
    );
  }
  return root;
}

function checkByteOrder(file: FileBytes, entry: ZipEntry | undefined): void {
  if (entry === undefined) return;
  const bytes = file.read(entry.offset, Math.min(entry.size, 16));
  const order = new TextDecoder().decode(bytes);
  if (order !== "little") {
    fail(
      file.path,
      `its byte order is ${quoted(order)}, only "little" is read`,
    );
  }
}

function parsePickle<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    fail(path, cause.message, cause);
  }
}

function place(
  path: string,
  found: {
    readonly name: string;
    readonly view: TensorView;
    readonly storage: StoragePlace | undefined;
  },
): StoredTensor {
  const { name, view, storage } = found;
  if (storage === undefined) {
    fail(
      path,
      `storage ${quoted(view.key)} of tensor ${quoted(name)} is missing`,
    );
  }
  if (storage.size !== view.storageBytes) {
    fail(
      path,
      `storage ${quoted(view.key)} of tensor ${
        quoted(name)
      } has ${storage.size} bytes, ${view.storageBytes} are needed`,
    );
  }
  const { dtype, shape, strides } = view;
  const offset = storage.offset + view.offset * DTYPE_BYTES[dtype];
  const place = { file: path, offset, dtype, shape };
  return isContiguous(view) ? place : { ...place, strides };
}

/** A dimension of size 1 may have any stride. */
function isContiguous({ shape, strides }: TensorView): boolean {
  const expected = contiguousStrides(shape);
  return shape.includes(0) ||
    shape.every((size, axis) => size === 1 || strides[axis] === expected[axis]);
}
