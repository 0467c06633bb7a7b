/**
 * The values in the head of a GGUF file, read piece by piece: nothing is allocated
 * that the file is too short for.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { FileBytes } from "./file_bytes.ts";

/** A value in a GGUF file; numbers beyond 2^53 are rounded. */
export type GgufValue =
  | number
  | boolean
  | string
  | readonly string[]
  | GgufNumbers;

/** A list of numbers; of flags as 0 and 1. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

const BOOL = 7;
const STRING = 8;
const ARRAY = 9;
/** Bytes of each type of number, and how one is read. */
const NUMBERS: ReadonlyMap<
  number,
  readonly [
    bytes: number,
    read: (view: DataView, at: number) => number,
    list: new (length: number) => GgufNumbers,
  ]
> = new Map([
  [0, [1, (view, at) => view.getUint8(at), Uint8Array]],
  [1, [1, (view, at) => view.getInt8(at), Int8Array]],
  [2, [2, (view, at) => view.getUint16(at, true), Uint16Array]],
  [3, [2, (view, at) => view.getInt16(at, true), Int16Array]],
  [4, [4, (view, at) => view.getUint32(at, true), Uint32Array]],
  [5, [4, (view, at) => view.getInt32(at, true), Int32Array]],
  [6, [4, (view, at) => view.getFloat32(at, true), Float32Array]],
  [BOOL, [1, (view, at) => view.getUint8(at), Uint8Array]],
  [10, [8, (view, at) => Number(view.getBigUint64(at, true)), Float64Array]],
  [11, [8, (view, at) => Number(view.getBigInt64(at, true)), Float64Array]],
  [12, [8, (view, at) => view.getFloat64(at, true), Float64Array]],
]);

const WINDOW = 2 ** 20;
/** The head of the largest vocabularies takes some 20 MB. */
const MAX_HEAD = 2 ** 28;

/** Reads one value after the other from the start of a file. */
export class GgufReader {
  readonly #file: FileBytes;
  readonly #decoder = new TextDecoder("utf-8", {
    fatal: true,
    ignoreBOM: true,
  });
  /** A piece of the file, and where it starts. */
  #window = new DataView(new ArrayBuffer(0));
  #start = 0;
  #at = 0;

  /** Reads the open `file`. */
  constructor(file: FileBytes) {
    this.#file = file;
  }

  /** Path of the file. */
  get path(): string {
    return this.#file.path;
  }

  /** Length of the file in bytes. */
  get size(): number {
    return this.#file.size;
  }

  /** The byte that is read next. */
  get at(): number {
    return this.#at;
  }

  /**
   * Refuses the file.
   *
   * @throws {InputError} always.
   */
  fail(reason: string, cause?: unknown): never {
    throw new InputError(`Cannot load ${quoted(this.path)}: ${reason}`, {
      cause,
    });
  }

  /** Four bytes as a number. */
  uint32(): number {
    const at = this.#take(4);
    return this.#window.getUint32(at, true);
  }

  /** Eight bytes as a number. */
  uint64(): number {
    const at = this.#take(8);
    return Number(this.#window.getBigUint64(at, true));
  }

  /** A number of `what`, each of which takes at least `bytes` in the rest of the file. */
  count(what: string, bytes: number): number {
    const count = this.uint64();
    const left = this.size - this.#at;
    if (count * bytes <= left) return count;
    this.fail(
      `it would have ${count} ${what}, for which its ${this.size} bytes are too few`,
    );
  }

  /** A text, its length before it. */
  text(): string {
    const length = this.count("characters", 1);
    const at = this.#take(length);
    const bytes = new Uint8Array(this.#window.buffer, at, length);
    try {
      return this.#decoder.decode(bytes);
    } catch (cause) {
      this.fail(`the text before byte ${this.#at} is not UTF-8`, cause);
    }
  }

  /** The value called `name`, its type before it. */
  value(name: string): GgufValue {
    const type = this.uint32();
    if (type === STRING) return this.text();
    if (type === ARRAY) return this.#list(name);
    const number = this.#number(type, name);
    if (type !== BOOL) return number;
    if (number > 1) this.fail(`${quoted(name)} is neither true nor false`);
    return number === 1;
  }

  #number(type: number, name: string): number {
    const [bytes, read] = this.#known(type, name);
    const at = this.#take(bytes);
    return read(this.#window, at);
  }

  #known(
    type: number,
    name: string,
  ): NonNullable<ReturnType<typeof NUMBERS.get>> {
    const known = NUMBERS.get(type);
    if (known === undefined) {
      this.fail(`${quoted(name)} is of the unknown type ${type}`);
    }
    return known;
  }

  #list(name: string): GgufValue {
    const type = this.uint32();
    if (type === STRING) {
      const count = this.count("texts", 8);
      const texts: string[] = [];
      for (let index = 0; index < count; index++) texts.push(this.text());
      return texts;
    }
    if (type === ARRAY) this.fail(`${quoted(name)} is a list of lists`);
    const [bytes, read, List] = this.#known(type, name);
    const list = new List(this.count("numbers", bytes));
    for (let index = 0; index < list.length; index++) {
      const at = this.#take(bytes);
      list[index] = read(this.#window, at);
    }
    return list;
  }

  /** Moves on by `count` bytes; where they start in the window, which then holds them. */
  #take(count: number): number {
    const end = this.#at + count;
    if (end > this.size) {
      this.fail(
        `its head goes on to byte ${end} but it has ${this.size}, the file is cut short`,
      );
    }
    if (end > MAX_HEAD) this.fail(`its head takes more than ${MAX_HEAD} bytes`);
    if (end > this.#start + this.#window.byteLength) {
      const length = Math.max(count, Math.min(WINDOW, this.size - this.#at));
      this.#window = new DataView(this.#file.read(this.#at, length).buffer);
      this.#start = this.#at;
    }
    const at = this.#at - this.#start;
    this.#at = end;
    return at;
  }
}
