/**
 * PyTorch's random numbers: the same seed gives the same numbers.
 *
 * @module
 */

import { type Device, seedGenerator } from "../../ffi/mod.ts";
import { aten } from "./aten.ts";
import { CPU, type Tensor } from "./tensor.ts";

/**
 * Seeds the default generator of `device`, as `torch.manual_seed` does.
 *
 * @example
 * ```ts
 * import { aten, manualSeed } from "@lorikeet/lorikeet";
 *
 * manualSeed(42);
 * using drawn = aten.rand([1]);
 * if (Math.abs(drawn.item() - 0.8823) > 1e-4) throw new Error("unexpected");
 * ```
 */
export function manualSeed(seed: number | bigint, device: Device = CPU): void {
  seedGenerator(device, BigInt.asUintN(64, BigInt(seed)));
}

/**
 * The permutation of `0 … count-1` that `torch.randperm(count,
 * generator=torch.Generator().manual_seed(seed))` gives. Leaves the default
 * generator seeded with `seed`.
 */
export function randomPermutation(
  count: number,
  seed: number | bigint,
): number[] {
  manualSeed(seed);
  using drawn: Tensor = aten.randperm(count, "int64");
  return Array.from(drawn.toArray());
}
