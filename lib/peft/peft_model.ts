/**
 * A base model with LoRA injected: `get_peft_model` and `PeftModel` of peft.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { InputError, quoted } from "../input_error.ts";
import type { NamedParameter } from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import {
  ADAPTER_PREFIX,
  readAdapterConfig,
  writeAdapter,
} from "./adapter_files.ts";
import { AdapterSet } from "./adapter_set.ts";
import {
  type InjectedAdapter,
  newAdapter,
  type PeftOptions,
  type PlacedLayer,
  placedParameters,
  storedAdapter,
} from "./inject.ts";
import type { LoraConfig } from "./lora_config.ts";
import { mergeLayers } from "./merge.ts";
import { writtenConfig } from "./resolved_config.ts";
import { storedEmbeddings } from "./stored_embeddings.ts";
import type { TargetReport } from "./targets.ts";
import { weightedAdapter, type WeightedOptions } from "./weighted_adapter.ts";

/** Numbers of parameters, as `print_trainable_parameters` counts them. */
export interface ParameterCount {
  /** Number of trainable parameters. */
  readonly trainable: number;
  /** Number of parameters in the whole model, the adapter included. */
  readonly all: number;
}

/**
 * A base model with an adapter, for LoRA with {@linkcode LoraLinear} around each
 * targeted layer.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM, getPeftModel } from "@lorikeet/lorikeet";
 *
 * using base = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * using model = getPeftModel(base, { r: 4, target_modules: ["q_proj"] });
 * if (model.report.trainedNames.join() !== "q_proj") throw new Error("unexpected");
 * ```
 */
export class PeftModel implements Disposable {
  /** The base model, with the adapter's layers in it. */
  readonly base: CausalLm;
  readonly #adapters: AdapterSet;

  /** Use {@linkcode getPeftModel} or {@linkcode PeftModel.fromPretrained}. */
  constructor(base: CausalLm, adapter: InjectedAdapter) {
    this.base = base;
    this.#adapters = new AdapterSet(adapter);
  }

