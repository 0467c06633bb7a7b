/**
 * Encoded rows kept in a folder between runs. A file's name is the SHA-256 of
 * everything that the rows are made from, so an entry is never stale; a file that
 * is damaged or cut short is made anew. The ids stand in typed arrays, and a row
 * becomes a list only while it is used.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { quoted } from "../input_error.ts";
import { IGNORED_LABEL } from "./batch.ts";
import type { EncodedFile, EncodedFiles } from "./encoded_files.ts";
import type { PreparedRow } from "./preflight.ts";
import type { EncodedRow } from "./prompt_format.ts";

/** Where encoded rows are kept. */
export interface RowCache {
  /** The folder; its files are nobody else's. */
  readonly folder: string;
  /** What the tokenizer is made from, see {@linkcode modelFilesKey}. */
  readonly tokenizerKey: string;
  /** Encodes the rows anew, and keeps them in place of what is there. Default false. */
  readonly overwrite?: boolean;
  /** Fewer rows are not kept, they are encoded in no time. Default 2,000. */
  readonly leastRows?: number;
  /** The oldest entries are removed above this size. Default 2 GiB. */
  readonly mostBytes?: number;
}

const LEAST_ROWS = 2000;
const MOST_BYTES = 2 ** 31;
const ENDING = ".rows";
/** A file being written that is older than this was left by a run that ended early. */
const ABANDONED = 3_600_000;

/** The rows kept under `key`; `null` where there are none that are whole. */
export function keptRows(
  { folder, overwrite = false }: RowCache,
  key: string,
): EncodedFiles | null {
  if (overwrite) return null;
  const path = `${folder}/${key}${ENDING}`;
  try {
    const rows = unpacked(Deno.readFileSync(path));
    // the oldest is the one that was not used for longest
    if (rows !== null) ifAllowed(() => touch(path));
    return rows;
  } catch (error) {
    if (isOfFiles(error)) return null;
    throw error;
  }
}

/**
 * Keeps `encoded` under `key`; does nothing where there are few rows, or where labels
 * are not the ids themselves. Tells why where the folder cannot be written to, else
 * null.
 */
export function keepRows(
  cache: RowCache,
  key: string,
  encoded: EncodedFiles,
): string | null {
  const { folder, leastRows = LEAST_ROWS, mostBytes = MOST_BYTES } = cache;
  const count = encoded.files.reduce((sum, { rows }) => sum + rows.length, 0);
  if (count < leastRows) return null;
  const bytes = packed(encoded);
  if (bytes === null || bytes.length > mostBytes) return null;
  const isWritten = ifAllowed(() => {
    Deno.mkdirSync(folder, { recursive: true });
    removeOldest(folder, mostBytes - bytes.length);
    const partial = `${folder}/${key}.${crypto.randomUUID()}.partial`;
    try {
      Deno.writeFileSync(partial, bytes);
      Deno.renameSync(partial, `${folder}/${key}${ENDING}`);
    } catch (error) {
      ifAllowed(() => Deno.removeSync(partial));
      throw error;
    }
  });
  return isWritten
    ? null
    : `not kept for the next run: ${quoted(folder)} cannot be written to`;
}

/** Runs `step`, and tells whether it could; that files cannot be written is no reason to stop. */
function ifAllowed(step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    if (!isOfFiles(error)) throw error;
    return false;
  }
}

/** Whether it is an error of the file system, or of a missing permission. */
function isOfFiles(error: unknown): boolean {
  return error instanceof Error && (error.name in Deno.errors ||
    (error as { code?: unknown }).code !== undefined);
}

function touch(path: string): void {
  const now = new Date();
  Deno.utimeSync(path, now, now);
}

/** Removes the entries that were not used for longest until the rest has at most `most` bytes. */
function removeOldest(folder: string, most: number): void {
  const files = [...Deno.readDirSync(folder)].flatMap(({ name, isFile }) => {
    const path = `${folder}/${name}`;
    const isOurs = name.endsWith(ENDING) || name.endsWith(".partial");
    if (!isFile || !isOurs) return [];
    const { size, mtime } = Deno.statSync(path);
    return [{ path, size, time: mtime?.getTime() ?? 0 }];
  }).sort((one, other) => other.time - one.time);
  let total = 0;
  for (const { path, size, time } of files) {
    const isAbandoned = path.endsWith(".partial") &&
      Date.now() - time > ABANDONED;
    if (!isAbandoned) total += size;
    if (isAbandoned || total > most) ifAllowed(() => Deno.removeSync(path));
  }
}

const CUTS: readonly EncodedRow["cut"][] = [
  "nothing",
  "ending",
  "end",
  "answers",
];
const EMPTY = 4;
/** Numbers of a row: ids, uncut length, answer and trained ids, cut and emptiness. */
const NUMBERS = 5;
const MAGIC = "LKTROWS2";
const HASH_END = MAGIC.length + 32;

/** What is kept of the files besides ids and labels. */
type Meta = Omit<EncodedFiles, "files"> & {
  readonly files: readonly {
    readonly shape: string;
    readonly read: number;
    readonly rows: number;
  }[];
  readonly ids: number;
};

