/**
 * Puts the layers of an adapter into a base model, in peft's order, and takes them out
 * again.
 *
 * @module
 */

import { type CausalLm, defaultTargets } from "../architectures/mod.ts";
import { STORED_STARTS } from "../arguments/lora_settings.ts";
import { InputError, quoted } from "../input_error.ts";
import { joinPath } from "../nn/mod.ts";
import { manualSeed } from "../tensor/mod.ts";
import { loadAdapterTensors, readAdapterConfig } from "./adapter_files.ts";
import {
  type AdapterKind,
  type AdapterLayer,
  AdapterPlace,
  type PlacedParameter,
  registeredKinds,
} from "./adapter_kinds.ts";
import { DORA } from "./dora.ts";
import { type LoraConfig, loraConfig } from "./lora_config.ts";
import { LORA_BIAS } from "./lora_bias.ts";
import { LORA_EMBEDDING } from "./lora_embedding.ts";
import { LORA } from "./lora_linear.ts";
import { LORA_PARAMETERS } from "./lora_parameter.ts";
import { changesWeights } from "./lora_start.ts";
import { resolvedConfig } from "./resolved_config.ts";
import { replacedEmbeddings, storedEmbeddings } from "./stored_embeddings.ts";
import { adaptableModules, targetTree } from "./target_tree.ts";
import { matchTargets, type TargetReport } from "./targets.ts";
import { TRAINED_TOKENS } from "./trained_tokens.ts";
import { BIASES, SAVED_MODULES } from "./trained_copies.ts";

/** The kinds that peft's LoraConfig names; a kind of a script comes before them. */
const KINDS: readonly AdapterKind[] = [
  DORA,
  LORA_BIAS,
  LORA_EMBEDDING,
  LORA,
  LORA_PARAMETERS,
  TRAINED_TOKENS,
  SAVED_MODULES,
  BIASES,
];

/** `--seed` of a run that names no other. */
const DEFAULT_SEED = 42;

/** An adapter layer and its place. */
export interface PlacedLayer {
  /** Its place in the base model. */
  readonly place: AdapterPlace;
  /** The adapter's layer. */
  readonly layer: AdapterLayer;
}

/** One adapter of a base model. */
export interface InjectedAdapter {
  /** The adapter's configuration. */
  readonly config: LoraConfig;
  /** Which modules are adapted and which names matched nothing. */
  readonly report: TargetReport;
  /** The adapter's layers and their places, in the order of the tree. */
  readonly layers: readonly PlacedLayer[];
}

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
 * A new adapter in `base`, drawn from PyTorch's CPU generator in peft's order.
 *
 * @throws {InputError} when no module matches, or no targets are given and peft has
 *   none for the family.
 */
export function newAdapter(
  base: CausalLm,
  given: Partial<LoraConfig>,
  options: PeftOptions,
): InjectedAdapter {
  const config = loraConfig({
    base_model_name_or_path: base.config.path,
    ...given,
    target_modules: given.target_modules ?? familyTargets(base, given),
  });
  const { init_lora_weights: start } = config;
  if (STORED_STARTS.some((each) => each === start)) {
    throw new InputError(
      `Cannot start LoRA as ${start}: that needs rows to learn from, adapters that ` +
        "peft started so can be loaded",
    );
  }
  const { report } = options;
  const adapter = injected(base, { config, ...(report && { report }) });
  if (options.seed !== undefined) manualSeed(options.seed);
  // peft adds the adapters of parameters after all others.
  const last = ({ layer }: PlacedLayer): boolean => layer.isDrawnLast ?? false;
  const { layers } = adapter;
  const ordered = [
    ...layers.filter((each) => !last(each)),
    ...layers.filter(last),
  ];
  return undoneOnError(adapter, () => {
    for (const { layer } of ordered) layer.initialize(base.device);
    return adapter;
  });
}

/** What `fill` returns; when it throws, the layers are taken out and freed first. */
function undoneOnError(
  { layers }: InjectedAdapter,
  fill: () => InjectedAdapter,
): InjectedAdapter {
  try {
    return fill();
  } catch (error) {
    detachLayers(layers);
    disposeLayers(layers);
    throw error;
  }
}

