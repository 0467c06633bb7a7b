/**
 * A tensor is freed by the scope in which it was made. The garbage collector does
 * not see native memory; it only frees what a program forgot to free.
 *
 * @module
 */

/** What a scope can free. */
export interface Scoped extends Disposable {
  /** Whether it has been freed already. */
  readonly disposed: boolean;
  /** From now on, the garbage collector frees it when nothing refers to it. */
  freeWhenDropped(): void;
}

let current: TensorScope | null = null;

/** Frees the tensors made while it is the innermost scope, except those that are kept. */
export class TensorScope implements Disposable {
  readonly #outer: TensorScope | null = current;
  readonly #held: Scoped[] = [];
  readonly #kept = new Set<Scoped>();

  /** Opens a scope inside the current one. */
  constructor() {
    current = this;
  }

  /** Makes this scope responsible for `tensor`. */
  add(tensor: Scoped): void {
    this.#held.push(tensor);
  }

  /** Hands `tensor` to the enclosing scope, and returns it. */
  keep<T extends Scoped>(tensor: T): T {
    this.#kept.add(tensor);
    return tensor;
  }

  /** Frees the tensors made inside. */
  [Symbol.dispose](): void {
    current = this.#outer;
    for (const tensor of this.#held) {
      if (!this.#kept.has(tensor)) tensor[Symbol.dispose]();
      else this.adopt(tensor);
    }
  }

  /** Hands a kept tensor to the enclosing scope. */
  protected adopt(tensor: Scoped): void {
    if (this.#outer === null) tensor.freeWhenDropped();
    else this.#outer.add(tensor);
  }
}

/**
 * A scope whose kept tensors belong to no scope: for caches, which free their
 * tensors themselves.
 */
export class DetachedScope extends TensorScope {
  /** Removes a kept tensor from all scopes. */
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
