/**
 * What an adapter is made of: layers at places of the base model, each declaring
 * the parameters it trains and how it is taken out again. The table of kinds says
 * who makes the layers; LoRA is one entry, and a script can add its own.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { type Module, moduleAt } from "../nn/mod.ts";
import type { Device } from "../tensor/mod.ts";
import type { LoraConfig, LoraTable } from "../arguments/lora_settings.ts";

/** A parameter that an adapter trains. Its tensor is the adapter's own, never the base model's. */
export interface AdapterParameter {
  /** Name on disk below the path of the place, such as `lora_A.weight`. */
  readonly name: string;
  /** The module that holds it. */
  readonly owner: Module;
  /** The field of `owner` that holds it. */
  readonly field: string;
  /** Sizes of the dimensions; known before there is a tensor. */
  readonly shape: readonly number[];
}

/** A parameter that an adapter trains, and its path in the base model. */
export interface PlacedParameter extends AdapterParameter {
  /** Path of the place with the parameter's name below it. */
  readonly path: string;
}

/** What a kind of adapter puts at one place of the base model. */
export interface AdapterLayer {
  /** The trained parameters, in the order in which peft lists them. */
  trainedParameters(): readonly AdapterParameter[];
  /**
   * Gives every trained parameter a fresh float32 tensor on `device`; random numbers
   * come from the CPU's default generator. Not called when an adapter is loaded.
   */
  initialize(device: Device): void;
  /** Puts the base model back as it was at `place`, and frees the layer's tensors. */
  remove(place: AdapterPlace): void;
}

/** A module of the base model, and what the adapter's configuration says of it. */
export class AdapterPlace {
  /** The model that is adapted. */
  readonly base: CausalLm;
  /** Path of the module, as in the checkpoint. */
  readonly path: string;
  /** The adapter's configuration. */
  readonly config: LoraConfig;
  #targeted: boolean;

  /** The place at `path` below `base`. */
  constructor(
    base: CausalLm,
    place: { path: string; targeted: boolean; config: LoraConfig },
  ) {
    this.base = base;
    this.path = place.path;
    this.config = place.config;
    this.#targeted = place.targeted;
  }

  /** Whether `target_modules` and its companions choose it and no kind has wrapped it yet. */
  get targeted(): boolean {
    return this.#targeted;
  }

  /** The module that stands here now: the base model's, or an adapter's around it. */
  get module(): Module {
    return moduleAt(this.base, this.path);
  }

  /** Puts `module` here, an adapter's around the one that stood here, or that one again. */
  replace(module: Module): void {
    this.#targeted = false;
    const dot = this.path.lastIndexOf(".");
    moduleAt(this.base, this.path.slice(0, Math.max(dot, 0)))
      .replaceChild(this.path.slice(dot + 1), module);
  }
}

/** An entry of the table: one way to adapt modules. */
export interface AdapterKind {
  /** What it is called; a name can be registered once. */
  readonly name: string;
  /**
   * Fields of `adapter_config.json` that this kind computes: rows that are added to
   * LoraConfig's table, or that stand for rows refused there, such as `use_dora`.
   */
  readonly fields?: LoraTable;
  /**
   * The layer at `place`, put into the base model, or `null` where this kind has
   * nothing to do. Asked for every module, parents first; kinds that were
   * registered later are asked first.
   */
  attach(place: AdapterPlace): AdapterLayer | null;
}

const KINDS: AdapterKind[] = [];

/**
 * Adds a kind of adapter to the table. Disposing the result takes it out again.
 *
 * @throws {TypeError} when a kind of this name is there already.
 *
 * @example
 * ```ts
 * import { registerAdapterKind } from "@lorikeet/lorikeet";
 *
 * using _kind = registerAdapterKind({ name: "nothing", attach: () => null });
 * ```
 */
export function registerAdapterKind(kind: AdapterKind): Disposable {
  if (kind.name === "LoRA" || KINDS.some(({ name }) => name === kind.name)) {
    throw new TypeError(
      `Cannot register adapter kind "${kind.name}": there is one of this name already`,
    );
  }
  KINDS.push(kind);
  return {
    [Symbol.dispose](): void {
      const index = KINDS.indexOf(kind);
      if (index >= 0) KINDS.splice(index, 1);
    },
  };
}

/** All kinds of adapter that were registered, the latest first. */
export function registeredKinds(): readonly AdapterKind[] {
  return KINDS.toReversed();
}
