/**
 * What a GGUF file says about its model, read and checked: numbers by the names of
 * llama.cpp, which begin with the architecture's.
 *
 * @module
 */

import { FileBytes } from "../formats/file_bytes.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { GgufValue } from "../formats/gguf_values.ts";
import { readStored } from "../formats/stored_tensor.ts";
import { InputError, quoted } from "../input_error.ts";

/** The model's part of a GGUF file's metadata. */
export class GgufMetadata {
  /** The file. */
  readonly file: GgufFile;
  /** What llama.cpp calls the architecture. */
  readonly architecture: string;

  /** Wraps what a file says. */
  constructor(file: GgufFile) {
    this.file = file;
    this.architecture = String(file.metadata.get("general.architecture"));
  }

  /** Refuses the file. */
  fail(reason: string): never {
    throw new InputError(`Cannot load ${quoted(this.file.path)}: ${reason}`);
  }

  /** The value of `ARCHITECTURE.KEY`. */
  value(key: string): GgufValue | undefined {
    return this.file.metadata.get(`${this.architecture}.${key}`);
  }

  /** A number that may be missing. */
  number(key: string): number | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === "number") return value;
    this.fail(
      `its ${this.architecture}.${key} is ${
        quoted(value, 60)
      }, a number is needed`,
    );
  }

  /** A number. */
  needed(key: string): number {
    return this.number(key) ??
      this.fail(`its ${this.architecture}.${key} is missing`);
  }

  /** Number of query heads, or of key heads. */
  heads(of: "queries" | "keys"): number {
    const heads = this.needed("attention.head_count");
    const count = of === "keys"
      ? this.number("attention.head_count_kv") ?? heads
      : heads;
    if (Number.isSafeInteger(count) && count > 0) return count;
    this.fail(`its number of heads is ${count}, a positive one is needed`);
  }

  /** Size of one head. */
  headSize(): number {
    const width = this.needed("embedding_length") / this.heads("queries");
    const size = this.number("attention.key_length") ?? width;
    this.#refuseOtherSize("attention.value_length", size);
    return size;
  }

  /** How much of a head is turned. */
  turnedSize(): number {
    return this.number("rope.dimension_count") ?? this.headSize();
  }

  /** Refuses heads of which only a part is turned. */
  refusePartialRotation(): void {
    this.#refuseOtherSize("rope.dimension_count", this.headSize());
  }

  #refuseOtherSize(key: string, size: number): void {
    const other = this.number(key);
    if (other === undefined || other === size) return;
    this.fail(
      `its ${this.architecture}.${key} is ${other}, only ${size}, the size of a head, is computed`,
    );
  }

  /** The id of a special token, or `null`. */
  id(role: string): number | null {
    const id = this.file.metadata.get(`tokenizer.ggml.${role}_token_id`);
    return typeof id === "number" ? id : null;
  }

  /** The numbers of the tensor `name`, which is float32; `null` when there is none. */
  floats(name: string): number[] | null {
    const stored = this.file.tensors.get(name);
    if (stored === undefined) return null;
    using file = new FileBytes(this.file.path);
    const { bytes, dtype } = readStored(file, stored);
    if (dtype === "float32") {
      return Array.from(new Float32Array(bytes.slice().buffer));
    }
    this.fail(`its ${name} is ${dtype}, float32 is needed`);
  }
}

/** The shortest decimal number that is the same in float32: 1e-5, not 9.999999747378752e-6. */
export function shortest(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
