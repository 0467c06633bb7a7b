/**
 * readGguf against files of Python's gguf: values of each type, every type of tensor
 * to the bit; one test per way to be refused.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { FileBytes } from "../../lib/formats/file_bytes.ts";
import { ggufFileAt, readGguf } from "../../lib/formats/gguf.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { readStored } from "../../lib/formats/stored_tensor.ts";
import { errorOf, errorReading, inFolder } from "./temporary.ts";

const GGUF = "tests/fixtures/gguf";
const TYPES = `${GGUF}/types.gguf`;

for (const [name, expected] of readSafetensors(`${GGUF}/types.safetensors`)) {
  Deno.test(`readGguf and readStored give the numbers of a ${name} tensor as Python's gguf does, to the bit`, () => {
    using file = new FileBytes(TYPES);
    const stored = readGguf(TYPES).tensors.get(name);
    assert(stored !== undefined);
    assert.deepEqual(readStored(file, stored), expected);
  });
}

Deno.test("readGguf reads values of every type", () => {
  const { metadata } = readGguf(TYPES);
  const read = (name: string): unknown => metadata.get(name);
  const names = ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"];
  assert.deepEqual(
    names.map(read),
    [200, -5, 60000, -300, 4000000000, -70000, 2 ** 40, -(2 ** 40)],
  );
  assert.deepEqual(["f32", "f64", "yes", "text"].map(read), [
    Math.fround(0.1),
    0.1,
    true,
    "é日",
  ]);
  assert.deepEqual(read("texts"), ["a", "", "鹦"]);
  assert.deepEqual([...read("numbers") as Int32Array], [1, -2, 3]);
});

/** A GGUF file from its parts, numbers little-endian. */
class Builder {
  readonly #bytes: number[] = [];

  u32(value: number): this {
    return this.#add(BigInt(value), 4);
  }

  u64(value: number | bigint): this {
    return this.#add(BigInt(value), 8);
  }

  text(text: string): this {
    const bytes = new TextEncoder().encode(text);
    this.u64(bytes.length);
    this.#bytes.push(...bytes);
    return this;
  }

  /** Zeros up to a multiple of 32, then `length` bytes. */
  data(length: number): Uint8Array {
    while (this.#bytes.length % 32 !== 0) this.#bytes.push(0);
    return Uint8Array.from([
      ...this.#bytes,
      ...new Array<number>(length).fill(0),
    ]);
  }

  #add(value: bigint, width: number): this {
    for (let at = 0; at < width; at++, value >>= 8n) {
      this.#bytes.push(Number(value & 255n));
    }
    return this;
  }
}

const MAGIC = 0x46554747;

function start(tensors: number | bigint, values: number | bigint): Builder {
  return new Builder().u32(MAGIC).u32(3).u64(tensors).u64(values);
}

/** A file with one tensor. */
function oneTensor(
  shape: readonly (number | bigint)[],
  type = 0,
  offset = 0,
): Builder {
  const builder = start(1, 0).text("w").u32(shape.length);
  for (const size of shape) builder.u64(size);
  return builder.u32(type).u64(offset);
}

