/**
 * Zip files without compression: finds each entry when reading, and writes
 * entries with PyTorch's alignment.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { InputError, quoted } from "../input_error.ts";
import type { FileBytes } from "./file_bytes.ts";

/** Where an entry's bytes are in the zip file. */
export interface ZipEntry {
  /** Number of bytes before the entry's first. */
  readonly offset: number;
  /** Length of the entry in bytes. */
  readonly size: number;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const MAX32 = 0xffffffff;
const MAX16 = 0xffff;
const END_BYTES = 22;
const LOCATOR64_BYTES = 20;
const END64_BYTES = 56;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const MAX_COMMENT_BYTES = 65535;

/**
 * The entries of the zip file `file` by name, with checked bounds; zip64 is
 * supported.
 *
 * @throws {InputError} when it is not a zip file, or damaged, compressed or
 *   encrypted.
 */
export function readZipEntries(file: FileBytes): Map<string, ZipEntry> {
  const directory = findDirectory(file);
  const bytes = file.read(directory.offset, directory.size);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < directory.count; index++) {
    const record = centralRecord(file, { bytes, at });
    at = record.next;
    if (entries.has(record.name)) {
      fail(file, `it has the entry ${quoted(record.name)} twice`);
    }
    const offset = dataOffset(file, record);
    if (offset + record.size > directory.offset) {
      fail(
        file,
        `entry ${quoted(record.name)} runs past the data, it is damaged`,
      );
    }
    entries.set(record.name, { offset, size: record.size });
  }
  return entries;
}

function fail(file: FileBytes, reason: string): never {
  throw new InputError(`Cannot load ${quoted(file.path)}: ${reason}`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

interface Directory {
  readonly offset: number;
  readonly size: number;
  readonly count: number;
}

function findDirectory(file: FileBytes): Directory {
  const length = Math.min(file.size, END_BYTES + MAX_COMMENT_BYTES);
  const start = file.size - length;
  const view = viewOf(file.read(start, length));
  let at = length - END_BYTES;
  while (at >= 0 && !isEnd(view, at)) at--;
  if (at < 0) {
    fail(file, "it is not a complete zip file, its directory is cut off");
  }
  const plain = {
    count: view.getUint16(at + 10, true),
    size: view.getUint32(at + 12, true),
    offset: view.getUint32(at + 16, true),
  };
  const directory = wideDirectory(file, start + at) ?? plain;
  if (directory.offset + directory.size > start + at) {
    fail(file, "its zip directory runs past the end, it is damaged");
  }
  return directory;
}

/** An end record whose comment ends exactly at the end of the file. */
function isEnd(view: DataView, at: number): boolean {
  return view.getUint32(at, true) === END &&
    at + END_BYTES + view.getUint16(at + 20, true) === view.byteLength;
}

function wideDirectory(file: FileBytes, end: number): Directory | undefined {
  if (end < LOCATOR64_BYTES) return undefined;
  const locator = viewOf(file.read(end - LOCATOR64_BYTES, LOCATOR64_BYTES));
  if (locator.getUint32(0, true) !== LOCATOR64) return undefined;
  const at = wide(file, locator, 8);
  if (at + END64_BYTES > end) {
    fail(file, "its zip64 end record is out of place");
  }
  const view = viewOf(file.read(at, END64_BYTES));
  if (view.getUint32(0, true) !== END64) {
    fail(file, "its zip64 end record is missing, it is damaged");
  }
  return {
    count: wide(file, view, 32),
    size: wide(file, view, 40),
    offset: wide(file, view, 48),
  };
}

function wide(file: FileBytes, view: DataView, at: number): number {
  const value = Number(view.getBigUint64(at, true));
  if (!Number.isSafeInteger(value)) fail(file, "a zip64 number is too large");
  return value;
}

interface CentralRecord {
  readonly name: string;
  readonly size: number;
  readonly header: number;
  readonly next: number;
}

function centralRecord(
  file: FileBytes,
  place: { readonly bytes: Uint8Array; readonly at: number },
): CentralRecord {
  const { bytes, at } = place;
  const view = viewOf(bytes);
  if (
    at + CENTRAL_BYTES > bytes.length || view.getUint32(at, true) !== CENTRAL
  ) {
    fail(file, "its zip directory is cut short, it is damaged");
  }
  const nameEnd = at + CENTRAL_BYTES + view.getUint16(at + 28, true);
  const extraEnd = nameEnd + view.getUint16(at + 30, true);
  const next = extraEnd + view.getUint16(at + 32, true);
  if (next > bytes.length) {
    fail(file, "its zip directory is cut short, it is damaged");
  }
  const name = new TextDecoder().decode(
    bytes.subarray(at + CENTRAL_BYTES, nameEnd),
  );
  if ((view.getUint16(at + 8, true) & 1) !== 0) {
    fail(file, `entry ${quoted(name)} is encrypted`);
  }
  if (view.getUint16(at + 10, true) !== 0) {
    fail(
      file,
      `entry ${quoted(name)} is compressed, torch.save stores entries`,
    );
  }
  const sizes = {
    stored: view.getUint32(at + 20, true),
    size: view.getUint32(at + 24, true),
    header: view.getUint32(at + 42, true),
  };
  const extra = bytes.subarray(nameEnd, extraEnd);
  const wideSizes = widen(file, { ...sizes, name, extra });
  if (wideSizes.stored !== wideSizes.size) {
    fail(file, `entry ${quoted(name)} has two different sizes, it is damaged`);
  }
  return { name, size: wideSizes.size, header: wideSizes.header, next };
}

interface Sizes {
  readonly stored: number;
  readonly size: number;
  readonly header: number;
}

/**
 * Reads from the zip64 field the numbers that did not fit into 32 bits: size,
 * stored size, position.
 */
function widen(
  file: FileBytes,
  record: Sizes & { readonly name: string; readonly extra: Uint8Array },
): Sizes {
  const { stored, size, header } = record;
  const field = extraField(record.extra, 1);
  let at = 0;
  const take = (value: number): number => {
    if (value !== MAX32) return value;
    if (field === undefined || at + 8 > field.byteLength) {
      fail(
        file,
        `entry ${quoted(record.name)} lacks its zip64 sizes, it is damaged`,
      );
    }
    at += 8;
    return wide(file, field, at - 8);
  };
  const wideSize = take(size);
  return { size: wideSize, stored: take(stored), header: take(header) };
}

function extraField(extra: Uint8Array, id: number): DataView | undefined {
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.length;) {
    const length = view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === id) {
      return viewOf(extra.subarray(at + 4, at + 4 + length));
    }
    at += 4 + length;
  }
  return undefined;
}

