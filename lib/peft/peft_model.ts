/**
 * A base model with LoRA injected: `get_peft_model` and `PeftModel` of peft.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { InputError } from "../input_error.ts";
import { type Module, moduleAt, Projection } from "../nn/mod.ts";
import { manualSeed, type Tensor } from "../tensor/mod.ts";
import {
  ADAPTER_PREFIX,
  readAdapter,
  readAdapterConfig,
  writeAdapter,
} from "./adapter_files.ts";
import {
  type LoraConfig,
  loraConfig,
  rankAt,
  scalingAt,
} from "./lora_config.ts";
import { LoraLinear } from "./lora_linear.ts";
import { matchTargets, type TargetReport, type TargetTree } from "./targets.ts";

/** Trained and untrained sizes, as `print_trainable_parameters` counts them. */
export interface ParameterCount {
  /** Numbers in the trained matrices. */
  readonly trainable: number;
  /** Numbers in the whole model, the adapter included. */
  readonly all: number;
}

/** What a {@linkcode PeftModel} is made of. */
export interface PeftModelParts {
  /** The base model, its layers wrapped. */
  readonly base: CausalLm;
  /** The adapter's configuration. */
  readonly config: LoraConfig;
  /** Which modules are adapted and which names matched nothing. */
  readonly report: TargetReport;
  /** The wrapped layers by path, in the order of the tree. */
  readonly adapters: ReadonlyMap<string, LoraLinear>;
}