const REFUSED: readonly [string, () => Uint8Array, string][] = [
  [
    "no GGUF",
    () => new TextEncoder().encode("{".repeat(40)),
    'it does not start with "GGUF", it is not a GGUF file',
  ],
  [
    "a file of four bytes",
    () => new TextEncoder().encode("GGUF"),
    'it does not start with "GGUF", it is not a GGUF file',
  ],
  [
    "another version",
    () => new Builder().u32(MAGIC).u32(1).u64(0).u64(0).data(0),
    "it is of version 1, 2 and 3 are read",
  ],
  [
    "big-endian numbers",
    () => new Builder().u32(MAGIC).u32(3 << 24).u64(0).u64(0).data(0),
    "its numbers are big-endian, only little is read",
  ],
  [
    "more tensors than it has bytes",
    () => start(1n << 60n, 0).data(0),
    "it would have 1152921504606847000 tensors, for which its 32 bytes are too few",
  ],
  [
    "more values than it has bytes",
    () => start(0, 9).data(0),
    "it would have 9 values, for which its 32 bytes are too few",
  ],
  [
    "a value twice",
    () => start(0, 2).text("a").u32(4).u32(1).text("a").u32(4).u32(1).data(0),
    'it has "a" twice',
  ],
  [
    "a value of an unknown type",
    () => start(0, 1).text("a").u32(99).u64(0).data(0),
    '"a" is of the unknown type 99',
  ],
  [
    "a list of lists",
    () => start(0, 1).text("a").u32(9).u32(9).u64(1).data(0),
    '"a" is a list of lists',
  ],
  [
    "a list that is longer than the file",
    () => start(0, 1).text("a").u32(9).u32(4).u64(1n << 40n).data(0),
    "it would have 1099511627776 numbers, for which its 64 bytes are too few",
  ],
  [
    "a text that is longer than the file",
    () => start(0, 1).u64(1n << 63n).u64(0).data(0),
    "it would have 9223372036854776000 characters, for which its 64 bytes are too few",
  ],
  [
    "a flag that is neither true nor false",
    () => start(0, 1).text("a").u32(7).u32(2).data(0),
    '"a" is neither true nor false',
  ],
  [
    "an adapter",
    () => start(0, 1).text("general.type").u32(8).text("adapter").data(0),
    'it holds "adapter", a model is needed',
  ],
  [
    "one of several parts",
    () => start(0, 1).text("split.count").u32(4).u32(3).data(0),
    "it is one of 3 parts, join them with `llama-gguf-split --merge`",
  ],
  [
    "an odd alignment",
    () => start(0, 1).text("general.alignment").u32(4).u32(24).data(0),
    "its general.alignment is 24, a power of two from 8 on is needed",
  ],
  [
    "too many dimensions",
    () => oneTensor([1, 1, 1, 1, 1]).data(64),
    'tensor "w" has 5 dimensions, at most 4 are possible',
  ],
  [
    "a type that is not read",
    () => oneTensor([256], 16).data(300),
    `tensor "w" is of ggml's type 16, F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K and Q6_K are read`,
  ],
  [
    "rows that are no whole blocks",
    () => oneTensor([33, 2], 2).data(64),
    'tensor "w" has rows of 33 numbers, Q4_0 needs multiples of 32',
  ],
  [
    "a shape that no memory holds",
    () => oneTensor([1n << 40n, 1n << 40n]).data(64),
    'tensor "w" has shape [1099511627776, 1099511627776], which no memory holds',
  ],
  [
    "a tensor past its end",
    () => oneTensor([16]).data(63),
    'tensor "w" ends at byte 128 but the file has 127, the file is cut short',
  ],
  [
    "a tensor that begins elsewhere",
    () => oneTensor([1], 0, 32).data(64),
    'tensor "w" starts at byte 32 of the data where 0 is next',
  ],
  [
    "a tensor twice",
    () => {
      const two = start(2, 0);
      for (const offset of [0, 32]) {
        two.text("w").u32(1).u64(1).u32(0).u64(offset);
      }
      return two.data(64);
    },
    'it has tensor "w" twice',
  ],
];

for (const [what, content, reason] of REFUSED) {
  Deno.test(`readGguf refuses ${what}`, () => {
    assert.equal(
      errorReading(content(), readGguf),
      `Cannot load "F": ${reason}`,
    );
  });
}

Deno.test("readGguf refuses a file cut anywhere in its head or data", () => {
  const whole = Deno.readFileSync(TYPES);
  for (let length = 0; length < whole.length - 32; length += 97) {
    errorReading(whole.slice(0, length), readGguf);
  }
});

Deno.test("ggufFileAt names the file itself, or the only one in a folder without config.json", () => {
  inFolder((folder) => {
    assert.equal(ggufFileAt(TYPES), TYPES);
    assert.equal(ggufFileAt(`${folder}/none.gguf`), null);
    assert.equal(ggufFileAt(folder), null);
    Deno.writeTextFileSync(`${folder}/a.gguf`, "");
    assert.equal(ggufFileAt(folder), `${folder}/a.gguf`);
    Deno.writeTextFileSync(`${folder}/B.GGUF`, "");
    assert.equal(
      errorOf(() => ggufFileAt(folder)).replace(folder, "F"),
      'Cannot load model "F": it has 2 GGUF files ("B.GGUF", "a.gguf"), name one of them',
    );
    Deno.writeTextFileSync(`${folder}/config.json`, "{}");
    assert.equal(ggufFileAt(folder), null);
  });
});