/**
 * The local header has its own name and extra fields, which determine where the
 * data begins.
 */
function dataOffset(file: FileBytes, record: CentralRecord): number {
  const view = viewOf(file.read(record.header, LOCAL_BYTES));
  if (view.getUint32(0, true) !== LOCAL) {
    fail(file, `entry ${quoted(record.name)} is not where the directory says`);
  }
  return record.header + LOCAL_BYTES + view.getUint16(26, true) +
    view.getUint16(28, true);
}

/** An entry to be written. */
export interface ZipSource {
  /** Its name in the zip file. */
  readonly name: string;
  /** Returns its bytes; called once. */
  readonly read: () => Uint8Array;
}

const ALIGNMENT = 64;
const UTF8_NAMES = 0x0800;

/** Options of {@linkcode zipChunks}. */
export interface ZipOptions {
  /**
   * The first size or position that is written as zip64. Default 4 GiB, the
   * limit of 32 bits.
   */
  readonly wideFrom?: number;
}

/**
 * The chunks of a zip file of `entries`, each aligned to 64 bytes. Dates are
 * zero, so that the same entries give the same bytes. Files beyond 4 GiB are
 * written as zip64.
 */
export function* zipChunks(
  entries: Iterable<ZipSource>,
  { wideFrom = MAX32 }: ZipOptions = {},
): Generator<Uint8Array> {
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const { name, read } of entries) {
    const bytes = read();
    const encoded = new TextEncoder().encode(name);
    const header = headers({ name: encoded, bytes, at, wideFrom });
    at += header.local.length + bytes.length;
    directory.push(header.central);
    yield header.local;
    yield bytes;
  }
  yield* directory;
  const size = directory.reduce((sum, record) => sum + record.length, 0);
  const place = { count: directory.length, size, offset: at };
  if (at + size >= wideFrom || place.count >= MAX16) yield wideEnd(place);
  yield endRecord(place, wideFrom);
}

