/**
 * The C functions that lorikeet calls, as data: libtorch's stable C ABI
 * (`torch/csrc/stable/c/shim.h`, `torch/csrc/inductor/aoti_torch/c/shim.h` and
 * its generated `c_shim_aten.h`), a few C++ functions that have no C counterpart
 * and cannot throw, and libc. A tensor handle is a `u64`, as stack slots are.
 *
 * @module
 */

/**
 * How mangled C++ names spell `uint64_t`: `unsigned long`, on macOS `unsigned
 * long long`.
 */
const UINT64 = Deno.build.os === "darwin" ? "y" : "m";

/** libtorch's functions; those marked `optional` are missing from some builds. */
export const TORCH_SYMBOLS = {
  aoti_torch_abi_version: { parameters: [], result: "u64" },

  // stable/c/shim.h
  torch_call_dispatcher: {
    parameters: [
      "buffer", // const char* opName
      "buffer", // const char* overloadName
      "pointer", // StableIValue* stack
      "u64", // uint64_t extension_build_version
    ],
    result: "i32",
  },
  torch_new_list_reserve_size: {
    parameters: ["usize", "pointer"], // size_t size, StableListHandle* ret
    result: "i32",
  },
  torch_list_push_back: {
    parameters: ["u64", "u64"], // StableListHandle list, StableIValue element
    result: "i32",
  },
  torch_new_string_handle: {
    parameters: ["buffer", "usize", "pointer"], // const char* data, size_t length, StringHandle* handle
    result: "i32",
  },
  torch_list_size: {
    parameters: ["u64", "buffer"], // StableListHandle list, size_t* size
    result: "i32",
  },
  torch_list_get_item: {
    parameters: ["u64", "usize", "buffer"], // list, index, StableIValue* element
    result: "i32",
  },
  torch_delete_list: { parameters: ["u64"], result: "i32" },
  torch_set_requires_grad: {
    parameters: ["u64", "bool"], // AtenTensorHandle tensor, bool requires_grad
    result: "i32",
  },
  torch_exception_get_what_without_backtrace: {
    parameters: [],
    result: "pointer", // const char*
    optional: true, // since 2.13
  },

  // aoti_torch/c/shim.h
  aoti_torch_device_type_cpu: { parameters: [], result: "i32" },
  aoti_torch_device_type_cuda: { parameters: [], result: "i32" },
  aoti_torch_dtype_float64: { parameters: [], result: "i32" },
  aoti_torch_dtype_float32: { parameters: [], result: "i32" },
  aoti_torch_dtype_float16: { parameters: [], result: "i32" },
  aoti_torch_dtype_bfloat16: { parameters: [], result: "i32" },
  aoti_torch_dtype_float8_e4m3fn: { parameters: [], result: "i32" },
  aoti_torch_dtype_float8_e5m2: { parameters: [], result: "i32" },
  aoti_torch_dtype_int64: { parameters: [], result: "i32" },
  aoti_torch_dtype_int32: { parameters: [], result: "i32" },
  aoti_torch_dtype_int16: { parameters: [], result: "i32" },
  aoti_torch_dtype_int8: { parameters: [], result: "i32" },
  aoti_torch_dtype_uint8: { parameters: [], result: "i32" },
  aoti_torch_dtype_bool: { parameters: [], result: "i32" },
  aoti_torch_grad_mode_is_enabled: { parameters: [], result: "bool" },
  aoti_torch_grad_mode_set_enabled: { parameters: ["bool"], result: "void" },
  aoti_torch_new_tensor_handle: {
    parameters: ["u64", "pointer"], // AtenTensorHandle, AtenTensorHandle* ret
    result: "i32",
  },
  aoti_torch_delete_tensor_object: { parameters: ["u64"], result: "i32" },
  aoti_torch_get_dim: { parameters: ["u64", "buffer"], result: "i32" },
  aoti_torch_get_size: { parameters: ["u64", "i64", "buffer"], result: "i32" },
  aoti_torch_get_dtype: { parameters: ["u64", "buffer"], result: "i32" },
  aoti_torch_get_device_type: { parameters: ["u64", "buffer"], result: "i32" },
  aoti_torch_get_device_index: { parameters: ["u64", "buffer"], result: "i32" },
  aoti_torch_get_data_ptr: { parameters: ["u64", "buffer"], result: "i32" },
  aoti_torch_is_contiguous: { parameters: ["u64", "buffer"], result: "i32" },
  aoti_torch_is_defined: { parameters: ["u64", "buffer"], result: "i32" },
  aoti_torch_empty_strided: {
    parameters: [
      "i64", // int64_t ndim
      "buffer", // const int64_t* sizes
      "buffer", // const int64_t* strides
      "i32", // int32_t dtype
      "i32", // int32_t device_type
      "i32", // int32_t device_index
      "buffer", // AtenTensorHandle* ret
    ],
    result: "i32",
  },
  aoti_torch_create_tensor_from_blob: {
    parameters: [
      "pointer", // void* data
      "i64", // int64_t ndim
      "buffer", // const int64_t* sizes
      "buffer", // const int64_t* strides
      "i64", // int64_t storage_offset
      "i32", // int32_t dtype
      "i32", // int32_t device_type
      "i32", // int32_t device_index
      "buffer", // AtenTensorHandle* ret
    ],
    result: "i32",
  },
  aoti_torch__reinterpret_tensor: {
    parameters: [
      "u64", // AtenTensorHandle self
      "i64", // int64_t ndim
      "buffer", // const int64_t* sizes
      "buffer", // const int64_t* strides
      "i64", // int64_t storage_offset, added to that of self
      "buffer", // AtenTensorHandle* ret
    ],
    result: "i32",
  },
  aoti_torch_assign_tensors: {
    parameters: ["u64", "pointer"], // AtenTensorHandle src, dst (borrowed)
    result: "i32",
  },

  // aoti_torch/generated/c_shim_aten.h: operators with a Scalar argument
  aoti_torch_aten_subtract_Tensor: {
    parameters: ["u64", "u64", "f64", "buffer"], // self, other, alpha, ret
    result: "i32",
  },
  aoti_torch_aten_fill__Scalar: { parameters: ["u64", "f64"], result: "i32" },

  // aoti_torch/generated/c_shim_cpu.h: the same, without autograd
  aoti_torch_cpu_addmm_out: {
    parameters: ["u64", "u64", "u64", "u64", "f64", "f64"], // out, self, mat1, mat2, beta, alpha
    result: "i32",
  },

  // C++ functions that do not throw
  _ZN2at6detail22getDefaultCPUGeneratorEv: {
    parameters: [],
    result: "pointer", // const at::Generator&: a pointer to the implementation
  },
  _ZN2at16CPUGeneratorImpl16set_current_seedEm: {
    name: `_ZN2at16CPUGeneratorImpl16set_current_seedE${UINT64}`,
    parameters: ["pointer", "u64"], // this, uint64_t seed
    result: "void",
  },
  // at::Context&; what other releases may lack is optional
  _ZN2at13globalContextEv: {
    parameters: [],
    result: "pointer",
    optional: true,
  },
  _ZN2at7Context18setAllowTF32CuBLASEb: {
    parameters: ["pointer", "bool"], // this, bool
    result: "void",
    optional: true,
  },
  _ZN2at7Context17setAllowTF32CuDNNEb: {
    parameters: ["pointer", "bool"], // this, bool
    result: "void",
    optional: true,
  },
  _ZNK2at7Context15allowTF32CuBLASEv: {
    parameters: ["pointer"], // this
    result: "bool",
    optional: true,
  },
  _ZN2at15set_num_threadsEi: { parameters: ["i32"], result: "void" },
  _ZN2at15get_num_threadsEv: { parameters: [], result: "i32" },
  _ZN2at8autocast20set_autocast_enabledEN3c1010DeviceTypeEb: {
    parameters: ["i8", "bool"], // c10::DeviceType, bool enabled
    result: "void",
  },
  _ZN2at8autocast18set_autocast_dtypeEN3c1010DeviceTypeENS1_10ScalarTypeE: {
    parameters: ["i8", "i8"], // c10::DeviceType, c10::ScalarType
    result: "void",
  },
  _ZN2at8autocast11clear_cacheEv: { parameters: [], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** libc10's functions: where a tensor keeps its gradient, and whether it has one. */
export const C10_SYMBOLS = {
  _ZNK3c1010TensorImpl13requires_gradEv: {
    parameters: ["pointer"], // const c10::TensorImpl* this
    result: "bool",
  },
  _ZN3c1010TensorImpl12mutable_gradEv: {
    parameters: ["pointer"], // c10::TensorImpl* this
    result: "pointer", // at::Tensor&
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** libtorch_cuda's functions; opening the library registers the CUDA kernels. */
export const CUDA_SYMBOLS = {
  _ZN2at4cuda6detail23getDefaultCUDAGeneratorEa: {
    parameters: ["i8"], // c10::DeviceIndex
    result: "pointer", // const at::Generator&
  },
  _ZN2at17CUDAGeneratorImpl16set_current_seedEm: {
    parameters: ["pointer", "u64"], // this, uint64_t seed
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The C library: memory for optional arguments, and files mapped into memory. */
export const LIBC_SYMBOLS = {
  malloc: { parameters: ["usize"], result: "pointer" },
  getenv: { parameters: ["buffer"], result: "pointer" }, // name
  setenv: { parameters: ["buffer", "buffer", "i32"], result: "i32" }, // name, value, overwrite
  memcpy: { parameters: ["pointer", "buffer", "usize"], result: "pointer" },
  open: { parameters: ["buffer", "i32"], result: "i32" }, // path, flags
  close: { parameters: ["i32"], result: "i32" },
  mmap: {
    parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"],
    result: "pointer", // addr, length, prot, flags, fd, offset
  },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  madvise: { parameters: ["pointer", "usize", "i32"], result: "i32" }, // addr, length, advice
} as const satisfies Deno.ForeignLibraryInterface;

/** The C library's loader, called on another thread. */
export const LOADER_SYMBOLS = {
  dlopen: {
    parameters: ["buffer", "i32"], // path, flags
    result: "pointer",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;
