/**
 * The ATen operators for {@linkcode Tensor}, with types derived from their
 * schemas, and grad mode. Names and argument order are PyTorch's.
 *
 * @module
 */

import {
  gradModeIsEnabled,
  operator,
  type OperatorOf,
  OPERATORS,
  setGradMode,
  type TensorHandle,
} from "../../ffi/mod.ts";
import { Tensor } from "./tensor.ts";

/** One typed function per line of `ffi/operators.ts`. */
export type Aten = {
  readonly [Name in keyof typeof OPERATORS]: OperatorOf<
    (typeof OPERATORS)[Name],
    Tensor
  >;
};

function own(handle: TensorHandle): Tensor {
  return new Tensor(handle);
}

/**
 * ATen's operators as functions; each records its gradient unless grad mode is off.
 *
 * @example
 * ```ts
 * import { aten, tensor, tensorScope } from "@lorikeet/lorikeet";
 *
 * using _scope = tensorScope();
 * const w = tensor([[1, 2], [3, 4]]).requireGrad();
 * const y = aten.linear(tensor([[1, 1]]), w);
 * aten.backward(aten.sum(y), [w]);
 * if (w.grad?.toArray().join() !== "1,1,1,1") throw new Error("unexpected");
 * ```
 *
 * @throws {TorchError} with libtorch's own error message, from every function.
 */
export const aten: Aten = Object.fromEntries(
  Object.entries(OPERATORS).map(([name, text]) => [name, operator(text, own)]),
) as unknown as Aten;

/**
 * Turns off the recording of gradients until the end of the block: `using _ =
 * noGrad()`.
 *
 * @example
 * ```ts
 * import { aten, noGrad, tensor, tensorScope } from "@lorikeet/lorikeet";
 *
 * using _scope = tensorScope();
 * const w = tensor([2]).requireGrad();
 * using _ = noGrad();
 * const y = aten.mul(w, w);
 * if (y.requireGrad().grad !== null) throw new Error("unexpected gradient");
 * ```
 */
export function noGrad(): Disposable {
  return gradMode(false);
}

/**
 * Turns on the recording of gradients until the end of the block, also inside
 * {@linkcode noGrad}.
 *
 * @example
 * ```ts
 * import { aten, noGrad, tensor, tensorScope } from "@lorikeet/lorikeet";
 * import { enableGrad } from "@lorikeet/lorikeet/tensor";
 *
 * using _scope = tensorScope();
 * const w = tensor([3]).requireGrad();
 * using _off = noGrad();
 * {
 *   using _on = enableGrad();
 *   aten.backward(aten.sum(aten.mul(w, w)), [w]);
 * }
 * if (w.grad?.item() !== 6) throw new Error("unexpected gradient");
 * ```
 */
export function enableGrad(): Disposable {
  return gradMode(true);
}

/** Whether gradients are recorded at this moment. */
export function gradModeIsOn(): boolean {
  return gradModeIsEnabled();
}

function gradMode(enabled: boolean): Disposable {
  const before = gradModeIsEnabled();
  setGradMode(enabled);
  return {
    [Symbol.dispose](): void {
      setGradMode(before);
    },
  };
}
