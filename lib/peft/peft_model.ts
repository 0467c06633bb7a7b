/**
 * A base model with LoRA injected: `get_peft_model` and `PeftModel` of peft.
 *
 * @module
 */

import { type CausalLm, defaultTargets } from "../architectures/mod.ts";
import { InputError, quoted } from "../input_error.ts";
import { joinPath, type NamedParameter } from "../nn/mod.ts";
import { manualSeed, type Tensor } from "../tensor/mod.ts";
import {
  ADAPTER_PREFIX,
  loadAdapterTensors,
  readAdapterConfig,
  writeAdapter,
} from "./adapter_files.ts";
import {
  type AdapterLayer,
  AdapterPlace,
  type PlacedParameter,
  registeredKinds,
} from "./adapter_kinds.ts";
import { type LoraConfig, loraConfig } from "./lora_config.ts";
import { LORA } from "./lora_linear.ts";
import { LORA_PARAMETERS } from "./lora_parameter.ts";
import { withParameterTargets } from "./parameter_targets.ts";
import { adaptableModules, targetTree } from "./target_tree.ts";
import { matchTargets, type TargetReport } from "./targets.ts";

/** Numbers of parameters, as `print_trainable_parameters` counts them. */
export interface ParameterCount {
  /** Number of trainable parameters. */
  readonly trainable: number;
  /** Number of parameters in the whole model, the adapter included. */
  readonly all: number;
}

/** An adapter layer and its place. */
export interface PlacedLayer {
  /** Its place in the base model. */
  readonly place: AdapterPlace;
  /** The adapter's layer. */
  readonly layer: AdapterLayer;
}

/** The parts of a {@linkcode PeftModel}. */
export interface PeftModelParts {
  /** The base model, with the adapter's layers in it. */
  readonly base: CausalLm;
  /** The adapter's configuration. */
  readonly config: LoraConfig;
  /** Which modules are adapted and which names matched nothing. */
  readonly report: TargetReport;
  /** The adapter's layers and their places, in the order of the tree. */
  readonly layers: readonly PlacedLayer[];
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
  /** The adapter's configuration. */
  readonly config: LoraConfig;
  /** Which modules are adapted and which names matched nothing. */
  readonly report: TargetReport;
  /** The adapter's layers and their places, in the order of the tree. */
  readonly layers: readonly PlacedLayer[];