  get #adapter(): InjectedAdapter {
    return this.#adapters.at();
  }

  /** The active adapter's configuration. */
  get config(): LoraConfig {
    return this.#adapter.config;
  }

  /** Which modules are adapted and which names matched nothing. */
  get report(): TargetReport {
    return this.#adapter.report;
  }

  /** The adapter's layers and their places, in the order of the tree. */
  get layers(): readonly PlacedLayer[] {
    return this.#adapter.layers;
  }

  /**
   * Loads the adapter in the folder `path` into `base`. Unlike in peft, its
   * parameters are trainable.
   *
   * @throws {InputError} when files are missing or broken, names or shapes do not
   *   match, or `base` has an adapter already; `base` is unchanged then.
   *
   * @example
   * ```ts
   * import {
   *   AutoModelForCausalLM,
   *   getPeftModel,
   *   PeftModel,
   * } from "@lorikeet/lorikeet";
   *
   * const folder = Deno.makeTempDirSync();
   * {
   *   using base = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
   *   using model = getPeftModel(base, { r: 2 });
   *   model.savePretrained(folder);
   * }
   * using base = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
   * using model = PeftModel.fromPretrained(base, folder);
   * if (model.config.r !== 2) throw new Error("unexpected rank");
   * Deno.removeSync(folder, { recursive: true });
   * ```
   */
  static fromPretrained(
    base: CausalLm,
    path: string,
    options: Pick<PeftOptions, "report"> = {},
  ): PeftModel {
    checkBare(base);
    return adapted(base, storedAdapter(base, path, options));
  }

  /**
   * The configuration of the adapter in the folder `path`; does not need
   * libtorch.
   *
   * @throws {InputError} when it is missing, or asks for something lorikeet does
   *   not implement.
   *
   * @example
   * ```ts
   * import { PeftModel } from "@lorikeet/lorikeet";
   *
   * const config = PeftModel.readConfig("tests/fixtures/peft/trained");
   * if (config.r !== 4) throw new Error("unexpected rank");
   * ```
   */
  static readConfig(path: string): LoraConfig {
    return readAdapterConfig(path);
  }

  /**
   * The trainable parameters, in the order of the tree; their paths are the names
   * in `adapter_model.safetensors` without peft's prefix.
   */
  trainedParameters(): NamedParameter[] {
    return placedParameters(this.#adapter).map(({ path, owner, field }) => ({
      path,
      owner,
      field,
      tensor: owner.parameter(field)!,
    }));
  }

  /**
   * The number of trainable parameters, and of all parameters including the
   * base model's.
   */
  countParameters(): ParameterCount {
    const trained = this.trainedParameters().map(({ tensor }) => tensor);
    const trainable = [...new Set(trained)]
      .reduce((sum, { size }) => sum + size, 0);
    const whole = new Set([
      ...Array.from(this.base.namedParameters(), ({ tensor }) => tensor),
      ...this.layers.flatMap(({ layer }) => layer.waiting ?? []),
    ]);
    const all = [...whole].reduce((sum, { size }) => sum + size, 0);
    return { trainable, all };
  }

  /** The line that `model.print_trainable_parameters()` prints in peft. */
  trainableParametersLine(): string {
    const { trainable, all } = this.countParameters();
    const [own, whole] = [trainable, all]
      .map((count) => count.toLocaleString("en-US"));
    const share = (100 * trainable / all).toFixed(4);
    return `trainable params: ${own} || all params: ${whole} || trainable%: ${share}`;
  }

  /**
   * The tensors by their names in `adapter_model.safetensors`: those that are trained,
   * in the order of the tree, and the frozen weights of adapted embeddings.
   */
  *stateDict(): Generator<[string, Tensor]> {
    const frozen = storedEmbeddings(this.base, this.#adapter);
    for (const { path, tensor } of [...this.trainedParameters(), ...frozen]) {
      yield [`${ADAPTER_PREFIX}${path}`, tensor];
    }
  }

  /**
   * Writes `adapter_config.json` and `adapter_model.safetensors` of the active adapter
   * into the folder `path`.
   */
  savePretrained(path: string): void {
    writeAdapter(path, {
      config: writtenConfig(this.config, this.report),
      tensors: this.stateDict(),
    });
  }

  /** The names of the adapters; the first is `default`. */
  get adapterNames(): readonly string[] {
    return this.#adapters.names;
  }

  /** The name of the adapter that computes, is trained and is saved. */
  get activeAdapter(): string {
    return this.#adapters.active;
  }

  /**
   * Loads another adapter, from the folder `path`; the active one stays active.
   *
   * @throws {InputError} when it does not fit, or the name is taken.
   *
   * @example
   * ```ts
   * import { AutoModelForCausalLM, generate, PeftModel } from "@lorikeet/lorikeet";
   *
   * const peft = "tests/fixtures/peft";
   * using base = AutoModelForCausalLM.fromPretrained(
   *   "tests/fixtures/models/llama_gqa",
   * );
   * using model = PeftModel.fromPretrained(base, `${peft}/trained`);
   * model.loadAdapter(`${peft}/rslora`, "other");
   * model.addWeightedAdapter({ default: 0.7, other: 0.3 }, "both");
   * for (const name of model.adapterNames) {
   *   model.setAdapter(name);
   *   [...generate(model, [1, 5, 6], { maxNewTokens: 2 })];
   * }
   * using _base = model.disableAdapter();
   * [...generate(model, [1, 5, 6], { maxNewTokens: 2 })];
   * ```
   */
  loadAdapter(path: string, name: string): void {
    this.#checkInUse();
    this.#adapters.add(name, () => storedAdapter(this.base, path, {}));
  }

  /** Adds a new adapter under `name`, as {@linkcode getPeftModel} makes it. */
  addAdapter(
    name: string,
    config: Partial<LoraConfig>,
    options: PeftOptions = {},
  ): void {
    this.#checkInUse();
    this.#adapters.add(name, () => newAdapter(this.base, config, options));
  }

  /**
   * Adds the sum of adapters, each with its weight, under `name`, as
   * `add_weighted_adapter` of peft. Its factor is 1 also where the first adapter has
   * `use_rslora`, of which peft keeps the root of the rank.
   *
   * @throws {InputError} when an adapter trains more than A and B, or they do not go
   *   together.
   */
  addWeightedAdapter(
    weights: Readonly<Record<string, number>>,
    name: string,
    options: WeightedOptions = {},
  ): void {
    this.#checkInUse();
    const summands = Object.entries(weights).map(([each, weight]) => (
      { name: each, adapter: this.#adapters.at(each), weight }
    ));
    const make = () => weightedAdapter(this.base, summands, options);
    this.#adapters.add(name, make);
  }

  /** Makes the adapter `name` the one that computes, is trained and is saved. */
  setAdapter(name: string): void {
    this.#checkInUse();
    this.#adapters.activate(name);
  }

  /** Frees the adapter `name`, which must not be the active one. */
  deleteAdapter(name: string): void {
    this.#checkInUse();
    this.#adapters.remove(name);
  }

  /** Lets the base model compute alone until the result is disposed. */
  disableAdapter(): Disposable {
    this.#checkInUse();
    return this.#adapters.disabled();
  }

  /**
   * Merges the active adapter into the weights of the base model, and returns that model
   * without the adapter, as `merge_and_unload()` of peft. Each weight is computed in
   * float32 and rounded once to the type it had. The PeftModel is disposed then.
   *
   * @throws {InputError} when a merged weight would not be finite, or the base model
   *   has no weights for what the adapter does; nothing is changed then.
   *
   * @example
   * ```ts
   * import { AutoModelForCausalLM, PeftModel, saveModel } from "@lorikeet/lorikeet";
   *
   * const folder = Deno.makeTempDirSync();
   * using base = AutoModelForCausalLM.fromPretrained(
   *   "tests/fixtures/models/llama_gqa",
   * );
   * const model = PeftModel.fromPretrained(base, "tests/fixtures/peft/trained");
   * saveModel(model.mergeAndUnload(), folder);
   * Deno.removeSync(folder, { recursive: true });
   * ```
   */
  mergeAndUnload(): CausalLm {
    this.#checkInUse();
    mergeLayers(this.base, this.layers);
    ADAPTED.delete(this.base);
    this.#adapters.release();
    return this.base;
  }

  /**
   * Removes all adapters and returns the base model with the weights it had, as
   * `unload()` of peft. The PeftModel is disposed then.
   *
   * @example
   * ```ts
   * import { AutoModelForCausalLM, getPeftModel } from "@lorikeet/lorikeet";
   *
   * using base = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
   * const model = getPeftModel(base, { r: 2 });
   * if (model.unload() !== base) throw new Error("another model");
   * ```
   */
  unload(): CausalLm {
    this.#checkInUse();
    this[Symbol.dispose]();
    return this.base;
  }

  #checkInUse(): void {
    if (ADAPTED.get(this.base) === this) return;
    throw new InputError(
      `Cannot use the adapter of ${
        quoted(this.base.config.path)
      }: it has been disposed`,
    );
  }

  /** Frees all adapters and removes them from the base model, which stays usable. */
  [Symbol.dispose](): void {
    if (ADAPTED.get(this.base) !== this) return;
    ADAPTED.delete(this.base);
    this.#adapters[Symbol.dispose]();
  }
}

