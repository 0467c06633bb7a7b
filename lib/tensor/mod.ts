/**
 * Tensors on libtorch: owned handles, scopes, ATen operators, autograd, random
 * numbers and devices.
 *
 * @module
 */

export {
  allowTf32,
  type Device,
  ensureLibtorch,
  type FetchOptions,
  type Libtorch,
  LibtorchNotFoundError,
  loadLibtorch,
  type Place,
  setThreads,
  tf32IsAllowed,
  threads,
  TorchError,
} from "../../ffi/mod.ts";
export { type Aten, aten, enableGrad, noGrad } from "./aten.ts";
export { autocast, autocastIsOn } from "./autocast.ts";
export { asType, type Nested, tensor, to, toData } from "./convert.ts";
export { deviceName, deviceNamed } from "./device.ts";
export {
  addProduct,
  addToGradient,
  GradientTape,
  type Pullback,
  recordingTape,
  type Save,
  tapeIsOpen,
  wantsGradient,
} from "./gradient_tape.ts";
export {
  assertMappedFilesUnchanged,
  MappedFile,
  releaseMappedPages,
} from "./mapped_file.ts";
export { manualSeed, randomPermutation } from "./random.ts";
export {
  currentScope,
  DetachedScope,
  type Scoped,
  TensorScope,
  tensorScope,
} from "./scope.ts";
export {
  CPU,
  empty,
  fromData,
  full,
  liveTensors,
  Tensor,
  type TensorOptions,
  unsafeStridedView,
  zeros,
} from "./tensor.ts";
