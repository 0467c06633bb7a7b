/**
 * Tensors in PyTorch's pickle, each a view of a storage; only names on a list are
 * allowed.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import { DTYPE_BYTES, elementCount, MAX_DIMENSIONS } from "./dtype.ts";
import type { DType } from "./dtype.ts";
import { PickleGlobal, PickleTuple, unpickle, unpickleMany } from "./pickle.ts";
import type { PickleFunction, PickleObject, PickleValue } from "./pickle.ts";

/** A tensor in a pickle: a view of a storage. */
export interface TensorView {
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the dimensions. */
  readonly shape: readonly number[];
  /** Distance in elements from one index to the next, by dimension. */
  readonly strides: readonly number[];
  /** Number of elements before the first. */
  readonly offset: number;
  /** The storage's name in the archive. */
  readonly key: string;
  /** Number of bytes that the storage must have. */
  readonly storageBytes: number;
}

interface Storage extends PickleObject {
  readonly kind: "storage";
  readonly key: string;
  /** Undefined for an untyped storage; then the tensor has the type. */
  readonly dtype: DType | undefined;
  readonly bytes: number;
}

interface PickledTensor extends PickleObject {
  readonly kind: "tensor";
  readonly view: TensorView;
}

/** PyTorch's names of storages, by element type; newer types have none. */
export const STORAGES: ReadonlyMap<DType, string> = new Map([
  ["float64", "DoubleStorage"],
  ["float32", "FloatStorage"],
  ["float16", "HalfStorage"],
  ["bfloat16", "BFloat16Storage"],
  ["int64", "LongStorage"],
  ["int32", "IntStorage"],
  ["int16", "ShortStorage"],
  ["int8", "CharStorage"],
  ["uint8", "ByteStorage"],
  ["bool", "BoolStorage"],
]);

/** Element types by the global that PyTorch names them with. */
const DTYPES_BY_GLOBAL: ReadonlyMap<string, DType> = new Map([
  ...[...STORAGES].flatMap(([dtype, storage]): [string, DType][] => [
    [`torch.${storage}`, dtype],
    [`torch.cuda.${storage}`, dtype],
  ]),
  ...(Object.keys(DTYPE_BYTES) as DType[]).map((
    dtype,
  ): [string, DType] => [`torch.${dtype}`, dtype]),
]);

const GLOBALS: ReadonlyMap<string, PickleFunction | null> = new Map<
  string,
  PickleFunction | null
>([
  ...[...DTYPES_BY_GLOBAL.keys()].map((name) => [name, null] as const),
  ["torch.storage.UntypedStorage", null],
  ["collections.OrderedDict", orderedDict],
  ["torch.Size", ([size]) => size ?? null],
  ["torch._utils._rebuild_tensor", (args) => rebuildTensor(args, undefined)],
  ["torch._utils._rebuild_tensor_v2", (args) => rebuildTensor(args, undefined)],
  ["torch._utils._rebuild_tensor_v3", (args) => rebuildTensor(args, args[6])],
  ["torch._utils._rebuild_parameter", ([tensor]) => tensor ?? null],
]);

/**
 * The tensors of `root` by name.
 *
 * @throws {SyntaxError} when it is not a dict, or contains anything but tensors.
 */
export function tensorsIn(root: PickleValue): Map<string, TensorView> {
  if (!(root instanceof Map)) {
    throw new SyntaxError(`it holds ${describe(root)}, not a dict of tensors`);
  }
  const tensors = new Map<string, TensorView>();
  for (const [name, value] of root) {
    if (typeof name !== "string") {
      throw new SyntaxError(`it has ${describe(name)} as a key, not a name`);
    }
    const view = viewIn(value);
    if (view === undefined) {
      throw new SyntaxError(
        `${quoted(name)} is ${describe(value)}, only tensors are read`,
      );
    }
    tensors.set(name, view);
  }
  return tensors;
}

/**
 * Reads an object that may contain tensors at any depth; {@linkcode viewIn}
 * recognises them.
 *
 * @throws {SyntaxError} when it is damaged or names code.
 */
export function readObjectPickle(bytes: Uint8Array): PickleValue {
  return unpickle(bytes, { globals: GLOBALS, persistent: storageOf });
}

/** The objects of consecutive pickles, and what is known of their storages. */
export interface PickledObjects {
  /** The objects in order. */
  readonly objects: readonly PickleValue[];
  /** The byte after the last pickle. */
  readonly end: number;
  /** Bytes of one element, by the storage's key; 1 for an untyped storage. */
  readonly storages: ReadonlyMap<string, number>;
}

