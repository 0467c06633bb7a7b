/**
 * Autocast: operators that gain from half precision run in it, whatever type the
 * weights are stored in. Which operators these are is decided by PyTorch.
 *
 * @module
 */

import { type Device, setAutocast } from "../../ffi/mod.ts";
import type { DType } from "../formats/dtype.ts";

let active = false;

/** Whether an {@linkcode autocast} block is open. */
export function autocastIsOn(): boolean {
  return active;
}

/** Runs matrix products in `dtype` on `device` until the end of the block. */
export function autocast(device: Device, dtype: DType): Disposable {
  setAutocast(device, dtype);
  active = true;
  return {
    [Symbol.dispose](): void {
      setAutocast(device, null);
      active = false;
    },
  };
}