/**
 * Magic, SHA-256 of what follows, length of the metadata and the metadata as JSON,
 * filled up to four bytes; then five numbers for each row, the ids of all rows (all
 * int32, little-endian) and for each id one byte that says whether it is trained.
 */
function packed(encoded: EncodedFiles): Uint8Array<ArrayBuffer> | null {
  const { files, ...told } = encoded;
  const rows = files.flatMap((file) => file.rows);
  const count = rows.reduce((sum, { input_ids }) => sum + input_ids.length, 0);
  const meta: Meta = {
    ...told,
    files: files.map(({ rows, ...told }) => ({ ...told, rows: rows.length })),
    ids: count,
  };
  const json = new TextEncoder().encode(JSON.stringify(meta));
  const start = numbersStart(json.length);
  const idsAt = start + 4 * NUMBERS * rows.length;
  const bytes = new Uint8Array(idsAt + 5 * count);
  bytes.set(new TextEncoder().encode(MAGIC));
  new DataView(bytes.buffer).setUint32(HASH_END, json.length, true);
  bytes.set(json, HASH_END + 4);
  const numbers = new Int32Array(bytes.buffer, start, NUMBERS * rows.length);
  const ids = new Int32Array(bytes.buffer, idsAt, count);
  const trained = bytes.subarray(idsAt + 4 * count);
  let at = 0;
  for (const [index, row] of rows.entries()) {
    const { input_ids, labels } = row;
    for (let place = 0; place < input_ids.length; place++, at++) {
      ids[at] = input_ids[place]!;
      const label = labels[place]!;
      if (label === IGNORED_LABEL) continue;
      if (label !== input_ids[place]) return null;
      trained[at] = 1;
    }
    numbers.set([
      input_ids.length,
      row.length,
      row.answerTokens,
      row.trainedTokens,
      CUTS.indexOf(row.cut) + (row.emptyAnswer ? EMPTY : 0),
    ], NUMBERS * index);
  }
  bytes.set(hashOf(bytes), MAGIC.length);
  return bytes;
}

/** The rows in `bytes`; `null` where they are not what was written. */
function unpacked(bytes: Uint8Array<ArrayBuffer>): EncodedFiles | null {
  const magic = new TextDecoder().decode(bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC || bytes.length < HASH_END + 4) return null;
  const hash = hashOf(bytes);
  if (hash.some((byte, at) => byte !== bytes[MAGIC.length + at])) return null;
  const length = new DataView(bytes.buffer).getUint32(HASH_END, true);
  const json = bytes.subarray(HASH_END + 4, HASH_END + 4 + length);
  const { files, ids: count, ...told }: Meta = JSON.parse(
    new TextDecoder().decode(json),
  );
  const rows = files.reduce((sum, file) => sum + file.rows, 0);
  const start = numbersStart(length);
  const idsAt = start + 4 * NUMBERS * rows;
  const arrays: Arrays = {
    numbers: new Int32Array(bytes.buffer, start, NUMBERS * rows),
    ids: new Int32Array(bytes.buffer, idsAt, count),
    trained: bytes.subarray(idsAt + 4 * count),
  };
  let [row, at] = [0, 0];
  const kept = files.map(({ rows, ...told }): EncodedFile => ({
    ...told,
    rows: Array.from({ length: rows }, () => {
      const each = new KeptRow(arrays, { row: row++, at });
      at += each.ids;
      return each;
    }),
  }));
  return { ...told, files: kept };
}

function numbersStart(jsonLength: number): number {
  return Math.ceil((HASH_END + 4 + jsonLength) / 4) * 4;
}

function hashOf(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes.subarray(HASH_END)).digest();
}

interface Arrays {
  readonly numbers: Int32Array;
  readonly ids: Int32Array;
  readonly trained: Uint8Array;
}

/** A row whose ids and labels are taken from the arrays when they are asked for. */
class KeptRow implements PreparedRow {
  readonly #arrays: Arrays;
  readonly #row: number;
  readonly #at: number;

  constructor(
    arrays: Arrays,
    { row, at }: { readonly row: number; readonly at: number },
  ) {
    this.#arrays = arrays;
    this.#row = row;
    this.#at = at;
  }

  #number(which: number): number {
    return this.#arrays.numbers[NUMBERS * this.#row + which]!;
  }

  /** Number of ids. */
  get ids(): number {
    return this.#number(0);
  }

  get input_ids(): number[] {
    return Array.from(this.#arrays.ids.subarray(this.#at, this.#at + this.ids));
  }

  get labels(): number[] {
    const { trained } = this.#arrays;
    return this.input_ids.map((id, index) =>
      trained[this.#at + index] === 1 ? id : IGNORED_LABEL
    );
  }

  get length(): number {
    return this.#number(1);
  }

  get answerTokens(): number {
    return this.#number(2);
  }

  get trainedTokens(): number {
    return this.#number(3);
  }

  get cut(): EncodedRow["cut"] {
    return CUTS[this.#number(4) % EMPTY]!;
  }

  get emptyAnswer(): boolean {
    return this.#number(4) >= EMPTY;
  }
}
