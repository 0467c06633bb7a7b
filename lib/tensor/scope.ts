/**
 * Who frees a tensor: the scope in which it was made. Garbage collection does not
 * see native memory and is only the net below.
 *
 * @module
 */

/** What a scope holds. */
export interface Scoped extends Disposable {
  /** Whether the memory has been given back already. */
  readonly disposed: boolean;
  /** Has the garbage collector free it, should its holder drop it. */
  freeWhenDropped(): void;
}

let current: TensorScope | null = null;

/** Frees the tensors made while it is the innermost scope, but for kept ones. */
export class TensorScope implements Disposable {
  readonly #outer: TensorScope | null = current;
  readonly #held: Scoped[] = [];
  readonly #kept = new Set<Scoped>();

  /** Opens a scope inside the current one. */
  constructor() {
    current = this;
  }

  /** Takes charge of `tensor`. */
  add(tensor: Scoped): void {
    this.#held.push(tensor);
  }

  /** Leaves `tensor` to the scope outside, and gives it back. */
  keep<T extends Scoped>(tensor: T): T {
    this.#kept.add(tensor);
    return tensor;
  }

  /** Frees what was made inside. */
  [Symbol.dispose](): void {
    current = this.#outer;
    for (const tensor of this.#held) {
      if (!this.#kept.has(tensor)) tensor[Symbol.dispose]();
      else this.adopt(tensor);
    }
  }

  /** Hands a kept tensor on. */
  protected adopt(tensor: Scoped): void {
    if (this.#outer === null) tensor.freeWhenDropped();
    else this.#outer.add(tensor);
  }
}

/** A scope whose kept tensors belong to nobody but their holder: for caches. */
export class DetachedScope extends TensorScope {
  /** Leaves a kept tensor to its holder. */
  protected override adopt(tensor: Scoped): void {
    tensor.freeWhenDropped();
  }
}

/**
 * Opens a scope: `using scope = tensorScope()` frees every tensor made in the
 * block when the block is left, except those given to `scope.keep()`.
 *
 * @example
 * ```ts
 * import { aten, tensor, tensorScope } from "@lorikeet/lorikeet";
 * import { liveTensors } from "@lorikeet/lorikeet/tensor";
 *
 * const before = liveTensors();
 * function total(): number {
 *   using _scope = tensorScope();
 *   const x = tensor([1, 2, 3]);
 *   return aten.sum(aten.mul(x, x)).item();
 * }
 * if (total() !== 14) throw new Error("unexpected sum");
 * if (liveTensors() !== before) throw new Error("a tensor was left");
 * ```
 */
export function tensorScope(): TensorScope {
  return new TensorScope();
}

/** The innermost open scope, or `null`. */
export function currentScope(): TensorScope | null {
  return current;
}
