/**
 * Numbers packed in blocks, as ggml quantises them: a few bits each with scales
 * beside them. Unpacked they are float32, the same bits as ggml makes of them.
 *
 * @module
 */

import { elementCount } from "./dtype.ts";
import type { FileBytes } from "./file_bytes.ts";

/** ggml's name of a way to pack. */
export type Packing = keyof typeof PACKINGS;

/** Reads the block at byte `at` into `out` from `to` on. */
type Unpack = (block: DataView, out: Float32Array, place: Place) => void;

interface Place {
  readonly at: number;
  readonly to: number;
}

/** Numbers in a block, its bytes, and how it is read. */
export const PACKINGS = {
  Q4_0: { numbers: 32, bytes: 18, unpack: nibbles({ shift: 8 }) },
  Q4_1: { numbers: 32, bytes: 20, unpack: nibbles({ hasLeast: true }) },
  Q5_0: {
    numbers: 32,
    bytes: 22,
    unpack: nibbles({ hasFifth: true, shift: 16 }),
  },
  Q5_1: {
    numbers: 32,
    bytes: 24,
    unpack: nibbles({ hasFifth: true, hasLeast: true }),
  },
  Q8_0: { numbers: 32, bytes: 34, unpack: unpackQ8 },
  Q2_K: { numbers: 256, bytes: 84, unpack: unpackQ2K },
  Q3_K: { numbers: 256, bytes: 110, unpack: unpackQ3K },
  Q4_K: { numbers: 256, bytes: 144, unpack: unpackQ4K },
  Q5_K: { numbers: 256, bytes: 176, unpack: unpackQ5K },
  Q6_K: { numbers: 256, bytes: 210, unpack: unpackQ6K },
} as const satisfies Record<
  string,
  { readonly numbers: number; readonly bytes: number; readonly unpack: Unpack }
>;

/** A tensor in a file whose numbers are packed. */
export interface PackedTensor {
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Sizes of the dimensions; the last is a multiple of a block's numbers. */
  readonly shape: readonly number[];
  /** How its numbers are packed. */
  readonly packing: Packing;
}

/** The bytes that the blocks of a tensor take. */
export function packedLength(
  { shape, packing }: Omit<PackedTensor, "offset">,
): number {
  const { numbers, bytes } = PACKINGS[packing];
  return elementCount(shape) / numbers * bytes;
}

const BLOCKS_AT_ONCE = 2 ** 14;

/**
 * Unpacks `tensor` of the open `file` into `out`, which has room for its elements.
 *
 * @throws {InputError} when the file ends before the tensor does.
 */
export function unpackInto(
  file: FileBytes,
  tensor: PackedTensor,
  out: Float32Array,
): void {
  const { numbers, bytes, unpack } = PACKINGS[tensor.packing];
  const blocks = out.length / numbers;
  for (let first = 0; first < blocks; first += BLOCKS_AT_ONCE) {
    const count = Math.min(BLOCKS_AT_ONCE, blocks - first);
    const packed = file.read(tensor.offset + first * bytes, count * bytes);
    const view = new DataView(packed.buffer);
    for (let block = 0; block < count; block++) {
      unpack(view, out, { at: block * bytes, to: (first + block) * numbers });
    }
  }
}

/**
 * Four bits each, the lower halves of the bytes first: `scale * (bits - shift)`, or
 * `scale * bits + least`; the fifth bits, where there are any, lie in one word before.
 */
function nibbles(
  form: { shift?: number; hasLeast?: boolean; hasFifth?: boolean },
): Unpack {
  const { shift = 0, hasLeast = false, hasFifth = false } = form;
  return (block, out, { at, to }) => {
    const scale = block.getFloat16(at, true);
    const least = hasLeast ? block.getFloat16(at + 2, true) : 0;
    const word = at + (hasLeast ? 4 : 2);
    const fifth = hasFifth ? block.getUint32(word, true) : 0;
    const bits = word + (hasFifth ? 4 : 0);
    for (let i = 0; i < 16; i++) {
      const byte = block.getUint8(bits + i);
      const low = (byte & 15) | (fifth >>> i & 1) << 4;
      const high = byte >> 4 | (fifth >>> i + 16 & 1) << 4;
      // without `least` nothing is added: -0 + 0 would be 0
      out[to + i] = hasLeast ? scale * low + least : scale * (low - shift);
      out[to + i + 16] = hasLeast
        ? scale * high + least
        : scale * (high - shift);
    }
  };
}