/**
 * A base model whose targeted layers are wrapped in {@linkcode LoraLinear}.
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
  /** The base model, its layers wrapped. */
  readonly base: CausalLm;
  /** The adapter's configuration. */
  readonly config: LoraConfig;
  /** Which modules are adapted and which names matched nothing. */
  readonly report: TargetReport;
  /** The adapters by the paths of the layers they wrap, in the order of the tree. */
  readonly adapters: ReadonlyMap<string, LoraLinear>;

  /** Use {@linkcode getPeftModel} or {@linkcode PeftModel.fromPretrained}. */
  constructor(parts: PeftModelParts) {
    this.base = parts.base;
    this.config = parts.config;
    this.report = parts.report;
    this.adapters = parts.adapters;
  }

  /**
   * Injects the adapter in the folder `path` into `base`. Unlike peft's, it is
   * trainable: nobody loads an adapter here to train nothing.
   *
   * @throws {InputError} when files are missing or broken, names or shapes differ, or
   *   `base` has an adapter already; `base` is then as it was.
   *
   * @example
   * ```ts
   * import { AutoModelForCausalLM, getPeftModel, PeftModel } from "@lorikeet/lorikeet";
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
  static fromPretrained(base: CausalLm, path: string): PeftModel {
    const { config, tensors } = readAdapter(path);
    const report = targetsIn(base, config);
    const adapters = inject(base, { config, report });
    for (const [module, adapter] of adapters) {
      const shapes = {
        lora_A: [adapter.rank, adapter.inFeatures],
        lora_B: [adapter.outFeatures, adapter.rank],
      };
      adapter.lora_A.weight = tensors.take(module, {
        matrix: "lora_A",
        shape: shapes.lora_A,
        device: base.device,
      });
      adapter.lora_B.weight = tensors.take(module, {
        matrix: "lora_B",
        shape: shapes.lora_B,
        device: base.device,
      });
    }
    const model = new PeftModel({ base, config, report, adapters });
    try {
      tensors.finish();
    } catch (error) {
      model[Symbol.dispose]();
      throw error;
    }
    return model;
  }

  /**
   * The configuration of the adapter in the folder `path`; needs no libtorch.
   *
   * @throws {InputError} when it is missing or asks for what lorikeet does not compute.
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

  /** How many numbers are trained, and how many there are with the base's. */
  countParameters(): ParameterCount {
    let trainable = 0;
    for (const adapter of this.adapters.values()) {
      trainable += adapter.rank * (adapter.inFeatures + adapter.outFeatures);
    }
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

  /** Trained tensors under the names of `adapter_model.safetensors`, in the order of the tree. */
  *stateDict(): Generator<[string, Tensor]> {
    for (const [path, adapter] of this.adapters) {
      const module = `${ADAPTER_PREFIX}${path}`;
      yield [`${module}.lora_A.weight`, adapter.lora_A.weight];
      yield [`${module}.lora_B.weight`, adapter.lora_B.weight];
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
    writeAdapter(path, {
      config: { ...this.config, target_modules: targets },
      tensors: this.stateDict(),
    });
  }

  /** Frees the adapters and takes them out of the base model, which stays. */
  [Symbol.dispose](): void {
    for (const [path, adapter] of this.adapters) {
      const { parent, name } = placeOf(this.base, path);
      if (moduleAt(parent, name) === adapter) {
        parent.replaceChild(name, adapter.base_layer);
      }
      adapter[Symbol.dispose]();
    }
  }
}

/** Options of {@linkcode getPeftModel}. */
export interface PeftOptions {
  /** Seeds PyTorch's random stream before the matrices are drawn. Default: not seeded. */
  readonly seed?: number;
}

/**
 * Wraps the targeted layers of `base` with fresh adapters, drawn from PyTorch's
 * CPU random stream in peft's order, so that the same seed gives peft's numbers.
 *
 * @throws {InputError} when no module matches, naming those that exist, or `base` has
 *   an adapter already.
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
  });
  const report = targetsIn(base, config);
  const adapters = inject(base, { config, report });
  if (options.seed !== undefined) manualSeed(options.seed);
  for (const adapter of adapters.values()) {
    adapter.initialize(config.init_lora_weights, base.device);
  }
  return new PeftModel({ base, config, report, adapters });
}

/**
 * The names of `base` as far as matching needs them; works without weights.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM, targetTree } from "@lorikeet/lorikeet";
 *
 * const model = AutoModelForCausalLM.fromConfig("models/tiny-atom");
 * const { linearPaths, outputPath } = targetTree(model);
 * if (!linearPaths.includes(outputPath)) throw new Error("no head");
 * ```
 */
export function targetTree(base: CausalLm): TargetTree {
  const modules = [...base.namedModules()];
  return {
    allPaths: modules.map(([path]) => path),
    linearPaths: modules.filter(([, module]) => module instanceof Projection)
      .map(([path]) => path),
    outputPath: base.outputEmbeddingsPath,
  };
}

/**
 * The modules of `base` to adapt.
 *
 * @throws {InputError} when it has an adapter: only one of the two would be saved.
 */
function targetsIn(base: CausalLm, config: LoraConfig): TargetReport {
  for (const [path, module] of base.namedModules()) {
    if (module instanceof LoraLinear) {
      throw new InputError(
        `Cannot inject LoRA into "${base.config.path}": "${path}" has an adapter already, dispose the earlier PeftModel first`,
      );
    }
  }
  return matchTargets(targetTree(base), config);
}

function inject(
  base: CausalLm,
  plan: { config: LoraConfig; report: TargetReport },
): Map<string, LoraLinear> {
  const adapters = new Map<string, LoraLinear>();
  for (const path of plan.report.targeted) {
    const { parent, name } = placeOf(base, path);
    const adapter = new LoraLinear(moduleAt(parent, name) as Projection, {
      rank: rankAt(plan.config, path),
      scaling: scalingAt(plan.config, path),
      dropout: plan.config.lora_dropout,
    });
    parent.replaceChild(name, adapter);
    adapters.set(path, adapter);
  }
  return adapters;
}

function placeOf(root: Module, path: string): { parent: Module; name: string } {
  const dot = path.lastIndexOf(".");
  const parent = moduleAt(root, path.slice(0, Math.max(dot, 0)));
  return { parent, name: path.slice(dot + 1) };
}
