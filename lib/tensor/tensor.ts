/**
 * `Tensor`: an owned handle of a libtorch tensor, with its memory, shape, type
 * and gradient. The operators are in `aten.ts`.
 *
 * @module
 */

import {
  addScaled,
  borrowMemory,
  deleteHandle,
  type Device,
  deviceCode,
  deviceOf,
  dtypeOf,
  fill,
  gradientOf,
  type HandleOwner,
  isContiguous,
  isWhole,
  memoryOf,
  newEmpty,
  operator,
  OPERATORS,
  requiresGrad,
  setGradient,
  setRequiresGrad,
  shapeOf,
  stridedView,
  type TensorHandle,
} from "../../ffi/mod.ts";
import {
  type DType,
  DTYPE_BYTES,
  elementCount,
  type TensorData,
} from "../formats/dtype.ts";
import { printElements, type PrintSource } from "./print.ts";
import { currentScope } from "./scope.ts";

/** The CPU, the device on which tensors are made by default. */
export const CPU: Device = { type: "cpu", index: 0 };

let live = 0;
const net = new FinalizationRegistry<TensorHandle>((handle) => {
  live--;
  deleteHandle(handle);
});

/**
 * How many tensor handles exist at this moment; for leak tests.
 *
 * @example
 * ```ts
 * import { liveTensors, zeros } from "@lorikeet/lorikeet/tensor";
 *
 * const before = liveTensors();
 * {
 *   using _x = zeros([2]);
 *   if (liveTensors() !== before + 1) throw new Error("not counted");
 * }
 * if (liveTensors() !== before) throw new Error("not freed");
 * ```
 */
export function liveTensors(): number {
  return live;
}

/**
 * A libtorch tensor. It is freed by the scope in which it was made, by `using`,
 * or in the end by the garbage collector.
 *
 * @example
 * ```ts
 * import { tensor } from "@lorikeet/lorikeet";
 *
 * using x = tensor([[1, 2], [3, 4.5]]);
 * if (String(x) !== "Tensor(float32[2, 2]) [[1, 2], [3, 4.5]]") {
 *   throw new Error(String(x));
 * }
 * ```
 */
export class Tensor implements HandleOwner, Disposable {
  #handle: TensorHandle | null;
  // asked for often, and each answer of libtorch costs as much as a small operator
  #shape: readonly number[] | undefined;
  #dtype: DType | undefined;
  #device: Device | undefined;
  #requiresGrad = false;

  /** Takes ownership of `handle`. */
  constructor(handle: TensorHandle) {
    this.#handle = handle;
    live++;
    const scope = currentScope();
    if (scope === null) this.freeWhenDropped();
    else scope.add(this);
  }

  /** From now on, the garbage collector frees the tensor when nothing refers to it. */
  freeWhenDropped(): void {
    if (this.#handle !== null) net.register(this, this.#handle, this);
  }

  /** The native handle; only `ffi` can use it. */
  get unsafeHandle(): TensorHandle {
    if (this.#handle === null) {
      throw new TypeError("Cannot use tensor: it has been freed");
    }
    return this.#handle;
  }

  /** Whether the tensor has been freed. */
  get disposed(): boolean {
    return this.#handle === null;
  }

  /** Sizes of the dimensions; empty for a scalar. */
  get shape(): readonly number[] {
    return this.#shape ??= shapeOf(this.unsafeHandle);
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.shape);
  }

  /** Element type. */
  get dtype(): DType {
    return this.#dtype ??= dtypeOf(this.unsafeHandle);
  }

  /** The device that holds the elements. */
  get device(): Device {
    return this.#device ??= deviceOf(this.unsafeHandle);
  }

  /** Whether the elements lie in row-major order without gaps. */
  get contiguous(): boolean {
    return isContiguous(this.unsafeHandle);
  }

  /** The gradient that `backward` has accumulated, or `null`; a new handle each time. */
  get grad(): Tensor | null {
    const handle = gradientOf(this.unsafeHandle);
    return handle === null ? null : new Tensor(handle);
  }

