/**
 * Writes GGUF files, llama.cpp's format: pairs of names and values, the list of
 * tensors, then their bytes, one tensor in memory at a time.
 *
 * @module
 */

import { writeFileAtomic } from "./atomic_file.ts";
import { elementCount } from "./dtype.ts";

/** A value with its type in the file. */
export type GgufTyped =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly flag: boolean }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly i32s: readonly number[] }
  | { readonly f32s: readonly number[] }
  | { readonly u8s: Uint8Array };

/** Names and values, in the order of the file. */
export type GgufPairs = readonly (readonly [string, GgufTyped])[];

/** ggml's number of each type that is written, and the bytes of a number of elements. */
const TYPES = {
  F32: [0, (count: number): number => 4 * count],
  F16: [1, (count: number): number => 2 * count],
  Q8_0: [8, (count: number): number => count / 32 * 34],
  BF16: [30, (count: number): number => 2 * count],
} as const;

/** A type of tensors that is written. */
export type GgufTensorType = keyof typeof TYPES;

/** A tensor whose bytes are made when they are written. */
export interface GgufTensor {
  /** Its name in the file. */
  readonly name: string;
  /** How its numbers are stored. */
  readonly type: GgufTensorType;
  /** Sizes of the dimensions, in PyTorch's order. */
  readonly shape: readonly number[];
  /** Its bytes; they stay valid until the next tensor is read. */
  readonly read: () => Uint8Array;
}

const ALIGNMENT = 32;
const VERSION = 3;

/**
 * Writes a GGUF file to `path`, atomically.
 *
 * @throws {InputError} with the file system's reason, such as a full disk.
 * @throws {RangeError} when a tensor's bytes do not fit its shape.
 */
export function writeGguf(
  path: string,
  { pairs, tensors }: {
    readonly pairs: GgufPairs;
    readonly tensors: readonly GgufTensor[];
  },
): void {
  writeFileAtomic(path, chunks(pairs, tensors));
}

function* chunks(
  pairs: GgufPairs,
  tensors: readonly GgufTensor[],
): Generator<Uint8Array> {
  const head = new Head();
  head.bytes(new TextEncoder().encode("GGUF"));
  head.u32(VERSION);
  head.u64(tensors.length);
  head.u64(pairs.length);
  for (const [name, value] of pairs) {
    head.text(name);
    head.value(value);
  }
  let offset = 0;
  for (const tensor of tensors) {
    head.text(tensor.name);
    head.u32(tensor.shape.length);
    for (const size of tensor.shape.toReversed()) head.u64(size);
    head.u32(TYPES[tensor.type][0]);
    head.u64(offset);
    offset += aligned(lengthOf(tensor));
  }
  head.bytes(new Uint8Array(aligned(head.length) - head.length));
  yield head.content();
  for (const tensor of tensors) {
    const bytes = tensor.read();
    const expected = lengthOf(tensor);
    if (bytes.length !== expected) {
      throw new RangeError(
        `Cannot write tensor ${tensor.name}: it has ${bytes.length} bytes, ${expected} were expected`,
      );
    }
    yield bytes;
    yield new Uint8Array(aligned(expected) - expected);
  }
}

function lengthOf({ type, shape }: GgufTensor): number {
  return TYPES[type][1](elementCount(shape));
}

function aligned(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

/** The numbers of types of values. */
const TAGS = { u32: 4, i32: 5, f32: 6, flag: 7, text: 8, list: 9 } as const;
const U8 = 0;

/** The bytes before the tensors'. */
class Head {
  #bytes = new Uint8Array(2 ** 16);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  content(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  value(value: GgufTyped): void {
    if ("u32" in value) {
      this.u32(TAGS.u32);
      this.u32(value.u32);
    } else if ("f32" in value) {
      this.u32(TAGS.f32);
      this.bytes(new Uint8Array(Float32Array.of(value.f32).buffer));
    } else if ("flag" in value) {
      this.u32(TAGS.flag);
      this.bytes(Uint8Array.of(Number(value.flag)));
    } else if ("text" in value) {
      this.u32(TAGS.text);
      this.text(value.text);
    } else this.#list(value);
  }

  #list(
    value: Exclude<
      GgufTyped,
      { u32: number } | { f32: number } | { flag: boolean } | { text: string }
    >,
  ): void {
    const start = (tag: number, count: number): void => {
      this.u32(TAGS.list);
      this.u32(tag);
      this.u64(count);
    };
    if ("texts" in value) {
      start(TAGS.text, value.texts.length);
      for (const text of value.texts) this.text(text);
    } else if ("i32s" in value) {
      start(TAGS.i32, value.i32s.length);
      this.bytes(new Uint8Array(Int32Array.from(value.i32s).buffer));
    } else if ("f32s" in value) {
      start(TAGS.f32, value.f32s.length);
      this.bytes(new Uint8Array(Float32Array.from(value.f32s).buffer));
    } else {
      start(U8, value.u8s.length);
      this.bytes(value.u8s);
    }
  }

  /** Makes room for `count` bytes; where they start. */
  #room(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#length);
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

/**
 * `numbers` packed as Q8_0, in blocks of 32 with a scale each, the same bytes as ggml's
 * reference makes.
 */
export function packQ8(numbers: Float32Array): Uint8Array {
  const blocks = numbers.length / 32;
  const bytes = new Uint8Array(blocks * 34);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    const from = block * 32;
    let largest = 0;
    for (let i = from; i < from + 32; i++) {
      largest = Math.max(largest, Math.abs(numbers[i]!));
    }
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    view.setFloat16(block * 34, scale, true);
    for (let i = 0; i < 32; i++) {
      const value = Math.fround(numbers[from + i]! * inverse);
      // halves are rounded away from zero
      const whole = Math.sign(value) * Math.round(Math.abs(value));
      view.setInt8(block * 34 + 2 + i, whole);
    }
  }
  return bytes;
}
