/**
 * What can be asked of a tensor handle, and how handles are made and freed. When
 * to do so is decided by their owners in `lib/tensor`; no handle is kept here.
 *
 * @module
 */

import type { DType } from "../lib/formats/dtype.ts";
import { DTYPE_BYTES } from "../lib/formats/dtype.ts";
import { check, dtypeCode, newHandle, outInt, outValue } from "./dispatch.ts";
import { libraries } from "./library.ts";
import type { DeviceCode, TensorHandle } from "./schema.ts";

/** A device: its kind, and an index that is 0 on a CPU. */
export interface Device {
  /** What kind of processor it is. */
  readonly type: "cpu" | "cuda";
  /** Which device of this kind, counted from 0. */
  readonly index: number;
}

let dtypesByCode: Map<number, DType> | undefined;

function dtypeOfCode(code: number): DType {
  dtypesByCode ??= new Map(
    (Object.keys(DTYPE_BYTES) as DType[]).map((
      name,
    ) => [dtypeCode(name), name]),
  );
  const dtype = dtypesByCode.get(code);
  if (dtype === undefined) {
    throw new TypeError(`Cannot name libtorch's element type ${code}`);
  }
  return dtype;
}

function deviceTypeCode(type: Device["type"]): number {
  return type === "cpu" ? 0 : libraries().torch.aoti_torch_device_type_cuda();
}

/** The dispatcher's encoding of `device`. */
export function deviceCode(device: Device): DeviceCode {
  const index = device.type === "cpu" ? 0xffffffffn : BigInt(device.index);
  return (BigInt(deviceTypeCode(device.type)) << 32n) | index;
}

// libtorch's own limit. The arrays are made once: arrays made for each call would
// be freed only by the garbage collector, and until then split up the memory that
// freed tensors leave.
const MAX_RANK = 64;
const sizes = new BigInt64Array(MAX_RANK);
const strides = new BigInt64Array(MAX_RANK);

/** Writes `shape` and its row-major strides into `sizes` and `strides`. */
function writeLayout(shape: readonly number[]): void {
  if (shape.length > MAX_RANK) {
    throw new RangeError(
      `Cannot make tensor of ${shape.length} dimensions: at most ${MAX_RANK} are possible`,
    );
  }
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    sizes[axis] = BigInt(shape[axis]!);
    strides[axis] = BigInt(step);
    step *= shape[axis]!;
  }
}

/** A contiguous tensor of `shape` with uninitialised elements. */
export function newEmpty(
  shape: readonly number[],
  options: { readonly dtype: DType; readonly device: Device },
): TensorHandle {
  const { torch } = libraries();
  writeLayout(shape);
  return outValue(
    "aoti_torch_empty_strided",
    (out) =>
      torch.aoti_torch_empty_strided(
        BigInt(shape.length),
        sizes,
        strides,
        dtypeCode(options.dtype),
        deviceTypeCode(options.device.type),
        options.device.type === "cpu" ? -1 : options.device.index,
        out,
      ),
  ) as TensorHandle;
}

/** A contiguous CPU tensor over memory that the caller keeps alive. */
export function borrowMemory(
  pointer: Deno.PointerValue,
  options: { readonly dtype: DType; readonly shape: readonly number[] },
): TensorHandle {
  const { torch } = libraries();
  const { shape, dtype } = options;
  writeLayout(shape);
  return outValue(
    "aoti_torch_create_tensor_from_blob",
    (out) =>
      torch.aoti_torch_create_tensor_from_blob(
        pointer,
        BigInt(shape.length),
        sizes,
        strides,
        0n,
        dtypeCode(dtype),
        0,
        -1,
        out,
      ),
  ) as TensorHandle;
}

/**
 * A view of the memory of a tensor, not recorded by autograd; `offset` and `strides`
 * count elements. Whether it lies within that memory is not checked.
 */
export function stridedView(
  handle: TensorHandle,
  layout: {
    readonly shape: readonly number[];
    readonly strides: readonly number[];
    readonly offset: number;
  },
): TensorHandle {
  const { torch } = libraries();
  const { shape, offset } = layout;
  for (let axis = 0; axis < shape.length; axis++) {
    sizes[axis] = BigInt(shape[axis]!);
    strides[axis] = BigInt(layout.strides[axis]!);
  }
  return outValue(
    "aoti_torch__reinterpret_tensor",
    (out) =>
      torch.aoti_torch__reinterpret_tensor(
        handle,
        BigInt(shape.length),
        sizes,
        strides,
        BigInt(offset),
        out,
      ),
  ) as TensorHandle;
}

/** Another handle of the same tensor, with its graph and gradient. */
export function anotherHandle(handle: TensorHandle): TensorHandle {
  const { torch } = libraries();
  return outValue(
    "aoti_torch_new_tensor_handle",
    (out) =>
      torch.aoti_torch_new_tensor_handle(handle, Deno.UnsafePointer.of(out)),
  ) as TensorHandle;
}

/** Frees a handle; the tensor lives on while other handles refer to it. */
export function deleteHandle(handle: TensorHandle): void {
  check(
    libraries().torch.aoti_torch_delete_tensor_object(handle),
    "aoti_torch_delete_tensor_object",
  );
}