  /**
   * Whether gradients are recorded for this leaf: the value last passed to
   * {@linkcode Tensor.requireGrad}.
   */
  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }

  /**
   * Whether gradients are recorded for what is computed from this tensor: it is a
   * leaf whose gradient is wanted, or was itself computed from one.
   */
  get isRecorded(): boolean {
    return requiresGrad(this.unsafeHandle);
  }

  /** From now on, autograd adds this leaf's gradients into `gradient`. */
  setGrad(gradient: Tensor): void {
    setGradient(this.unsafeHandle, gradient.unsafeHandle);
  }

  /** Turns the recording of gradients on or off for this leaf, and returns the tensor. */
  requireGrad(value = true): this {
    setRequiresGrad(this.unsafeHandle, value);
    this.#requiresGrad = value;
    return this;
  }

  /**
   * `this + alpha · other`, broadcast as in PyTorch. Two integer tensors are
   * added as doubles, which is exact below 2⁵³; the result has this tensor's
   * type.
   */
  add(other: Tensor, alpha = 1): Tensor {
    if (isWhole(this.unsafeHandle) && isWhole(other.unsafeHandle)) {
      using a = copyTo(this, deviceCode(this.device), "float64");
      using b = copyTo(other, deviceCode(other.device), "float64");
      using sum = new Tensor(
        addScaled(a.unsafeHandle, { other: b.unsafeHandle, alpha }),
      );
      return copyTo(sum, deviceCode(this.device), this.dtype);
    }
    return new Tensor(
      addScaled(this.unsafeHandle, { other: other.unsafeHandle, alpha }),
    );
  }

  /** Sets every element to `value`, and returns the tensor. */
  fill(value: number): this {
    fill(this.unsafeHandle, value);
    return this;
  }

  /** The elements as numbers, in row-major order. */
  toArray(): Float64Array<ArrayBuffer> {
    using wide = copyTo(this, deviceCode(CPU), "float64");
    using packed = pack(wide);
    return new Float64Array(packed.unsafeBytes().slice().buffer);
  }

  /**
   * The only element, as a number.
   *
   * @throws {TypeError} when the tensor does not have exactly one element.
   */
  item(): number {
    if (this.size !== 1) {
      throw new TypeError(
        `Cannot take item of tensor of shape [${
          this.shape.join(", ")
        }]: it must have one element`,
      );
    }
    return this.toArray()[0]!;
  }

  /**
   * The tensor's memory itself, as bytes that stay valid as long as the tensor.
   *
   * @throws {TypeError} unless the tensor is contiguous and on the CPU.
   */
  unsafeBytes(): Uint8Array<ArrayBuffer> {
    if (!this.contiguous || this.device.type !== "cpu") {
      throw new TypeError(
        "Cannot view memory of tensor: it must be contiguous and on the CPU",
      );
    }
    return memoryOf(this.unsafeHandle, this.size * DTYPE_BYTES[this.dtype]);
  }

  /**
   * What `console.log` shows: type, shape, device and elements; those of a large
   * tensor are shortened as in PyTorch.
   */
  toString(): string {
    if (this.disposed) return "Tensor(freed)";
    const { type, index } = this.device;
    const place = type === "cpu" ? "" : `, ${type}:${index}`;
    const about = `${this.dtype}[${this.shape.join(", ")}]${place}`;
    return `Tensor(${about}) ${printElements(printSource(this))}`;
  }

  /** What `console.log` shows. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }

  /** Frees the tensor; freeing it twice does no harm. */
  [Symbol.dispose](): void {
    if (this.#handle === null) return;
    const handle = this.#handle;
    this.#handle = null;
    net.unregister(this);
    live--;
    deleteHandle(handle);
  }
}

const own = (handle: TensorHandle): Tensor => new Tensor(handle);
const copyTo = operator(OPERATORS.toDevice, own);
const pack = operator(OPERATORS.contiguous, own);
const sliceOf = operator(OPERATORS.slice, own);