  /** Use {@linkcode getPeftModel} or {@linkcode PeftModel.fromPretrained}. */
  constructor(parts: PeftModelParts) {
    this.base = parts.base;
    this.config = parts.config;
    this.report = parts.report;
    this.layers = parts.layers;
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
    const config = readAdapterConfig(path);
    const model = injected(base, { config, ...options });
    try {
      const wanted = model.#placed();
      loadAdapterTensors(path, { wanted, device: base.device });
    } catch (error) {
      model[Symbol.dispose]();
      throw error;
    }
    return model;
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
    return this.#placed().map(({ path, owner, field }) => {
      const fields = owner as unknown as Record<string, Tensor>;
      return { path, owner, field, tensor: fields[field]! };
    });
  }

  #placed(): PlacedParameter[] {
    return this.layers.flatMap(({ place, layer }) =>
      layer.trainedParameters().map((each) => ({
        ...each,
        path: joinPath(place.path, each.name),
      }))
    );
  }

  /**
   * The number of trainable parameters, and of all parameters including the
   * base model's.
   */
  countParameters(): ParameterCount {
    const trainable = this.trainedParameters()
      .reduce((sum, { tensor }) => sum + tensor.size, 0);
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
   * The trained tensors by their names in `adapter_model.safetensors`, in the
   * order of the tree.
   */
  *stateDict(): Generator<[string, Tensor]> {
    for (const { path, tensor } of this.trainedParameters()) {
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

  /** Frees the adapter and removes it from the base model, which stays usable. */
  [Symbol.dispose](): void {
    if (ADAPTED.get(this.base) !== this) return;
    ADAPTED.delete(this.base);
    removeLayers(this.layers);
  }
}

/**
 * The adapter of each base model. There is at most one, because only one could
 * be saved.
 */
const ADAPTED = new WeakMap<CausalLm, PeftModel>();

/** Options of {@linkcode getPeftModel}. */
export interface PeftOptions {
  /** Seeds PyTorch's random numbers before the matrices are drawn. Default: not seeded. */
  readonly seed?: number;
  /**
   * The result of {@linkcode matchTargets}, where it is known already. Default:
   * targets are matched.
   */
  readonly report?: TargetReport;
}

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
  const config = loraConfig({
    base_model_name_or_path: base.config.path,
    ...given,
    target_modules: given.target_modules ?? familyTargets(base, given),
  });
  const { report } = options;
  const model = injected(base, { config, ...(report && { report }) });
  if (options.seed !== undefined) manualSeed(options.seed);
  // peft adds the adapters of parameters after all others.
  const last = ({ layer }: PlacedLayer): boolean => layer.isDrawnLast ?? false;
  const { layers } = model;
  const ordered = [
    ...layers.filter((each) => !last(each)),
    ...layers.filter(last),
  ];
  for (const { layer } of ordered) layer.initialize(base.device);
  return model;
}

/** peft's targets for the family of `base`. */
function familyTargets(base: CausalLm, given: Partial<LoraConfig>): string[] {
  const targets = defaultTargets(base.config);
  if (targets !== undefined) return [...targets];
  if (given.target_parameters?.length) return [];
  const { path, modelType } = base.config;
  const { linearPaths, outputPath } = targetTree(base);
  const names = linearPaths.filter((each) => each !== outputPath)
    .map((each) => each.split(".").at(-1)!);
  throw new InputError(
    `Cannot inject LoRA into ${quoted(path)}: models of type ${
      quoted(modelType)
    } have no default target_modules, name some of ${
      [...new Set(names)].join(", ")
    }, or all-linear`,
  );
}

/**
 * `base` with the layers that `config` asks for; they have no tensors yet.
 *
 * @throws {InputError} when it has an adapter already, because only one of the
 *   two could be saved.
 */
function injected(
  base: CausalLm,
  plan: { config: LoraConfig; report?: TargetReport },
): PeftModel {
  const tree = targetTree(base);
  const config = withParameterTargets(tree, plan.config);
  const earlier = ADAPTED.get(base);
  if (earlier !== undefined) {
    throw new InputError(
      `Cannot inject LoRA into "${base.config.path}": ${
        quoted(earlier.report.targeted[0])
      } has an adapter already, dispose the earlier PeftModel first`,
    );
  }
  const report = plan.report ?? matchTargets(tree, config);
  const layers = attachLayers(base, { config, report });
  const model = new PeftModel({ base, config, report, layers });
  ADAPTED.set(base, model);
  return model;
}

function attachLayers(
  base: CausalLm,
  plan: { config: LoraConfig; report: TargetReport },
): PlacedLayer[] {
  const { config, report } = plan;
  const targets = new Set(report.targeted);
  const kinds = [...registeredKinds(), LORA, LORA_PARAMETERS];
  const layers: PlacedLayer[] = [];
  const paths = adaptableModules(base).map(([path]) => path);
  try {
    for (const path of paths) {
      const targeted = targets.has(path);
      const parameters = report.parameters
        .filter((each) => each.startsWith(`${path}.`))
        .map((each) => each.slice(path.length + 1))
        .filter((name) => !name.includes("."));
      const place = new AdapterPlace(base, {
        path,
        targeted,
        parameters,
        config,
      });
      for (const kind of kinds) {
        const layer = kind.attach(place);
        if (layer !== null) layers.push({ place, layer });
      }
      if (place.targeted || place.parameters.length > 0) {
        throw new InputError(
          `Cannot inject LoRA into ${quoted(path)}: no kind of adapter fits it`,
        );
      }
    }
  } catch (error) {
    removeLayers(layers);
    throw error;
  }
  return layers;
}

/** Removes the last layer first, because it may wrap an earlier one. */
function removeLayers(layers: readonly PlacedLayer[]): void {
  for (const { place, layer } of layers.toReversed()) layer.remove(place);
}
