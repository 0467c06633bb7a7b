/**
 * Calls libtorch's operators: writes the arguments on a stack, calls the
 * dispatcher, checks the status it returns, and reads the results back. Calls are
 * synchronous, because the stack, grad mode and the error text belong to one
 * thread.
 *
 * @module
 */

import type { DType } from "../lib/formats/dtype.ts";
import { cString, libraries } from "./library.ts";
import {
  type ArgumentSpec,
  type HandleOwner,
  type OperatorOf,
  type OperatorSchema,
  parseSchema,
  type TensorHandle,
} from "./schema.ts";
import { TorchError } from "./torch_error.ts";

// A newer libtorch may add an argument at the end: it then reads zero, which
// means "none".
const STACK_SLOTS = 64;
const stack = new BigUint64Array(STACK_SLOTS);
const doubles = new Float64Array(stack.buffer);
const scratch = new BigUint64Array(1);
const scratchDouble = new Float64Array(scratch.buffer);
const scratchInt = new Int32Array(scratch.buffer);

let slots: Deno.PointerValue[] | undefined;
let scratchPointer: Deno.PointerValue;

function stackSlots(): Deno.PointerValue[] {
  if (slots === undefined) {
    const base = Deno.UnsafePointer.of(stack)!;
    slots = Array.from(
      stack,
      (_, index) => Deno.UnsafePointer.offset(base, index * 8),
    );
    scratchPointer = Deno.UnsafePointer.of(scratch);
  }
  return slots;
}

/**
 * Throws a {@linkcode TorchError} with libtorch's error message when `status` is
 * not zero.
 *
 * @throws {TorchError}
 */
export function check(status: number, call: string): void {
  if (status !== 0) throw new TorchError(call, lastErrorMessage());
}

function lastErrorMessage(): string {
  const { torch } = libraries();
  const pointer = torch.torch_exception_get_what_without_backtrace?.() ?? null;
  return pointer === null
    ? "libtorch printed the reason on standard error"
    : Deno.UnsafePointerView.getCString(pointer).split("\n")[0]!
      .replace(/\.$/, "");
}

/** libtorch's code for `dtype`. */
export function dtypeCode(dtype: DType): number {
  return libraries().torch[`aoti_torch_dtype_${dtype}`]();
}

/** Another handle of the tensor that `handle` refers to. */
export function newHandle(handle: TensorHandle): TensorHandle {
  stackSlots();
  const status = libraries().torch.aoti_torch_new_tensor_handle(
    handle,
    scratchPointer,
  );
  check(status, "aoti_torch_new_tensor_handle");
  return scratch[0]! as TensorHandle;
}

type Write = (slot: number, value: unknown) => void;

const WRITERS: Record<ArgumentSpec["type"], Write> = {
  "Tensor": (slot, value) => {
    const status = libraries().torch.aoti_torch_new_tensor_handle(
      (value as HandleOwner).unsafeHandle,
      stackSlots()[slot]!,
    );
    check(status, "aoti_torch_new_tensor_handle");
  },
  "Tensor[]": (slot, value) => {
    writeList(
      slot,
      value as readonly HandleOwner[],
      (owner) => newHandle(owner.unsafeHandle),
    );
  },
  "int": writeInt,
  "int[]": (slot, value) => {
    writeList(
      slot,
      value as readonly number[],
      (each) => BigInt.asUintN(64, BigInt(each)),
    );
  },
  "float": (slot, value) => {
    doubles[slot] = value as number;
  },
  "bool": (slot, value) => {
    stack[slot] = value ? 1n : 0n;
  },
  "str": (slot, value) => {
    // The call owns the text, but libtorch 2.13 never frees it: 57 bytes are lost a
    // call. Freeing it here would free it twice where libtorch does what it says.
    const text = new TextEncoder().encode(value as string);
    const status = libraries().torch.torch_new_string_handle(
      text,
      BigInt(text.length),
      stackSlots()[slot]!,
    );
    check(status, "torch_new_string_handle");
  },
  "ScalarType": (slot, value) => {
    stack[slot] = BigInt(dtypeCode(value as DType));
  },
  "Device": (slot, value) => {
    stack[slot] = value as bigint;
  },
  "MemoryFormat": writeInt,
  "Layout": writeInt,
  "Generator": writeInt,
};