/** The PeftModel of each base model; there is at most one. */
const ADAPTED = new WeakMap<CausalLm, PeftModel>();

/**
 * Adds a new adapter to the targeted layers of `base`. It is drawn from PyTorch's
 * CPU generator in peft's order, so that the same seed gives the same numbers as
 * peft. Where no `target_modules` are given, peft's for the family are taken.
 *
 * @throws {InputError} when no module matches, naming those that exist, when `base`
 *   has an adapter already, or when no targets are given and peft has none for the
 *   family.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM, getPeftModel } from "@lorikeet/lorikeet";
 *
 * using base = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * using model = getPeftModel(base, { r: 8, target_modules: "all-linear" }, {
 *   seed: 42,
 * });
 * if (model.countParameters().trainable === 0) throw new Error("nothing to train");
 * ```
 */
export function getPeftModel(
  base: CausalLm,
  given: Partial<LoraConfig> = {},
  options: PeftOptions = {},
): PeftModel {
  checkBare(base);
  return adapted(base, newAdapter(base, given, options));
}

function adapted(base: CausalLm, adapter: InjectedAdapter): PeftModel {
  const model = new PeftModel(base, adapter);
  ADAPTED.set(base, model);
  return model;
}

function checkBare(base: CausalLm): void {
  const earlier = ADAPTED.get(base);
  if (earlier === undefined) return;
  throw new InputError(
    `Cannot inject LoRA into "${base.config.path}": ${
      quoted(earlier.report.targeted[0])
    } has an adapter already, dispose the earlier PeftModel first`,
  );
}
