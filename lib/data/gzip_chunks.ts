/**
 * Unpacks gzip chunk by chunk, and stops where a small file grows too large. Neither
 * Deno nor Node can do that without waiting for the chunks one by one.
 *
 * @module
 */

import pako from "npm:pako@2.1.0";
import { InputError, quoted } from "../input_error.ts";

const CHUNK_BYTES = 2 ** 15;
/** Unpacked text may always have this size. */
const ALWAYS_UNPACKED = 2 ** 26;
/** Above that size, this many times the packed one; rows of text reach 5 to 50 times. */
const MOST_GROWTH = 100;
const GZIP_MAGIC = 0x1f;

/** What is used of the package, which brings no types. */
interface Gunzip {
  /** 0 where nothing is wrong. */
  readonly err: number;
  /** Whether the end was reached. */
  readonly ended: boolean;
  onData: (chunk: Uint8Array) => void;
  push(chunk: Uint8Array, isLast: boolean): boolean;
}

/** A file of `size` bytes that is read in chunks. */
export interface Packed {
  /** Its chunks. */
  readonly read: Iterable<Uint8Array>;
  /** Its length. */
  readonly size: number;
}

/**
 * The unpacked bytes of the gzip file at `path`, of one member or several.
 *
 * @throws {InputError} when it is damaged, or unpacks to far more than it has.
 */
export function* unpacked(
  path: string,
  { read, size }: Packed,
): Generator<Uint8Array> {
  const most = Math.max(ALWAYS_UNPACKED, MOST_GROWTH * size);
  let found: Uint8Array[] = [];
  let total = 0;
  const member = (): Gunzip => {
    const gzip: Gunzip = new pako.Inflate({
      chunkSize: CHUNK_BYTES,
      windowBits: 31,
    });
    gzip.onData = (chunk: Uint8Array): void => {
      total += chunk.length;
      if (total <= most) found.push(chunk);
      else throw new InputError(growsTooMuch(path, { most, size }));
    };
    return gzip;
  };
  let gzip = member();
  for (const chunk of read) {
    if (gzip.ended) {
      // a member that ends with a chunk ends the library's work, not the file
      if (chunk[0] !== GZIP_MAGIC) break;
      gzip = member();
    }
    gzip.push(chunk, false);
    if (gzip.err !== 0) break;
    yield* found;
    found = [];
  }
  yield* found;
  if (gzip.err === 0 && gzip.ended) return;
  throw new InputError(
    `Cannot read ${quoted(path)}: it is not a whole gzip file, pack it anew`,
  );
}

function growsTooMuch(
  path: string,
  { most, size }: { readonly most: number; readonly size: number },
): string {
  const reason = most > ALWAYS_UNPACKED
    ? `, ${MOST_GROWTH} times its ${size} bytes`
    : "";
  return `Cannot read ${
    quoted(path)
  }: it unpacks to more than ${most} bytes${reason}, unpack it or split it`;
}
