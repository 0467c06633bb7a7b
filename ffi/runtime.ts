/**
 * libtorch's settings for the process and the thread: number of threads, grad
 * mode, autocast, and the seeds of the default generators.
 *
 * @module
 */

import type { DType } from "../lib/formats/dtype.ts";
import { dtypeCode } from "./dispatch.ts";
import { libraries, openCuda } from "./library.ts";
import type { Device } from "./tensor_handle.ts";

/**
 * Sets how many CPU threads an operator may use.
 *
 * @example
 * ```ts
 * import { full, setThreads } from "@lorikeet/lorikeet/tensor";
 *
 * setThreads(1);
 * using x = full([2], { value: 1 });
 * if (x.shape[0] !== 2) throw new Error("unexpected shape");
 * ```
 */
export function setThreads(count: number): void {
  libraries().torch._ZN2at15set_num_threadsEi(count);
}

/** How many CPU threads an operator may use. */
export function threads(): number {
  return libraries().torch._ZN2at15get_num_threadsEv();
}

/**
 * Lets CUDA devices round the inputs of float32 products to 10 bits of mantissa
 * (TF32), which is several times as fast. Has no effect on a CPU.
 *
 * @example
 * ```ts
 * import { allowTf32, tf32IsAllowed } from "@lorikeet/lorikeet/tensor";
 *
 * allowTf32(true);
 * if (!tf32IsAllowed()) throw new Error("unexpected setting");
 * allowTf32(false);
 * ```
 */
export function allowTf32(allowed: boolean): void {
  const { torch } = libraries();
  const context = torch._ZN2at13globalContextEv?.() ?? null;
  torch._ZN2at7Context18setAllowTF32CuBLASEb?.(context, allowed);
  torch._ZN2at7Context17setAllowTF32CuDNNEb?.(context, allowed);
}

/** Whether CUDA devices may use TF32 in float32 products; see {@linkcode allowTf32}. */
export function tf32IsAllowed(): boolean {
  const { torch } = libraries();
  const context = torch._ZN2at13globalContextEv?.() ?? null;
  return torch._ZNK2at7Context15allowTF32CuBLASEv?.(context) ?? false;
}

/** Whether autograd records operators. */
export function gradModeIsEnabled(): boolean {
  return libraries().torch.aoti_torch_grad_mode_is_enabled();
}

/** Turns the recording of operators on or off. */
export function setGradMode(enabled: boolean): void {
  libraries().torch.aoti_torch_grad_mode_set_enabled(enabled);
}

/** Seeds the default generator of `device` as `torch.manual_seed` does. */
export function seedGenerator(device: Device, seed: bigint): void {
  if (device.type === "cuda") {
    const cuda = openCuda();
    const generator = cuda._ZN2at4cuda6detail23getDefaultCUDAGeneratorEa(
      device.index,
    )!;
    cuda._ZN2at17CUDAGeneratorImpl16set_current_seedEm(
      new Deno.UnsafePointerView(generator).getPointer(),
      seed,
    );
    return;
  }
  const { torch } = libraries();
  const generator = torch._ZN2at6detail22getDefaultCPUGeneratorEv()!;
  torch._ZN2at16CPUGeneratorImpl16set_current_seedEm(
    new Deno.UnsafePointerView(generator).getPointer(),
    seed,
  );
}

/** Turns autocast to `dtype` on for `device`, or off with `null`. */
export function setAutocast(device: Device, dtype: DType | null): void {
  const { torch } = libraries();
  const type = device.type === "cpu" ? 0 : torch.aoti_torch_device_type_cuda();
  if (dtype !== null) {
    torch
      ._ZN2at8autocast18set_autocast_dtypeEN3c1010DeviceTypeENS1_10ScalarTypeE(
        type,
        dtypeCode(dtype),
      );
  }
  torch._ZN2at8autocast20set_autocast_enabledEN3c1010DeviceTypeEb(
    type,
    dtype !== null,
  );
  if (dtype === null) torch._ZN2at8autocast11clear_cacheEv();
}