function unpackQ8(block: DataView, out: Float32Array, { at, to }: Place): void {
  const scale = block.getFloat16(at, true);
  for (let i = 0; i < 32; i++) out[to + i] = scale * block.getInt8(at + 2 + i);
}

/** Sixteen groups of 16: a scale and a least of four bits each in a byte. */
function unpackQ2K(
  block: DataView,
  out: Float32Array,
  { at, to }: Place,
): void {
  const scale = block.getFloat16(at + 80, true);
  const least = block.getFloat16(at + 82, true);
  for (let i = 0; i < 256; i++) {
    const group = block.getUint8(at + (i >> 4));
    const byte = block.getUint8(at + 16 + (i >> 7) * 32 + i % 32);
    const bits = byte >> 2 * (i >> 5 & 3) & 3;
    out[to + i] = scale * (group & 15) * bits - least * (group >> 4);
  }
}

/** Sixteen groups of 16 with scales of six bits; a high bit that is 0 takes four away. */
function unpackQ3K(
  block: DataView,
  out: Float32Array,
  { at, to }: Place,
): void {
  const scale = block.getFloat16(at + 108, true);
  for (let i = 0; i < 256; i++) {
    const group = i >> 4;
    const low = block.getUint8(at + 96 + group % 8) >> 4 * (group >> 3) & 15;
    const high = block.getUint8(at + 104 + group % 4) >> 2 * (group >> 2) & 3;
    const byte = block.getUint8(at + 32 + (i >> 7) * 32 + i % 32);
    const bits = byte >> 2 * (i >> 5 & 3) & 3;
    const isHigh = block.getUint8(at + i % 32) >> (i >> 5) & 1;
    out[to + i] = scale * ((low | high << 4) - 32) * (bits - 4 * (1 - isHigh));
  }
}

/** The scale and the least of one of eight groups, six bits each, in twelve bytes from `at` on. */
function scaleAndLeast(
  block: DataView,
  at: number,
  group: number,
): [number, number] {
  const byte = (index: number): number => block.getUint8(at + index);
  if (group < 4) return [byte(group) & 63, byte(group + 4) & 63];
  return [
    byte(group + 4) & 15 | byte(group - 4) >> 2 & 48,
    byte(group + 4) >> 4 | byte(group) >> 2 & 48,
  ];
}

function unpackQ4K(
  block: DataView,
  out: Float32Array,
  { at, to }: Place,
): void {
  const scale = block.getFloat16(at, true);
  const least = block.getFloat16(at + 2, true);
  for (let group = 0; group < 8; group++) {
    const [factor, less] = scaleAndLeast(block, at + 4, group);
    const bits = at + 16 + (group >> 1) * 32;
    const shift = 4 * (group & 1);
    for (let i = 0; i < 32; i++) {
      const value = block.getUint8(bits + i) >> shift & 15;
      out[to + group * 32 + i] = scale * factor * value - least * less;
    }
  }
}

function unpackQ5K(
  block: DataView,
  out: Float32Array,
  { at, to }: Place,
): void {
  const scale = block.getFloat16(at, true);
  const least = block.getFloat16(at + 2, true);
  for (let group = 0; group < 8; group++) {
    const [factor, less] = scaleAndLeast(block, at + 4, group);
    const bits = at + 48 + (group >> 1) * 32;
    const shift = 4 * (group & 1);
    for (let i = 0; i < 32; i++) {
      const fifth = block.getUint8(at + 16 + i) >> group & 1;
      const value = block.getUint8(bits + i) >> shift & 15 | fifth << 4;
      out[to + group * 32 + i] = scale * factor * value - least * less;
    }
  }
}

/** Sixteen groups of 16 with signed scales of eight bits. */
function unpackQ6K(
  block: DataView,
  out: Float32Array,
  { at, to }: Place,
): void {
  const scale = block.getFloat16(at + 208, true);
  for (let i = 0; i < 256; i++) {
    const half = i >> 7;
    const quarter = i >> 5 & 3;
    const byte = block.getUint8(at + half * 64 + (quarter & 1) * 32 + i % 32);
    const low = byte >> 4 * (quarter >> 1) & 15;
    const high = block.getUint8(at + 128 + half * 32 + i % 32) >> 2 * quarter &
      3;
    const factor = block.getInt8(at + 192 + (i >> 4));
    out[to + i] = scale * factor * ((low | high << 4) - 32);
  }
}
