/**
 * What an adapter is made of: layers at places of the base model. Each layer
 * declares the parameters it trains, and can be removed again. The table of kinds
 * says how such layers are made; LoRA is one kind, and a script can register
 * others.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { type Module, moduleAt } from "../nn/mod.ts";
import type { Device, Tensor } from "../tensor/mod.ts";
import type { ExpertParts } from "./expert_adapters.ts";
import type { LoraConfig, LoraTable } from "../arguments/lora_settings.ts";

/**
 * A parameter that an adapter trains. Its tensor belongs to the adapter, never
 * to the base model.
 */
export interface AdapterParameter {
  /** Name on disk, relative to the path of the adapted module, such as `lora_A.weight`. */
  readonly name: string;
  /** The module that holds it. */
  readonly owner: Module;
  /** The field of `owner` that holds it. */
  readonly field: string;
  /** Sizes of the dimensions; known before the tensor exists. */
  readonly shape: readonly number[];
  /** Other places that hold the same tensor, which files have once for each. Default none. */
  readonly also?: readonly {
    /** Path in the base model, which is also its name on disk. */
    readonly path: string;
    /** The module that holds it. */
    readonly owner: Module;
    /** The field of `owner` that holds it. */
    readonly field: string;
  }[];
  /** The tensors that adapters of transformers 4 have in its place. Default none. */
  readonly parts?: ExpertParts;
}

/** A parameter that an adapter trains, and its path in the base model. */
export interface PlacedParameter extends AdapterParameter {
  /** Path of the adapted module, followed by the parameter's name. */
  readonly path: string;
}

/** How a layer changes one weight of the base model when it is merged into it. */
export interface WeightMerge {
  /** Name of the weight, relative to the path of the adapted module, such as `weight`. */
  readonly name: string;
  /** Its path in the base model, where it lies outside of the adapted module. */
  readonly path?: string;
  /** The merged weight in float32, from the base model's in float32. */
  merged(weight: Tensor): Tensor;
}

/** The layer that a kind of adapter adds at one place of the base model. */
export interface AdapterLayer extends Disposable {
  /** The trained parameters, in the order in which peft lists them. */
  trainedParameters(): readonly AdapterParameter[];
  /**
   * Initialises every trained parameter: a new float32 tensor on `device`, with
   * random numbers from the CPU's default generator. Not called when an adapter
   * is loaded from files.
   */
  initialize(device: Device): void;
  /**
   * Changes weights of the base model as {@linkcode AdapterLayer.initialize} does,
   * before an adapter that has learned on these is loaded. Default: changes nothing.
   */
  changeBase?(device: Device): void;
  /** The base model's parameters that wait while copies take their places. Default none. */
  readonly waiting?: readonly Tensor[];
  /** Whether its numbers are drawn after those of all other layers. Default no. */
  readonly isDrawnLast?: boolean;
  /** Puts the layer into the base model at `place` again, after {@linkcode AdapterLayer.detach}. */
  attach(place: AdapterPlace): void;
  /** Restores the base model at `place`; the layer keeps its tensors. */
  detach(place: AdapterPlace): void;
  /**
   * The weights of the base model that compute what the layer does, when they are
   * changed so.
   *
   * @throws {InputError} when the base model has no weights for it.
   */
  merges(): readonly WeightMerge[];
  /** Frees the layer's tensors; it must have been detached. */
  [Symbol.dispose](): void;
}

/** A module of the base model, with what the adapter's configuration says about it. */
export class AdapterPlace {
  /** The model that is adapted. */
  readonly base: CausalLm;
  /** Path of the module, as in the checkpoint. */
  readonly path: string;
  /** The adapter's configuration. */
  readonly config: LoraConfig;
  #targeted: boolean;
  #parameters: readonly string[];

  /** The place at `path` below `base`. */
  constructor(
    base: CausalLm,
    place: {
      path: string;
      targeted: boolean;
      parameters?: readonly string[];
      config: LoraConfig;
    },
  ) {
    this.base = base;
    this.path = place.path;
    this.config = place.config;
    this.#targeted = place.targeted;
    this.#parameters = place.parameters ?? [];
  }

  /**
   * Whether `target_modules` and the related fields select it, and no adapter
   * layer wraps it yet.
   */
  get targeted(): boolean {
    return this.#targeted;
  }

  /**
   * Names of the module's own parameters that `target_parameters` selects, as long
   * as no adapter layer wraps it.
   */
  get parameters(): readonly string[] {
    return this.#parameters;
  }

  /** The module at this place: the base model's, or the adapter layer that wraps it. */
  get module(): Module {
    return moduleAt(this.base, this.path);
  }

  /**
   * Puts `module` at this place: an adapter layer around the module that was
   * here, or that module again.
   */
  replace(module: Module): void {
    this.#targeted = false;
    this.#parameters = [];
    const dot = this.path.lastIndexOf(".");
    moduleAt(this.base, this.path.slice(0, Math.max(dot, 0)))
      .replaceChild(this.path.slice(dot + 1), module);
  }
}

/** A kind of adapter: one way to adapt modules. */
export interface AdapterKind {
  /** Its name, which can be registered only once. */
  readonly name: string;
  /**
   * The fields of `adapter_config.json` that this kind implements. They are added
   * to LoraConfig's table, or replace fields that are refused there, such as
   * `use_dora`.
   */
  readonly fields?: LoraTable;
  /**
   * Makes the layer at `place` and puts it into the base model; `null` where this
   * kind adds nothing. Called for every module, parents first; kinds that were
   * registered later are called first.
   */
  attach(place: AdapterPlace): AdapterLayer | null;
}

const KINDS: AdapterKind[] = [];
const BUILT_IN = [
  "DoRA",
  "LoRA",
  "LoRA with a bias",
  "LoRA on embeddings",
  "LoRA on parameters",
  "trained tokens",
  "modules_to_save",
  "bias",
];

/**
 * Adds a kind of adapter to the table. Disposing the result removes it again.
 *
 * @throws {TypeError} when a kind with this name is registered already.
 *
 * @example
 * ```ts
 * import { registerAdapterKind } from "@lorikeet/lorikeet";
 *
 * using _kind = registerAdapterKind({ name: "nothing", attach: () => null });
 * ```
 */
export function registerAdapterKind(kind: AdapterKind): Disposable {
  if (
    BUILT_IN.includes(kind.name) || KINDS.some(({ name }) => name === kind.name)
  ) {
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

/** All registered kinds of adapter, the latest first. */
export function registeredKinds(): readonly AdapterKind[] {
  return KINDS.toReversed();
}
