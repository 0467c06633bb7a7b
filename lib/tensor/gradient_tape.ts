/**
 * Operations with a backward formula of their own, inside a graph that autograd
 * records. libtorch's C ABI has no way to define such an operation, so a tape
 * keeps them: autograd sees the output of each as a leaf, and the tape carries
 * the leaf's gradient on to the inputs.
 *
 * @module
 */

import { addProductInPlace, anotherHandle } from "../../ffi/mod.ts";
import { aten, gradModeIsOn, noGrad } from "./aten.ts";
import { DetachedScope, tensorScope } from "./scope.ts";
import { Tensor } from "./tensor.ts";

/** What an operation with its own backward formula computes. */
export interface Pullback {
  /** The result: a new tensor, not a view of an input. */
  readonly output: Tensor;
  /**
   * From the gradient of the output those of the inputs, in their order; `null`
   * where an input needs none. No tensor may be returned twice. `sums` has for each
   * input the gradient it has already: a pull either adds to it in place and returns
   * it, or leaves it alone and returns a gradient that the tape adds.
   * Gradients of parameters are added with {@linkcode addToGradient} or
   * {@linkcode addProduct}.
   */
  readonly pull: (
    gradient: Tensor,
    sums: readonly (Tensor | null)[],
  ) => readonly (Tensor | null)[];
}

/** Keeps a tensor until the operation's gradient is computed; returns the kept handle. */
export type Save = (tensor: Tensor) => Tensor;

interface Entry {
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  readonly pull: Pullback["pull"];
  readonly saved: readonly Tensor[];
}

let current: GradientTape | null = null;

/** Whether autograd records operations on `inputs` at this moment. */
export function wantsGradient(inputs: readonly Tensor[]): boolean {
  return gradModeIsOn() && inputs.some((each) => each.isRecorded);
}

/** Whether a tape is open, without which no operation has a backward formula of its own. */
export function tapeIsOpen(): boolean {
  return current !== null;
}

/**
 * The tape that records an operation on `inputs`, or `null` when their gradients
 * are not wanted or no tape is open; the plain formula is right then.
 */
export function recordingTape(inputs: readonly Tensor[]): GradientTape | null {
  return current !== null && wantsGradient(inputs) ? current : null;
}

/**
 * Records operations with their own backward formula from its creation until it
 * is disposed.
 *
 * @example
 * ```ts
 * import { aten, tensor, tensorScope } from "@lorikeet/lorikeet";
 * import { GradientTape } from "@lorikeet/lorikeet/tensor";
 *
 * using _scope = tensorScope();
 * using tape = new GradientTape();
 * const x = tensor([3]).requireGrad();
 * const square = tape.record([x], (save) => {
 *   const kept = save(x);
 *   const two = save(tensor(2));
 *   return {
 *     output: aten.mul(x, x),
 *     pull: (gradient) => [aten.mul(gradient, aten.mul(kept, two))],
 *   };
 * });
 * tape.backward(aten.sum(square));
 * if (x.grad?.item() !== 6) throw new Error("unexpected gradient");
 * ```
 */
export class GradientTape implements Disposable {
  readonly #outer: GradientTape | null = current;
  readonly #entries: Entry[] = [];
  /** For each result of autograd that was an input here, the leaf that stands for it. */
  readonly #cuts = new WeakMap<Tensor, Tensor>();

  /** Opens the tape. */
  constructor() {
    current = this;
  }

  /**
   * Computes an operation on `inputs`, whose gradients its `pull` gives. What
   * `compute` makes is freed, except the output and what it saves.
   */
  record(
    inputs: readonly Tensor[],
    compute: (save: Save) => Pullback,
  ): Tensor {
    const saved: Tensor[] = [];
    const save: Save = (tensor) => {
      using scope = new DetachedScope();
      const kept = scope.keep(aten.detach(tensor));
      saved.push(kept);
      return kept;
    };
    using scope = tensorScope();
    using _frozen = noGrad();
    const { output, pull } = compute(save);
    scope.keep(output).requireGrad();
    const entry = {
      inputs: inputs.map((each) => this.#leafOf(each)),
      output: heldHandle(output),
      pull,
      saved,
    };
    this.#entries.push(entry);
    return output;
  }

  /**
   * A leaf that has the gradient of `input`. Where autograd computed the input, it
   * gets its gradient only when all operations that read it have given their part.
   */
  #leafOf(input: Tensor): Tensor {
    if (!input.isRecorded || aten.isLeaf(input)) return heldHandle(input);
    const known = this.#cuts.get(input);
    if (known !== undefined) return heldHandle(known);
    using scope = new DetachedScope();
    const leaf = scope.keep(aten.detach(input)).requireGrad();
    this.#entries.push({
      inputs: [heldHandle(input)],
      output: leaf,
      pull: (gradient) => [gradient],
      saved: [],
    });
    this.#cuts.set(input, leaf);
    return heldHandle(leaf);
  }

  /**
   * Adds the gradients of `output` to those of all leaves and parameters it was
   * computed from. `gradient` is that of the output, 1 by default; its memory may
   * be used for other gradients.
   */
  backward(output: Tensor, gradient: Tensor | null = null): void {
    using _frozen = noGrad();
    carry(output, gradient);
    for (let entry; (entry = this.#entries.pop()) !== undefined;) {
      using _scope = tensorScope();
      const { inputs, output: leaf, pull } = entry;
      const own = leaf.grad;
      if (own !== null) {
        const sums = inputs.map((each) => each.isRecorded ? each.grad : null);
        pull(own, sums).forEach((each, index) => {
          if (each !== null && each !== sums[index]) {
            carry(inputs[index]!, each);
          }
        });
      }
      release(entry);
    }
  }

  /** Closes the tape, and frees what it still holds. */
  [Symbol.dispose](): void {
    current = this.#outer;
    for (const entry of this.#entries.splice(0)) release(entry);
  }
}

/** Another handle of the same tensor, with its graph, that belongs to no scope. */
function heldHandle(tensor: Tensor): Tensor {
  using scope = new DetachedScope();
  return scope.keep(new Tensor(anotherHandle(tensor.unsafeHandle)));
}

function release({ inputs, output, saved }: Entry): void {
  for (const each of [...inputs, output, ...saved]) each[Symbol.dispose]();
}

/** Gives `tensor` a gradient: a leaf keeps it, autograd carries it on from others. */
function carry(tensor: Tensor, gradient: Tensor | null): void {
  if (!tensor.isRecorded) return;
  if (gradient === null || !aten.isLeaf(tensor)) {
    // The graph is kept, because what was computed from the tensor may ask for it
    // again; it is freed with the last handle.
    aten.backward(tensor, [], gradient, true);
    return;
  }
  const before = tensor.grad;
  tensor.setGrad(before === null ? gradient : before.add(gradient));
}

/** Adds `value` to the gradient of `parameter`, in place where it has one. */
export function addToGradient(parameter: Tensor, value: Tensor): void {
  const before = parameter.grad;
  if (before === null) parameter.setGrad(value);
  else aten.copy_(before, before.add(value));
}

/**
 * `a b`, added in place to `sum` where there is one: `[rows, inner]` times `[inner,
 * columns]`.
 */
export function addProduct(sum: Tensor | null, a: Tensor, b: Tensor): Tensor {
  if (sum === null) return aten.mm(a, b);
  if (sum.dtype === a.dtype && a.device.type === "cpu") {
    addProductInPlace(sum.unsafeHandle, {
      left: a.unsafeHandle,
      right: b.unsafeHandle,
    });
    return sum;
  }
  aten.copy_(sum, sum.add(aten.mm(a, b)));
  return sum;
}
