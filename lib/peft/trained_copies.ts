/**
 * Parameters of the base model that are trained themselves, as copies: whole modules
 * (`modules_to_save`) and biases (`bias`).
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { Embedding, type Module, ParameterLayer } from "../nn/mod.ts";
import {
  aten,
  DetachedScope,
  type Device,
  type Tensor,
  to,
} from "../tensor/mod.ts";
import type {
  AdapterKind,
  AdapterLayer,
  AdapterParameter,
  AdapterPlace,
  WeightMerge,
} from "./adapter_kinds.ts";
import { isSavedModule, tiedToEmbedding } from "./saved_modules.ts";

/** `modules_to_save`: every parameter of the named modules is trained. */
export const SAVED_MODULES: AdapterKind = {
  name: "modules_to_save",
  attach(place): AdapterLayer | null {
    const { base, path, module, config } = place;
    if (!isSavedModule(config, path)) return null;
    const parent = path.slice(0, Math.max(path.lastIndexOf("."), 0));
    if (parent !== "" && isSavedWith(place, parent)) return null;
    for (const [inner, each] of module.namedModules()) {
      if (!(each instanceof ParameterLayer)) continue;
      throw new InputError(
        `Cannot train ${quoted(path)} as modules_to_save: ${
          quoted(inner === "" ? path : `${path}.${inner}`)
        } holds the weights of experts, name a module without experts`,
      );
    }
    const tied = tiedToEmbedding(base, config, path);
    const copies = Array.from(module.namedParameterSpecs(), (each) => ({
      name: each.path,
      owner: each.owner,
      field: each.field,
      shape: each.spec.shape,
      mergeName: each.path,
      also: tied === null ? [] : [tied],
    }));
    return copies.length === 0 ? null : new TrainedCopies(copies, "beside");
  },
};

/** Whether the module at `path`, or one above it, is trained whole. */
function isSavedWith({ config }: AdapterPlace, path: string): boolean {
  const parts = path.split(".");
  return parts.some((_, end) =>
    isSavedModule(config, parts.slice(0, end + 1).join("."))
  );
}

/** `bias`: the biases of all modules, or of those that LoRA wraps. */
export const BIASES: AdapterKind = {
  name: "bias",
  attach(place): AdapterLayer | null {
    const { module, config, path } = place;
    if (config.bias === "none" || isSavedWith(place, path)) return null;
    const wrapped = "base_layer" in module
      ? module.base_layer as Module
      : undefined;
    if (config.bias === "lora_only" && wrapped === undefined) return null;
    const owner = wrapped ?? module;
    const bias = owner.parameterSpecs().find(({ name }) => name === "bias");
    if (bias === undefined) return null;
    return new TrainedCopies([{
      name: wrapped === undefined ? "bias" : "base_layer.bias",
      owner,
      field: "bias",
      shape: bias.shape,
      mergeName: "bias",
      also: [],
    }]);
  },
};

/** A parameter of the base model that is trained as a copy. */
interface TrainedCopy {
  /** Name on disk, relative to the adapted module. */
  readonly name: string;
  /** The module that holds it. */
  readonly owner: Module;
  /** The field of `owner` that holds it. */
  readonly field: string;
  /** Sizes of its dimensions. */
  readonly shape: readonly number[];
  /** Its name in the base model, relative to the adapted module. */
  readonly mergeName: string;
  /** Other places in the base model that hold the same copy. */
  readonly also: NonNullable<AdapterParameter["also"]>;
}

/** Copies in the places of parameters of the base model. */
class TrainedCopies implements AdapterLayer {
  readonly #copies: readonly TrainedCopy[];
  /** None where the base model has no weights, only names and shapes. */
  readonly #originals: readonly (Tensor | undefined)[];
  /** The copies while they are not in the base model. */
  #own: (Tensor | null)[];

  /** What peft counts beside the copies; it counts biases once. */
  readonly waiting: readonly Tensor[];

  /** Takes note of what stands in the places. */
  constructor(
    copies: readonly TrainedCopy[],
    kept: "beside" | "inside" = "inside",
  ) {
    this.#copies = copies;
    this.#originals = copies.map(({ owner, field }) => owner.parameter(field));
    this.waiting = kept === "inside"
      ? []
      : this.#originals.filter((each) => each !== undefined);
    this.#own = copies.map(() => null);
    for (const [index, { owner }] of copies.entries()) {
      // Rows of the base model's type, not of float32 as the copies are.
      if (!(owner instanceof Embedding)) continue;
      owner.outputType = this.#originals[index]?.dtype ?? null;
    }
  }

  /** The copies, in the order of the tree. */
  trainedParameters(): readonly AdapterParameter[] {
    return this.#copies.map(({ name, owner, field, shape, also }) => (
      { name, owner, field, shape, also }
    ));
  }

  /** Copies the base model's numbers. */
  initialize(device: Device): void {
    using scope = new DetachedScope();
    for (const [index, original] of this.#originals.entries()) {
      const wide = to(original!, { dtype: "float32", device });
      this.#put(index, scope.keep(aten.clone(wide)));
    }
  }

  #put(index: number, tensor: Tensor): void {
    const { owner, field, also } = this.#copies[index]!;
    for (const each of [{ owner, field }, ...also]) {
      each.owner.setParameter(each.field, tensor);
    }
  }

  /** Puts the copies into their places. */
  attach(): void {
    for (const [index, own] of this.#own.entries()) {
      if (own !== null) this.#put(index, own);
    }
  }

  /** Puts the base model's own parameters into their places. */
  detach(): void {
    this.#own = this.#copies.map(({ owner, field }, index) => {
      const own = owner.parameter(field);
      const original = this.#originals[index];
      if (own === undefined || original === undefined) return null;
      this.#put(index, original);
      return own === original ? null : own;
    });
  }

  /** The copies in the place of what was there. */
  merges(): readonly WeightMerge[] {
    return this.#copies.flatMap(({ mergeName, owner, field, also }, index) => {
      const merged = (): Tensor =>
        aten.clone(this.#own[index] ?? owner.parameter(field)!);
      return [
        { name: mergeName, merged },
        ...also.map(({ path }) => ({ path, name: mergeName, merged })),
      ];
    });
  }

  /** Frees the copies. */
  [Symbol.dispose](): void {
    for (const own of this.#own) own?.[Symbol.dispose]();
  }
}