function printSource(tensor: Tensor): PrintSource & Disposable {
  return {
    shape: tensor.shape,
    slice: (dim, start, end) => printSource(sliceOf(tensor, dim, start, end)),
    toArray: () => tensor.toArray(),
    [Symbol.dispose]: () => tensor[Symbol.dispose](),
  };
}

/** Options of {@linkcode empty}. */
export interface TensorOptions {
  /** Element type. Default `float32`. */
  readonly dtype?: DType;
  /** The device. Default the CPU. */
  readonly device?: Device;
}

/**
 * A tensor of `shape` with uninitialised elements.
 *
 * @example
 * ```ts
 * import { empty } from "@lorikeet/lorikeet/tensor";
 *
 * using x = empty([2, 3], { dtype: "int64" });
 * if (x.shape.join() !== "2,3") throw new Error("unexpected shape");
 * ```
 */
export function empty(
  shape: readonly number[],
  options: TensorOptions = {},
): Tensor {
  const { dtype = "float32", device = CPU } = options;
  return new Tensor(newEmpty(shape, { dtype, device }));
}

/**
 * A tensor of `shape` filled with `value`.
 *
 * @example
 * ```ts
 * import { full } from "@lorikeet/lorikeet/tensor";
 *
 * using x = full([2], { value: 0.5 });
 * if (x.toArray().join() !== "0.5,0.5") throw new Error("unexpected values");
 * ```
 */
export function full(
  shape: readonly number[],
  options: TensorOptions & { readonly value: number },
): Tensor {
  return empty(shape, options).fill(options.value);
}

/**
 * A tensor of `shape` filled with zeros.
 *
 * @example
 * ```ts
 * import { zeros } from "@lorikeet/lorikeet/tensor";
 *
 * using x = zeros([3]);
 * if (x.toArray().join() !== "0,0,0") throw new Error("unexpected values");
 * ```
 */
export function zeros(
  shape: readonly number[],
  options: TensorOptions = {},
): Tensor {
  return full(shape, { ...options, value: 0 });
}

/**
 * Copies `data` into a new CPU tensor.
 *
 * @example
 * ```ts
 * import { fromData } from "@lorikeet/lorikeet/tensor";
 *
 * const bytes = new Uint8Array(new Float32Array([1, 2]).buffer);
 * using x = fromData({ dtype: "float32", shape: [2], bytes });
 * if (x.toArray().join() !== "1,2") throw new Error("unexpected values");
 * ```
 */
export function fromData(data: TensorData): Tensor {
  const made = empty(data.shape, { dtype: data.dtype });
  made.unsafeBytes().set(data.bytes);
  return made;
}

/** A CPU tensor over memory at `pointer`, which must outlive it. */
export function unsafeBorrow(
  pointer: Deno.PointerObject,
  data: { readonly dtype: DType; readonly shape: readonly number[] },
): Tensor {
  return new Tensor(borrowMemory(pointer, data));
}

/**
 * A view of the memory of `tensor`, in one call where `view`, `slice` and `transpose`
 * need several; autograd does not record it. `strides` and `offset` count elements
 * from the first of `tensor`, and nothing checks that the view lies within it.
 *
 * @example
 * ```ts
 * import { tensor, unsafeStridedView } from "@lorikeet/lorikeet/tensor";
 *
 * using x = tensor([[1, 2, 3], [4, 5, 6]]);
 * using column = unsafeStridedView(x, { shape: [2], strides: [3], offset: 1 });
 * if (column.toArray().join() !== "2,5") throw new Error("unexpected values");
 * ```
 */
export function unsafeStridedView(
  tensor: Tensor,
  layout: {
    readonly shape: readonly number[];
    readonly strides: readonly number[];
    readonly offset: number;
  },
): Tensor {
  return new Tensor(stridedView(tensor.unsafeHandle, layout));
}
