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
import {
  detachLayers,
  disposeLayers,
  type InjectedAdapter,
  newAdapter,
  type PeftOptions,
  type PlacedLayer,
  placedParameters,
  storedAdapter,
} from "./inject.ts";
import type { LoraConfig } from "./lora_config.ts";
import { mergeLayers } from "./merge.ts";
import { storedEmbeddings } from "./stored_embeddings.ts";
import type { TargetReport } from "./targets.ts";

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
  #adapter: InjectedAdapter;

  /** Use {@linkcode getPeftModel} or {@linkcode PeftModel.fromPretrained}. */
  constructor(base: CausalLm, adapter: InjectedAdapter) {
    this.base = base;
    this.#adapter = adapter;
  }

  /** The adapter's configuration. */
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
    return placedParameters(this.#adapter).map(({ path, owner, field }) => {
      const fields = owner as unknown as Record<string, Tensor>;
      return { path, owner, field, tensor: fields[field]! };
    });
  }

  /**
   * The number of trainable parameters, and of all parameters including the
   * base model's.
   */
  countParameters(): ParameterCount {
    const trained = this.trainedParameters().map(({ tensor }) => tensor);
    const trainable = [...new Set(trained)]
      .reduce((sum, { size }) => sum + size, 0);
    let all = 0;
    const seen = new Set<Tensor>();
    for (const { tensor } of this.base.namedParameters()) {
      if (!seen.has(tensor)) all += tensor.size;
      seen.add(tensor);
    }
    return { trainable, all };
  }

  /** The line that `model.print_trainable_parameters()` prints in peft. */
  trainableParametersLine(): string {
    const { trainable, all } = this.countParameters();
    const count = (value: number): string => value.toLocaleString("en-US");
    return `trainable params: ${count(trainable)} || all params: ${
      count(all)
    } || ` +
      `trainable%: ${(100 * trainable / all).toFixed(4)}`;
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

  /** Writes `adapter_config.json` and `adapter_model.safetensors` into the folder `path`. */
  savePretrained(path: string): void {
    const named = this.report.targeted;
    const targets = typeof this.config.target_modules === "string"
      ? this.config.target_modules.toLowerCase() === "all-linear"
        ? named.toSorted()
        : this.config.target_modules
      : this.config.target_modules.filter((name) =>
        !this.report.unmatched.includes(name)
      ).toSorted();
    const { target_parameters: parameters = null } = this.config;
    writeAdapter(path, {
      config: {
        ...this.config,
        target_modules: targets,
        target_parameters: Array.isArray(parameters)
          ? parameters.toSorted()
          : parameters,
      },
      tensors: this.stateDict(),
    });
  }

  /**
   * Merges the adapter into the weights of the base model, and returns that model
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
    disposeLayers(this.layers);
    return this.base;
  }

  /**
   * Removes the adapter and returns the base model with the weights it had, as
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

  /** Frees the adapter and removes it from the base model, which stays usable. */
  [Symbol.dispose](): void {
    if (ADAPTED.get(this.base) !== this) return;
    ADAPTED.delete(this.base);
    detachLayers(this.layers);
    disposeLayers(this.layers);
  }
}

/**
 * The adapter of each base model. There is at most one, because only one could
 * be saved.
 */
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
