/**
 * Files as bytes: element types, tensors as data, and the file formats that
 * contain them.
 *
 * @module
 */

export { type DType, DTYPE_BYTES, type TensorData } from "./dtype.ts";
export type { GgufPairs, GgufTyped } from "./gguf_writer.ts";
export {
  readSafetensors,
  writeSafetensors,
  type WriteSafetensorsOptions,
} from "./safetensors.ts";
export type {
  LazyTensor,
  NamedTensors,
  TensorSource,
} from "./tensor_source.ts";