function writeInt(slot: number, value: unknown): void {
  stack[slot] = BigInt.asUintN(64, BigInt(value as number));
}

function writeList<T>(
  slot: number,
  items: readonly T[],
  word: (item: T) => bigint,
): void {
  const { torch } = libraries();
  check(
    torch.torch_new_list_reserve_size(
      BigInt(items.length),
      stackSlots()[slot]!,
    ),
    "torch_new_list_reserve_size",
  );
  for (const item of items) {
    check(
      torch.torch_list_push_back(stack[slot]!, word(item)),
      "torch_list_push_back",
    );
  }
}

/**
 * An optional argument that is present is passed in an 8-byte cell, which the
 * call frees.
 */
function writeOptional(write: Write): Write {
  return (slot, value) => {
    if (value === null) {
      stack[slot] = 0n;
      return;
    }
    write(slot, value);
    const { libc } = libraries();
    const cell = libc.malloc(8n);
    libc.memcpy(cell, stack.subarray(slot, slot + 1), 8n);
    stack[slot] = Deno.UnsafePointer.value(cell);
  };
}

/** Reads one result slot; a tensor's handle is passed to `own`. */
type Read<T> = (word: bigint, own: (handle: TensorHandle) => T) => unknown;

function reader<T>(type: OperatorSchema["results"][number]): Read<T> {
  switch (type) {
    case "Tensor":
      return (word, own) => own(word as TensorHandle);
    case "Tensor[]":
      return readList;
    case "int":
      return (word) => Number(BigInt.asIntN(64, word));
    case "bool":
      return (word) => word !== 0n;
    case "float":
      return (word) => {
        scratch[0] = word;
        return scratchDouble[0]!;
      };
  }
}

function readList<T>(list: bigint, own: (handle: TensorHandle) => T): T[] {
  const { torch } = libraries();
  torch.torch_list_size(list, scratch);
  const items: T[] = [];
  for (let index = 0n, size = scratch[0]!; index < size; index++) {
    check(
      torch.torch_list_get_item(list, index, scratch),
      "torch_list_get_item",
    );
    items.push(own(scratch[0]! as TensorHandle));
  }
  torch.torch_delete_list(list);
  return items;
}

/**
 * Builds the typed function that one schema text describes. libtorch is opened at
 * its first call, not before.
 *
 * @param own wraps a returned handle in the caller's tensor type.
 * @throws {SyntaxError} when the text cannot be parsed.
 */
export function operator<const S extends string, T>(
  text: S,
  own: (handle: TensorHandle) => T,
): OperatorOf<S, T> {
  const schema = parseSchema(text);
  const call = schema.overload === ""
    ? schema.name
    : `${schema.name}.${schema.overload}`;
  const name = cString(schema.name);
  const overload = cString(schema.overload);
  const fallbacks = schema.arguments.map((each) => each.fallback);
  const writers = schema.arguments.map((each) =>
    each.optional ? writeOptional(WRITERS[each.type]) : WRITERS[each.type]
  );
  const readers = schema.results.map((type) => reader<T>(type));
  const invoke = (...values: unknown[]): unknown => {
    const { torch, version } = libraries();
    const base = stackSlots()[0]!;
    for (let slot = 0; slot < writers.length; slot++) {
      const value = values[slot];
      writers[slot]!(slot, value === undefined ? fallbacks[slot] : value);
    }
    // A call with more arguments may have left values in these slots.
    stack.fill(0n, writers.length);
    check(torch.torch_call_dispatcher(name, overload, base, version), call);
    if (readers.length === 1) return readers[0]!(stack[0]!, own);
    const results = stack.slice(0, readers.length);
    return readers.length === 0
      ? undefined
      : readers.map((read, index) => read(results[index]!, own));
  };
  return invoke as OperatorOf<S, T>;
}

/** Calls a C function that writes one 64-bit value, and returns the value. */
export function outValue(
  call: string,
  run: (out: BigUint64Array<ArrayBuffer>) => number,
): bigint {
  check(run(scratch), call);
  return scratch[0]!;
}

/** Calls a C function that writes one `int32_t`, and returns it. */
export function outInt(
  call: string,
  run: (out: BigUint64Array<ArrayBuffer>) => number,
): number {
  scratch[0] = 0n;
  check(run(scratch), call);
  return scratchInt[0]!;
}
