/**
 * Conversion between tensors and JavaScript values (nested arrays, typed arrays,
 * numbers), and moves between types and devices.
 *
 * @module
 */

import { type Device, deviceCode } from "../../ffi/mod.ts";
import type { DType, TensorData } from "../formats/dtype.ts";
import { aten } from "./aten.ts";
import { CPU, empty, full, type Tensor, type TensorOptions } from "./tensor.ts";

/** Numbers, nested as deep as the tensor has dimensions. */
export type Nested = number | readonly Nested[];

const ARRAYS = {
  float64: Float64Array,
  float32: Float32Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

/**
 * A CPU tensor with the numbers of `values`; its type is `float32` unless `dtype`
 * names another.
 *
 * @throws {RangeError} when rows differ in length.
 *
 * @example
 * ```ts
 * import { tensor } from "@lorikeet/lorikeet";
 *
 * using ids = tensor([[1, 2, 3]], { dtype: "int64" });
 * if (ids.shape.join() !== "1,3") throw new Error("unexpected shape");
 * ```
 */
export function tensor(values: Nested, options: TensorOptions = {}): Tensor {
  const { dtype = "float32", device = CPU } = options;
  const shape = shapeOfNested(values);
  const flat =
    (Array.isArray(values) ? values.flat(Infinity) : [values]) as number[];
  if (flat.length !== shape.reduce((a, b) => a * b, 1)) {
    throw new RangeError("Cannot make tensor: rows differ in length");
  }
  if (!(dtype in ARRAYS)) {
    using wide = tensor(values);
    return to(wide, { dtype, device });
  }
  if (shape.length === 0 && device.type !== "cpu") {
    // filled there, because a copy would wait for the device
    return full([], { value: flat[0]!, dtype, device });
  }
  const made = empty(shape, { dtype });
  const bytes = made.unsafeBytes();
  const target = new ARRAYS[dtype as keyof typeof ARRAYS](
    bytes.buffer,
    bytes.byteOffset,
    flat.length,
  );
  if (target instanceof BigInt64Array) target.set(flat.map(BigInt));
  else target.set(flat);
  return device.type === "cpu" ? made : to(made, { device });
}

function shapeOfNested(values: Nested): number[] {
  return typeof values === "number"
    ? []
    : [values.length, ...(values.length > 0 ? shapeOfNested(values[0]!) : [])];
}

/**
 * The tensor in another type or on another device. When nothing changes, a second
 * handle of the same tensor.
 *
 * @example
 * ```ts
 * import { tensor } from "@lorikeet/lorikeet";
 * import { to } from "@lorikeet/lorikeet/tensor";
 *
 * using x = tensor([1.5]);
 * using half = to(x, { dtype: "bfloat16" });
 * if (half.dtype !== "bfloat16") throw new Error("unexpected type");
 * ```
 */
export function to(source: Tensor, options: TensorOptions): Tensor {
  const { device = source.device, dtype = source.dtype } = options;
  const here = source.device;
  return device.type === here.type && device.index === here.index
    ? aten.toDtype(source, dtype)
    : here.type === "cpu" && source.size <= QUEUED
    ? queuedCopy(source, device, dtype)
    : aten.toDevice(source, deviceCode(device), dtype);
}

/** Copies of at most so many elements are queued: ids, positions and starts of a batch. */
const QUEUED = 2 ** 18;

/**
 * A copy on another device that is not waited for. libtorch keeps the pinned memory
 * until it is made.
 */
function queuedCopy(source: Tensor, device: Device, dtype: DType): Tensor {
  using pinned = aten.pinMemory(source);
  return aten.toDevice(pinned, deviceCode(device), dtype, true);
}

/**
 * `source` itself where it has this type already, otherwise converted: no operator is
 * called for nothing, as {@linkcode to} does to return a new handle.
 *
 * @example
 * ```ts
 * import { tensor } from "@lorikeet/lorikeet";
 * import { asType } from "@lorikeet/lorikeet/tensor";
 *
 * using x = tensor([1.5]);
 * if (asType(x, "float32") !== x) throw new Error("unexpected copy");
 * ```
 */
export function asType(source: Tensor, dtype: DType): Tensor {
  return source.dtype === dtype ? source : aten.toDtype(source, dtype);
}

/**
 * A copy of the elements, in row-major order, that does not depend on libtorch.
 *
 * @example
 * ```ts
 * import { tensor } from "@lorikeet/lorikeet";
 * import { toData } from "@lorikeet/lorikeet/tensor";
 *
 * using x = tensor([[1, 2]]);
 * const { shape, bytes } = toData(x);
 * if (shape.join() !== "1,2" || bytes.length !== 8) throw new Error("unexpected");
 * ```
 */
export function toData(source: Tensor): TensorData {
  using onCpu = to(source, { device: CPU });
  using packed = aten.contiguous(onCpu);
  const { dtype, shape } = source;
  return { dtype, shape: [...shape], bytes: packed.unsafeBytes().slice() };
}
