/**
 * Several adapters of one base model. The layers of one of them, or of none, are in the
 * model; those of the others wait with their tensors.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import {
  attachLayers,
  detachLayers,
  disposeLayers,
  type InjectedAdapter,
} from "./inject.ts";

/** The name of the adapter that a PeftModel is made with, as in peft. */
const DEFAULT_ADAPTER = "default";

/** The adapters of one base model, by name. */
export class AdapterSet implements Disposable {
  readonly #adapters = new Map<string, InjectedAdapter>();
  #active: string = DEFAULT_ADAPTER;
  #isEnabled = true;

  /** Begins with `adapter`, whose layers are in the base model. */
  constructor(adapter: InjectedAdapter) {
    this.#adapters.set(DEFAULT_ADAPTER, adapter);
  }

  /** The names, in the order in which the adapters were added. */
  get names(): string[] {
    return [...this.#adapters.keys()];
  }

  /** The name of the active adapter. */
  get active(): string {
    return this.#active;
  }

  /** The adapter `name`; without a name the active one. */
  at(name: string = this.#active): InjectedAdapter {
    const adapter = this.#adapters.get(name);
    if (adapter !== undefined) return adapter;
    throw new InputError(
      `Cannot find adapter ${quoted(name)}: there ${
        this.#adapters.size === 1 ? "is" : "are"
      } ${this.names.map((each) => quoted(each)).join(", ")}`,
    );
  }

  /**
   * Adds what `make` puts into the bare base model, under `name`; the active adapter
   * stays active.
   *
   * @throws {InputError} when there is an adapter of this name.
   */
  add(name: string, make: () => InjectedAdapter): void {
    if (this.#adapters.has(name) || name === "") {
      throw new InputError(
        `Cannot add adapter ${quoted(name)}: ${
          name === "" ? "a name is needed" : "there is one of this name already"
        }`,
      );
    }
    using _bare = this.disabled();
    const adapter = make();
    detachLayers(adapter.layers);
    this.#adapters.set(name, adapter);
  }

  /** Makes the adapter `name` the active one. */
  activate(name: string): void {
    const next = this.at(name);
    if (this.#isEnabled) {
      detachLayers(this.at().layers);
      attachLayers(next.layers);
    }
    this.#active = name;
  }

  /**
   * Frees the adapter `name`.
   *
   * @throws {InputError} when it is the active one.
   */
  remove(name: string): void {
    const { layers } = this.at(name);
    if (name === this.#active) {
      throw new InputError(
        `Cannot delete adapter ${
          quoted(name)
        }: it is active, set another one first`,
      );
    }
    this.#adapters.delete(name);
    disposeLayers(layers);
  }

  /** Takes the layers out of the base model until the result is disposed. */
  disabled(): Disposable {
    if (!this.#isEnabled) return { [Symbol.dispose](): void {} };
    detachLayers(this.at().layers);
    this.#isEnabled = false;
    return {
      [Symbol.dispose]: (): void => {
        if (this.#isEnabled || this.#adapters.size === 0) return;
        attachLayers(this.at().layers);
        this.#isEnabled = true;
      },
    };
  }

  /** Frees all adapters; the base model gets its layers back. */
  [Symbol.dispose](): void {
    if (this.#isEnabled && this.#adapters.size > 0) {
      detachLayers(this.at().layers);
    }
    this.release();
  }

  /** Frees all adapters, whose layers have been taken out. */
  release(): void {
    for (const { layers } of this.#adapters.values()) disposeLayers(layers);
    this.#adapters.clear();
    this.#isEnabled = false;
  }
}
