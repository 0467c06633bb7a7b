/**
 * The frozen weights of embedding and head, which peft saves beside the matrices that
 * adapt them: `embed_tokens.base_layer.weight`, `lm_head.base_layer.weight`.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { TensorData } from "../formats/dtype.ts";
import { joinPath, type Module } from "../nn/mod.ts";
import {
  aten,
  DetachedScope,
  fromData,
  type Tensor,
  to,
} from "../tensor/mod.ts";
import type {
  AdapterLayer,
  AdapterParameter,
  AdapterPlace,
  WeightMerge,
} from "./adapter_kinds.ts";
import type { InjectedAdapter, PlacedLayer } from "./inject.ts";
import type { LoraConfig } from "./lora_config.ts";
import { LoraLinear } from "./lora_linear.ts";
import { embeddingPath } from "./saved_modules.ts";
import { isAllLinear, nameRule } from "./target_names.ts";

/** The names that peft takes for embeddings, `EMBEDDING_LAYER_NAMES`. */
const NAMES = ["embed_tokens", "lm_head"];

/** Whether peft saves the frozen weights of embeddings that `config` adapts. */
function savesEmbeddings(
  config: LoraConfig,
  paths: readonly string[],
): boolean {
  const { target_modules: targets } = config;
  if (config.trainable_token_indices !== null) return false;
  if (typeof targets !== "string") {
    return NAMES.some((name) => targets.includes(name));
  }
  if (isAllLinear(targets)) return false;
  const isNamed = nameRule("target_modules", targets);
  return paths.some((path) =>
    NAMES.includes(path.split(".").at(-1)!) && isNamed(path)
  );
}

/** A frozen weight that is saved with an adapter. */
export interface StoredEmbedding {
  /** Its path, which is also its name on disk. */
  readonly path: string;
  /** Place of the adapted module. */
  readonly place: AdapterPlace;
  /** The layer that wraps it. */
  readonly layer: AdapterLayer;
  /** The wrapped module, whose field `weight` holds it. */
  readonly owner: Module;
  /** The weight. */
  readonly tensor: Tensor;
}

/** The frozen weights that are saved with `adapter`. */
export function storedEmbeddings(
  base: CausalLm,
  { config, layers }: InjectedAdapter,
): StoredEmbedding[] {
  const adapted = layers.flatMap(({ place, layer }) =>
    "base_layer" in layer
      ? [{ place, layer, owner: layer.base_layer as Module }]
      : []
  );
  if (!savesEmbeddings(config, adapted.map(({ place }) => place.path))) {
    return [];
  }
  const input = adapted.some(({ owner }) => "count" in owner)
    ? adapted.find(({ owner }) => "count" in owner)!.place.path
    : embeddingPath(base);
  return adapted
    .filter(({ place: { path } }) =>
      path === input || path === base.outputEmbeddingsPath
    )
    .map(({ place, layer, owner }) => ({
      layer,
      path: joinPath(place.path, "base_layer.weight"),
      place,
      owner,
      tensor: owner.parameter("weight")!,
    }));
}

/**
 * Layers that put the weights in an adapter's file in the place of the base model's,
 * where they are others.
 */
export function replacedEmbeddings(
  embeddings: readonly StoredEmbedding[],
  stored: ReadonlyMap<string, TensorData>,
): PlacedLayer[] {
  return embeddings.flatMap(({ path, place, layer: around, owner, tensor }) => {
    const data = stored.get(path);
    if (data === undefined) return [];
    using scope = new DetachedScope();
    const { dtype, device } = tensor;
    const given = to(fromData(data), { dtype, device });
    if (aten.all(aten.eq(given, tensor)).item() === 1) return [];
    const own = scope.keep(given);
    if (around instanceof LoraLinear && around.replaceReduced(own)) return [];
    const layer = new ReplacedWeight(owner, own);
    layer.attach();
    return [{ place, layer }];
  });
}

/** Another weight in the place of the base model's. */
class ReplacedWeight implements AdapterLayer {
  readonly #owner: Module;
  readonly #own: Tensor;
  readonly #original: Tensor;

  /** Takes note of the weight that `own` replaces. */
  constructor(owner: Module, own: Tensor) {
    this.#owner = owner;
    this.#own = own;
    this.#original = owner.parameter("weight")!;
  }

  /** It is not trained. */
  trainedParameters(): readonly AdapterParameter[] {
    return [];
  }

  /** It comes from a file. */
  initialize(): void {}

  /** Puts the weight into its place. */
  attach(): void {
    this.#owner.setParameter("weight", this.#own);
  }

  /** Puts the base model's weight back. */
  detach(): void {
    this.#owner.setParameter("weight", this.#original);
  }

  /** The weight, in the place of what was there. */
  merges(): readonly WeightMerge[] {
    const own = this.#own;
    return [{
      name: "weight",
      merged: () => to(own, { dtype: "float32" }),
    }];
  }

  /** Frees the weight. */
  [Symbol.dispose](): void {
    this.#own[Symbol.dispose]();
  }
}