/**
 * The adapter in the folder `path`, in `base`.
 *
 * @throws {InputError} when files are missing or broken, or do not fit; `base` is
 *   unchanged then.
 */
export function storedAdapter(
  base: CausalLm,
  path: string,
  options: Pick<PeftOptions, "report">,
): InjectedAdapter {
  const config = readAdapterConfig(path);
  const adapter = injected(base, { config, ...options });
  return undoneOnError(adapter, () => {
    // The default seed of training: random parts come out as they did there.
    if (changesWeights(config.init_lora_weights)) manualSeed(DEFAULT_SEED);
    for (const { layer } of adapter.layers) layer.changeBase?.(base.device);
    const wanted = placedParameters(adapter);
    const embeddings = storedEmbeddings(base, adapter);
    const stored = loadAdapterTensors(path, {
      wanted,
      optional: new Map(
        embeddings.map((each) => [each.path, each.tensor.shape]),
      ),
      device: base.device,
    });
    const replaced = replacedEmbeddings(embeddings, stored);
    // Before the layers that wrap them, so that these are merged into what replaces.
    return { ...adapter, layers: [...replaced, ...adapter.layers] };
  });
}

/** An adapter in `base` whose parameters `fill` sets. */
export function filledAdapter(
  base: CausalLm,
  config: LoraConfig,
  fill: (layers: readonly PlacedLayer[]) => void,
): InjectedAdapter {
  const adapter = injected(base, { config });
  return undoneOnError(adapter, () => {
    fill(adapter.layers);
    return adapter;
  });
}

/**
 * Numbers that an adapter trains in `base`, whose weights need not be loaded.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
 * import { loraConfig, trainedCount } from "@lorikeet/lorikeet/peft";
 *
 * const base = AutoModelForCausalLM.fromConfig("models/tiny-atom");
 * const config = loraConfig({ r: 2, modules_to_save: ["lm_head"] });
 * if (trainedCount(base, { config }) === 0) throw new Error("nothing");
 * ```
 */
export function trainedCount(
  base: CausalLm,
  plan: { readonly config: LoraConfig; readonly report?: TargetReport },
): number {
  const { layers } = injected(base, plan);
  detachLayers(layers);
  const size = (shape: readonly number[]): number =>
    shape.reduce((one, other) => one * other, 1);
  const all = layers.flatMap(({ layer }) => layer.trainedParameters());
  return all.reduce((sum, { shape }) => sum + size(shape), 0);
}

/** The trained parameters of an adapter, in the order of the tree. */
export function placedParameters(adapter: InjectedAdapter): PlacedParameter[] {
  return adapter.layers.flatMap(({ place, layer }) =>
    layer.trainedParameters().flatMap((each) => [
      { ...each, path: joinPath(place.path, each.name) },
      ...(each.also ?? []).map((other) => ({ ...each, ...other })),
    ])
  );
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

/** `base` with the layers that `config` asks for; they have no tensors yet. */
function injected(
  base: CausalLm,
  plan: { config: LoraConfig; report?: TargetReport },
): InjectedAdapter {
  const tree = targetTree(base);
  const config = resolvedConfig(base, plan.config);
  const report = plan.report ?? matchTargets(tree, config);
  const layers = attachedLayers(base, { config, report });
  return { config, report, layers };
}

function attachedLayers(
  base: CausalLm,
  plan: { config: LoraConfig; report: TargetReport },
): PlacedLayer[] {
  const { config, report } = plan;
  const targets = new Set(report.targeted);
  const kinds = [...registeredKinds(), ...KINDS];
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
    detachLayers(layers);
    disposeLayers(layers);
    throw error;
  }
  return layers;
}

/** Puts `layers` into the base model again. */
export function attachLayers(layers: readonly PlacedLayer[]): void {
  for (const { place, layer } of layers) layer.attach(place);
}

/** Takes out the last layer first, because it may wrap an earlier one. */
export function detachLayers(layers: readonly PlacedLayer[]): void {
  for (const { place, layer } of layers.toReversed()) layer.detach(place);
}

/** Frees the tensors of layers that are not in the base model. */
export function disposeLayers(layers: readonly PlacedLayer[]): void {
  for (const { layer } of layers) layer[Symbol.dispose]();
}
