/**
 * The module tree. Fields that hold a `Module`, a `ModuleList` or a `Tensor` are
 * children and parameters. Their names are those of the checkpoint, so a path
 * such as `model.layers.0.self_attn.q_proj` means the same in code and on disk.
 *
 * @module
 */

import { Tensor } from "../tensor/mod.ts";

/** A parameter and its place in the tree. */
export interface NamedParameter {
  /** Path from the root, such as `model.norm.weight`. */
  readonly path: string;
  /** The module that holds it. */
  readonly owner: Module;
  /** The field of `owner` that holds it. */
  readonly field: string;
  /** The tensor itself. */
  readonly tensor: Tensor;
}

/** A parameter that a layer needs. */
export interface ParameterSpec {
  /** The field that holds it, which is also its name in checkpoints. */
  readonly name: string;
  /** Sizes of the dimensions. */
  readonly shape: readonly number[];
  /**
   * How it is initialised in a new model; `normal` has mean 0 and the standard
   * deviation of the model's config.
   */
  readonly init: "normal" | "ones" | "zeros";
}

/**
 * A parameter that a layer needs, and its place in the tree; its tensor may not
 * be loaded yet.
 */
export interface NamedParameterSpec {
  /** Path from the root, such as `model.norm.weight`. */
  readonly path: string;
  /** The module that needs it. */
  readonly owner: Module;
  /** The field of `owner` for its tensor. */
  readonly field: string;
  /** Name, shape and initialisation. */
  readonly spec: ParameterSpec;
}

/** A node of the tree. Tensors that are not saved live in `#private` fields. */
export abstract class Module {
  /** Whether dropout is active; set by {@linkcode Module.train}. */
  training = false;

  /** The direct children with their names. */
  children(): [string, Module][] {
    return Object.entries(this).filter((entry): entry is [string, Module] =>
      entry[1] instanceof Module
    );
  }

  /**
   * This module and all modules below it, with their paths; parents first, in
   * PyTorch's order.
   */
  *namedModules(prefix = ""): Generator<[string, Module]> {
    yield [prefix, this];
    for (const [name, child] of this.children()) {
      yield* child.namedModules(joinPath(prefix, name));
    }
  }

  /** All parameters below this module. */
  *namedParameters(): Generator<NamedParameter> {
    for (const [path, owner] of this.namedModules()) {
      for (const [field, value] of Object.entries(owner)) {
        if (value instanceof Tensor) {
          yield { path: joinPath(path, field), owner, field, tensor: value };
        }
      }
    }
  }

  /** The parameters that this module itself needs, without those of its children. */
  parameterSpecs(): readonly ParameterSpec[] {
    return [];
  }

  /** All parameters that this module and those below it need, in the order of the tree. */
  *namedParameterSpecs(): Generator<NamedParameterSpec> {
    for (const [path, owner] of this.namedModules()) {
      for (const spec of owner.parameterSpecs()) {
        const field = spec.name;
        yield { path: joinPath(path, field), owner, field, spec };
      }
    }
  }

  /** The tensor in the field `field`, if there is one. */
  parameter(field: string): Tensor | undefined {
    const value = (this as unknown as Record<string, unknown>)[field];
    return value instanceof Tensor ? value : undefined;
  }

  /** Puts `tensor` into the field `field`. */
  setParameter(field: string, tensor: Tensor): void {
    (this as unknown as Record<string, Tensor>)[field] = tensor;
  }

  /** Replaces the child called `name` by `child`. */
  replaceChild(name: string, child: Module): void {
    (this as unknown as Record<string, Module>)[name] = child;
  }

  /** Turns dropout on or off in this module and all below it, and returns the module. */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }
}

/** Children with numbers as names. */
export class ModuleList<T extends Module> extends Module {
  readonly #items: T[];

  /** Makes a list of `items`. */
  constructor(items: Iterable<T>) {
    super();
    this.#items = [...items];
  }

  /** The items in order. */
  get items(): readonly T[] {
    return this.#items;
  }

  /** The items, named by their index. */
  override children(): [string, Module][] {
    return this.#items.map((item, index) => [String(index), item]);
  }

  /** Replaces the item with the index `name` by `child`. */
  override replaceChild(name: string, child: Module): void {
    this.#items[Number(name)] = child as T;
  }
}

/** `name` below `prefix`; the path of the root is empty. */
export function joinPath(prefix: string, name: string): string {
  return prefix === "" ? name : `${prefix}.${name}`;
}

/**
 * The module at `path` below `root`.
 *
 * @throws {RangeError} when there is no such module.
 */
export function moduleAt(root: Module, path: string): Module {
  let module = root;
  for (const name of path === "" ? [] : path.split(".")) {
    const child = module.children().find(([each]) => each === name);
    if (child === undefined) {
      throw new RangeError(`Cannot find module "${path}": no "${name}" there`);
    }
    module = child[1];
  }
  return module;
}
