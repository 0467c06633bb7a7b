/**
 * Devices by the names that users type, with a check that the device can be used.
 *
 * @module
 */

import { cudaIsAvailable, type Device, openCuda } from "../../ffi/mod.ts";
import { InputError } from "../input_error.ts";
import { CPU } from "./tensor.ts";

/**
 * The device called `name`: `auto` is the first CUDA device, or the CPU where
 * there is none; the other names are `cpu`, `cuda` and `cuda:N`.
 *
 * @throws {InputError} when the name is unknown or the device is not available.
 *
 * @example
 * ```ts
 * import { deviceNamed } from "@lorikeet/lorikeet";
 *
 * if (deviceNamed("cpu").type !== "cpu") throw new Error("unexpected device");
 * ```
 */
export function deviceNamed(name: string): Device {
  if (name === "cpu") return CPU;
  const match = /^cuda(?::(\d+))?$/.exec(name);
  if (match === null && name !== "auto") {
    throw new InputError(
      `Cannot use device "${name}": it must be auto, cpu, cuda or cuda:N`,
      { exitCode: 2 },
    );
  }
  if (!cudaIsAvailable()) {
    if (match === null) return CPU;
    throw new InputError(
      `Cannot use device "${name}": this machine has no NVIDIA driver or this ` +
        `libtorch has no CUDA kernels, use --device cpu`,
    );
  }
  return openCudaDevice(name, Number(match?.[1] ?? 0));
}

function openCudaDevice(name: string, index: number): Device {
  try {
    openCuda();
  } catch (error) {
    if (name === "auto") return CPU;
    throw new InputError(
      `Cannot use device "${name}": ${(error as Error).message}`,
      { cause: error },
    );
  }
  return { type: "cuda", index };
}

/**
 * The name of `device` as PyTorch prints it.
 *
 * @example
 * ```ts
 * import { deviceName } from "@lorikeet/lorikeet";
 *
 * if (deviceName({ type: "cuda", index: 1 }) !== "cuda:1") {
 *   throw new Error("unexpected name");
 * }
 * ```
 */
export function deviceName(device: Device): string {
  return device.type === "cpu" ? "cpu" : `cuda:${device.index}`;
}