function headers(
  entry: {
    readonly name: Uint8Array;
    readonly bytes: Uint8Array;
    readonly at: number;
    readonly wideFrom: number;
  },
): { readonly local: Uint8Array; readonly central: Uint8Array } {
  const { name, bytes, at, wideFrom } = entry;
  const isWide = bytes.length >= wideFrom;
  const size = isWide ? MAX32 : bytes.length;
  const sizes = isWide ? [bytes.length, bytes.length] : [];
  const localExtra = wideField(sizes);
  const centralExtra = wideField(at >= wideFrom ? [...sizes, at] : sizes);
  // the padding is an extra field too, of at least four bytes
  const bare = at + LOCAL_BYTES + name.length + localExtra.length + 4;
  const padding = 4 + (ALIGNMENT - bare % ALIGNMENT) % ALIGNMENT;
  const extra = LOCAL_BYTES + name.length;
  const local = new Uint8Array(extra + localExtra.length + padding).fill(0x5a);
  const central = new Uint8Array(
    CENTRAL_BYTES + name.length + centralExtra.length,
  );
  local.fill(0, 0, LOCAL_BYTES);
  const head = viewOf(local);
  head.setUint32(0, LOCAL, true);
  viewOf(central).setUint32(0, CENTRAL, true);
  head.setUint16(6, UTF8_NAMES, true);
  head.setUint32(14, crc32(bytes), true);
  head.setUint32(18, size, true);
  head.setUint32(22, size, true);
  head.setUint16(26, name.length, true);
  // the central record repeats flags to name length, with its own extra field
  central.set(local.subarray(4, 28), 6);
  viewOf(central).setUint16(30, centralExtra.length, true);
  viewOf(central).setUint32(42, at >= wideFrom ? MAX32 : at, true);
  central.set(name, CENTRAL_BYTES);
  central.set(centralExtra, CENTRAL_BYTES + name.length);
  head.setUint16(28, localExtra.length + padding, true);
  local.set(name, LOCAL_BYTES);
  local.set(localExtra, extra);
  local.set([0x46, 0x42], extra + localExtra.length);
  head.setUint16(extra + localExtra.length + 2, padding - 4, true);
  return { local, central };
}

/**
 * The zip64 extra field: the sizes and positions that did not fit into 32 bits,
 * in order.
 */
function wideField(values: readonly number[]): Uint8Array {
  if (values.length === 0) return new Uint8Array(0);
  const bytes = new Uint8Array(4 + 8 * values.length);
  const view = viewOf(bytes);
  view.setUint16(0, 1, true);
  view.setUint16(2, 8 * values.length, true);
  for (const [index, value] of values.entries()) {
    view.setBigUint64(4 + 8 * index, BigInt(value), true);
  }
  return bytes;
}

const VERSION64 = 45;

/** The zip64 end record, and the record that locates it. */
function wideEnd(directory: Directory): Uint8Array {
  const bytes = new Uint8Array(END64_BYTES + LOCATOR64_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, END64, true);
  view.setBigUint64(4, BigInt(END64_BYTES - 12), true);
  view.setUint16(12, VERSION64, true);
  view.setUint16(14, VERSION64, true);
  view.setBigUint64(24, BigInt(directory.count), true);
  view.setBigUint64(32, BigInt(directory.count), true);
  view.setBigUint64(40, BigInt(directory.size), true);
  view.setBigUint64(48, BigInt(directory.offset), true);
  view.setUint32(END64_BYTES, LOCATOR64, true);
  const end = BigInt(directory.offset + directory.size);
  view.setBigUint64(END64_BYTES + 8, end, true);
  view.setUint32(END64_BYTES + 16, 1, true);
  return bytes;
}

function endRecord(directory: Directory, wideFrom: number): Uint8Array {
  const fits = (value: number): number => value < wideFrom ? value : MAX32;
  const count = Math.min(directory.count, MAX16);
  const bytes = new Uint8Array(END_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, END, true);
  view.setUint16(8, count, true);
  view.setUint16(10, count, true);
  view.setUint32(12, fits(directory.size), true);
  view.setUint32(16, fits(directory.offset), true);
  return bytes;
}