/**
 * Reads the first `count` objects in a file from before PyTorch 1.6.
 *
 * @throws {SyntaxError} when one is damaged or names code.
 */
export function readObjectPickles(
  bytes: Uint8Array,
  count: number,
): PickledObjects {
  const storages = new Map<string, number>();
  const persistent = (id: PickleValue): Storage => {
    const storage = storageOf(id);
    storages.set(storage.key, DTYPE_BYTES[storage.dtype ?? "uint8"]);
    return storage;
  };
  const read = unpickleMany(bytes, { globals: GLOBALS, persistent, count });
  return { ...read, storages };
}

/** The tensor in `value`, or undefined when it is something else. */
export function viewIn(value: PickleValue | undefined): TensorView | undefined {
  return isObject(value) && value.kind === "tensor"
    ? (value as PickledTensor).view
    : undefined;
}

function isObject(value: PickleValue | undefined): value is PickleObject {
  return typeof value === "object" && value !== null && "kind" in value;
}

function describe(value: PickleValue): string {
  if (value === null) return "None";
  if (value instanceof Map) return "a dict";
  if (Array.isArray(value)) return "a list";
  if (value instanceof PickleTuple) return "a tuple";
  if (value instanceof PickleGlobal) return value.name;
  if (isObject(value)) return `a ${value.kind}`;
  return typeof value === "string" ? "a string" : `the value ${value}`;
}

function orderedDict(args: readonly PickleValue[]): PickleValue {
  if (args.length === 0) return new Map();
  throw new SyntaxError("its pickle makes an OrderedDict of arguments");
}

/**
 * `("storage", type, key, location, elements)`; before 1.6, followed by the
 * storage that it is a part of.
 */
function storageOf(id: PickleValue): Storage {
  const [tag, type, key, , count, whole = null] = id instanceof PickleTuple
    ? id.items
    : [];
  const name = type instanceof PickleGlobal ? type.name : undefined;
  const isUntyped = name === "torch.storage.UntypedStorage";
  const dtype = DTYPES_BY_GLOBAL.get(name ?? "");
  if (
    tag !== "storage" || typeof key !== "string" || !isCount(count) ||
    whole !== null ||
    (dtype === undefined && !isUntyped)
  ) {
    throw new SyntaxError("its pickle names a storage in an unknown way");
  }
  const bytes = isUntyped ? count : count * DTYPE_BYTES[dtype ?? "uint8"];
  return { kind: "storage", key, dtype, bytes };
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function counts(value: PickleValue | undefined): readonly number[] | undefined {
  return value instanceof PickleTuple && value.items.every(isCount)
    ? value.items as readonly number[]
    : undefined;
}

/** `(storage, offset, sizes, strides, requires_grad, hooks)`, and in v3 the type. */
function rebuildTensor(
  args: readonly PickleValue[],
  type: PickleValue | undefined,
): PickledTensor {
  const [storage, offset] = args;
  const shape = counts(args[2]);
  const strides = counts(args[3]);
  if (
    !isObject(storage) || storage.kind !== "storage" || !isCount(offset) ||
    shape === undefined || strides?.length !== shape.length
  ) {
    throw new SyntaxError("its pickle builds a tensor in an unknown way");
  }
  if (shape.length > MAX_DIMENSIONS) {
    throw new SyntaxError(
      `its pickle builds a tensor of ${shape.length} dimensions, at most ${MAX_DIMENSIONS} are possible`,
    );
  }
  const { key, bytes, dtype: stored } = storage as Storage;
  const dtype = type instanceof PickleGlobal
    ? DTYPES_BY_GLOBAL.get(type.name)
    : stored;
  if (dtype === undefined) {
    throw new SyntaxError("its pickle builds a tensor of an unknown type");
  }
  const view = { dtype, shape, strides, offset, key, storageBytes: bytes };
  checkExtent(view);
  return { kind: "tensor", view };
}

function checkExtent(view: TensorView): void {
  const { shape, strides, offset, storageBytes, dtype } = view;
  const last = elementCount(shape) === 0 ? offset : shape.reduce(
    (sum, size, axis) => sum + (size - 1) * (strides[axis] ?? 0),
    offset + 1,
  );
  if (last * DTYPE_BYTES[dtype] <= storageBytes) return;
  throw new SyntaxError(
    `a tensor of shape [${shape.join(", ")}] and strides [${
      strides.join(", ")
    }] runs past storage ${quoted(view.key)}`,
  );
}

/** The strides of a contiguous tensor, as PyTorch computes them. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (const size of shape.toReversed()) {
    strides.unshift(stride);
    stride *= Math.max(size, 1);
  }
  return strides;
}
