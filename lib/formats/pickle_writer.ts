/**
 * Writes pickles of protocol 2 that `torch.load(weights_only=True)` reads: plain
 * values, lists, tuples, dicts, and tensors whose bytes are in separate storages.
 *
 * @module
 */

import { elementCount } from "./dtype.ts";
import { PyFloat } from "./python_json.ts";
import { contiguousStrides, STORAGES } from "./tensor_pickle.ts";
import type { TensorSource } from "./tensor_source.ts";

/** A Python tuple to be written. */
export interface TorchTuple {
  /** Its items. */
  readonly tuple: readonly TorchValue[];
}

/**
 * What can be written: arrays become lists, maps dicts, {@linkcode PyFloat}
 * floats. A whole number becomes an `int`; the smallest is -2³¹.
 */
export type TorchValue =
  | null
  | boolean
  | number
  | string
  | PyFloat
  | readonly TorchValue[]
  | TorchTuple
  | ReadonlyMap<string | number, TorchValue>
  | TensorSource;

/**
 * The pickle of `root`; `keyOf` names each tensor's storage.
 */
export function writePickle(
  root: TorchValue,
  keyOf: (tensor: TensorSource) => string,
): Uint8Array {
  const bytes: number[] = [0x80, 2]; // protocol 2
  const push = (value: TorchValue): void => {
    if (value === null) bytes.push(0x4e);
    else if (typeof value === "boolean") bytes.push(value ? 0x88 : 0x89);
    else if (typeof value === "string") pushText(bytes, value);
    else if (value instanceof PyFloat) pushFloat(bytes, value.value);
    else if (typeof value === "number") pushNumber(bytes, value);
    else if (value instanceof Map) {
      bytes.push(0x7d, 0x28); // {, mark
      for (const [key, item] of value) {
        push(key);
        push(item);
      }
      bytes.push(0x75); // set items
    } else if (Array.isArray(value)) {
      bytes.push(0x5d, 0x28); // [, mark
      value.forEach(push);
      bytes.push(0x65); // append items
    } else if ("tuple" in value) {
      bytes.push(0x28); // mark
      value.tuple.forEach(push);
      bytes.push(0x74); // tuple
    } else {
      const tensor = value as TensorSource;
      pushTensor(bytes, tensor, keyOf(tensor));
    }
  };
  push(root);
  bytes.push(0x2e); // stop
  return Uint8Array.from(bytes);
}

/** A tensor on the CPU, without gradient, that uses the whole storage `key`. */
function pushTensor(
  bytes: number[],
  { dtype, shape }: TensorSource,
  key: string,
): void {
  const storage = STORAGES.get(dtype);
  const build = storage === undefined ? "v3" : "v2";
  pushGlobal(bytes, `torch._utils\n_rebuild_tensor_${build}\n`);
  bytes.push(0x28, 0x28);
  pushText(bytes, "storage");
  pushGlobal(
    bytes,
    `torch${
      storage === undefined ? ".storage\nUntypedStorage" : `\n${storage}`
    }\n`,
  );
  pushText(bytes, key);
  pushText(bytes, "cpu");
  // of an untyped storage the number of bytes; its types have one byte an element
  pushInteger(bytes, elementCount(shape));
  bytes.push(0x74, 0x51); // tuple, persistent id
  pushInteger(bytes, 0);
  pushIntegers(bytes, shape);
  pushIntegers(bytes, contiguousStrides(shape));
  bytes.push(0x89); // requires_grad is False
  pushGlobal(bytes, "collections\nOrderedDict\n");
  bytes.push(0x29, 0x52); // (), call
  if (storage === undefined) pushGlobal(bytes, `torch\n${dtype}\n`);
  bytes.push(0x74, 0x52); // tuple, call
}

function pushNumber(bytes: number[], value: number): void {
  if (Number.isSafeInteger(value)) pushInteger(bytes, value);
  else pushFloat(bytes, value);
}

/** Floats are the only big-endian values in a pickle. */
function pushFloat(bytes: number[], value: number): void {
  const cell = new DataView(new ArrayBuffer(8));
  cell.setFloat64(0, value);
  bytes.push(0x47, ...new Uint8Array(cell.buffer));
}

function pushText(bytes: number[], text: string): void {
  const encoded = new TextEncoder().encode(text);
  bytes.push(0x58);
  pushLittleEndian(bytes, encoded.length, 4);
  bytes.push(...encoded);
}

function pushGlobal(bytes: number[], lines: string): void {
  bytes.push(0x63, ...new TextEncoder().encode(lines));
}

function pushIntegers(bytes: number[], values: readonly number[]): void {
  bytes.push(0x28);
  for (const value of values) pushInteger(bytes, value);
  bytes.push(0x74);
}

function pushInteger(bytes: number[], value: number): void {
  if (value < 0) {
    bytes.push(0x4a);
    pushLittleEndian(bytes, value + 2 ** 32, 4);
  } else if (value < 0x100) bytes.push(0x4b, value);
  else if (value < 0x10000) {
    bytes.push(0x4d);
    pushLittleEndian(bytes, value, 2);
  } else if (value < 0x80000000) {
    bytes.push(0x4a);
    pushLittleEndian(bytes, value, 4);
  } else {
    bytes.push(0x8a, 8);
    pushLittleEndian(bytes, value, 8);
  }
}

function pushLittleEndian(bytes: number[], value: number, count: number): void {
  let rest = value;
  for (let index = 0; index < count; index++) {
    bytes.push(rest % 256);
    rest = Math.floor(rest / 256);
  }
}