/** The sizes of the dimensions. */
export function shapeOf(handle: TensorHandle): number[] {
  const { torch } = libraries();
  const rank = Number(
    outValue(
      "aoti_torch_get_dim",
      (out) => torch.aoti_torch_get_dim(handle, out),
    ),
  );
  return Array.from({ length: rank }, (_, axis) =>
    Number(
      outValue("aoti_torch_get_size", (out) =>
        torch.aoti_torch_get_size(handle, BigInt(axis), out)),
    ));
}

/** The element type. */
export function dtypeOf(handle: TensorHandle): DType {
  const { torch } = libraries();
  return dtypeOfCode(
    outInt(
      "aoti_torch_get_dtype",
      (out) => torch.aoti_torch_get_dtype(handle, out),
    ),
  );
}

/** Whether the elements are integers or booleans. */
export function isWhole(handle: TensorHandle): boolean {
  const { torch } = libraries();
  const code = outInt(
    "aoti_torch_get_dtype",
    (out) => torch.aoti_torch_get_dtype(handle, out),
  );
  // c10::ScalarType: uint8, int8, int16, int32, int64; then floats; then bool
  return code <= 4 || code === 11;
}

/** The device that holds the elements. */
export function deviceOf(handle: TensorHandle): Device {
  const { torch } = libraries();
  const type = outInt(
    "aoti_torch_get_device_type",
    (out) => torch.aoti_torch_get_device_type(handle, out),
  );
  if (type === 0) return { type: "cpu", index: 0 };
  const index = outInt(
    "aoti_torch_get_device_index",
    (out) => torch.aoti_torch_get_device_index(handle, out),
  );
  return { type: "cuda", index };
}

/** Whether the elements lie in row-major order without gaps. */
export function isContiguous(handle: TensorHandle): boolean {
  const { torch } = libraries();
  return (outInt(
    "aoti_torch_is_contiguous",
    (out) => torch.aoti_torch_is_contiguous(handle, out),
  ) & 1) === 1;
}

/** The memory of a contiguous CPU tensor, as bytes that live as long as it does. */
export function memoryOf(
  handle: TensorHandle,
  byteLength: number,
): Uint8Array<ArrayBuffer> {
  const { torch } = libraries();
  const address = outValue(
    "aoti_torch_get_data_ptr",
    (out) => torch.aoti_torch_get_data_ptr(handle, out),
  );
  const pointer = Deno.UnsafePointer.create(address);
  return pointer === null || byteLength === 0
    ? new Uint8Array(0)
    : new Uint8Array(
      Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength),
    );
}

/** Turns the recording of gradients on or off for a leaf. */
export function setRequiresGrad(handle: TensorHandle, value: boolean): void {
  check(
    libraries().torch.torch_set_requires_grad(handle, value),
    "torch_set_requires_grad",
  );
}

/** The `c10::TensorImpl` that a handle points to. */
function implementationOf(handle: TensorHandle): Deno.PointerValue {
  const owner = Deno.UnsafePointer.create(handle)!;
  return new Deno.UnsafePointerView(owner).getPointer();
}

/**
 * Whether autograd records what is computed from the tensor: it is a leaf whose
 * gradient is wanted, or was computed from one.
 */
export function requiresGrad(handle: TensorHandle): boolean {
  return libraries().c10._ZNK3c1010TensorImpl13requires_gradEv(
    implementationOf(handle),
  );
}

/**
 * Where a tensor keeps its gradient: a borrowed handle of a tensor that may be
 * undefined.
 */
function gradientSlot(handle: TensorHandle): Deno.PointerObject {
  return libraries().c10._ZN3c1010TensorImpl12mutable_gradEv(
    implementationOf(handle),
  )!;
}

/** A new handle of the gradient, or `null` while there is none. */
export function gradientOf(handle: TensorHandle): TensorHandle | null {
  const { torch } = libraries();
  const slot = Deno.UnsafePointer.value(gradientSlot(handle));
  const defined = outInt(
    "aoti_torch_is_defined",
    (out) => torch.aoti_torch_is_defined(slot, out),
  ) & 1;
  if (defined === 0) return null;
  return newHandle(slot as TensorHandle);
}

/** Makes autograd add this leaf's gradients into `gradient`. */
export function setGradient(
  handle: TensorHandle,
  gradient: TensorHandle,
): void {
  check(
    libraries().torch.aoti_torch_assign_tensors(gradient, gradientSlot(handle)),
    "aoti_torch_assign_tensors",
  );
}

/**
 * `self + alpha · other`, recorded by autograd; `add` has no C function for
 * tensors, `sub` has.
 */
export function addScaled(
  self: TensorHandle,
  term: { readonly other: TensorHandle; readonly alpha: number },
): TensorHandle {
  const { torch } = libraries();
  const { other, alpha } = term;
  return outValue(
    "aten::add.Tensor",
    (out) => torch.aoti_torch_aten_subtract_Tensor(self, other, -alpha, out),
  ) as TensorHandle;
}

/** `sum += left right` of matrices on a CPU, in place and not recorded by autograd. */
export function addProductInPlace(
  sum: TensorHandle,
  factors: { readonly left: TensorHandle; readonly right: TensorHandle },
): void {
  const { left, right } = factors;
  check(
    libraries().torch.aoti_torch_cpu_addmm_out(sum, sum, left, right, 1, 1),
    "aten::addmm.out",
  );
}

/** Sets every element to `value`, in place. */
export function fill(handle: TensorHandle, value: number): void {
  check(
    libraries().torch.aoti_torch_aten_fill__Scalar(handle, value),
    "aten::fill_.Scalar",
  );
}
