/**
 * The interface to libtorch: the only folder that opens a library or touches a
 * pointer. Only `lib/tensor` imports it.
 *
 * @module
 */

export { operator } from "./dispatch.ts";
export {
  ensureLibtorch,
  fetchLibtorch,
  type FetchOptions,
  type Libtorch,
} from "./fetch.ts";
export {
  cudaIsAvailable,
  libraries,
  LibtorchNotFoundError,
  loadLibtorch,
  openCuda,
} from "./library.ts";
export { MemoryMap } from "./memory_map.ts";
export { OPERATORS } from "./operators.ts";
export {
  allowTf32,
  gradModeIsEnabled,
  seedGenerator,
  setAutocast,
  setGradMode,
  setThreads,
  tf32IsAllowed,
  threads,
} from "./runtime.ts";
export { cacheFolder, type Place } from "./search.ts";
export type { HandleOwner, OperatorOf, TensorHandle } from "./schema.ts";
export {
  addProductInPlace,
  addScaled,
  anotherHandle,
  borrowMemory,
  deleteHandle,
  type Device,
  deviceCode,
  deviceOf,
  dtypeOf,
  fill,
  gradientOf,
  isContiguous,
  isWhole,
  memoryOf,
  newEmpty,
  requiresGrad,
  setGradient,
  setRequiresGrad,
  shapeOf,
  stridedView,
} from "./tensor_handle.ts";
export { TorchError } from "./torch_error.ts";
