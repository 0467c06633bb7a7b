/**
 * A new adapter as the weighted sum of others, as `add_weighted_adapter` of peft.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  aten,
  DetachedScope,
  noGrad,
  type Tensor,
  tensor,
  zeros,
} from "../tensor/mod.ts";
import { filledAdapter, type InjectedAdapter } from "./inject.ts";
import type { LoraConfig } from "./lora_config.ts";
import { LoraEmbedding } from "./lora_embedding.ts";
import { LoraLinear } from "./lora_linear.ts";

/** How adapters are combined. */
export interface WeightedOptions {
  /**
   * `svd` (default): the sum of the products, cut to a rank; `cat`: the exact sum, whose
   * rank is the sum of the ranks; `linear`: sums of the matrices, a rough approximation
   * that needs equal ranks. One adapter alone is always scaled by `linear`.
   */
  readonly combinationType?: "svd" | "cat" | "linear";
  /** The rank for `svd`. Default: the highest of the adapters'. */
  readonly svdRank?: number;
}

/** An adapter and its weight in a sum. */
export interface Summand {
  /** Its name. */
  readonly name: string;
  /** The adapter. */
  readonly adapter: InjectedAdapter;
  /** Its weight, which may be negative. */
  readonly weight: number;
}

/** `B A` times `scale` is what an adapter adds at one place. */
interface Product {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
}

/**
 * The weighted sum of `summands` in the bare model `base`.
 *
 * @throws {InputError} when adapters train more than A and B, or do not go together.
 */
export function weightedAdapter(
  base: CausalLm,
  summands: readonly Summand[],
  options: WeightedOptions,
): InjectedAdapter {
  const { config, kind } = combined(summands, options);
  const products = summands.map(({ adapter: { layers }, weight }) =>
    new Map(
      layers.map(({ place, layer }) =>
        [place.path, productOf(layer, weight)] as const
      ),
    )
  );
  return filledAdapter(base, config, (layers) => {
    using scope = new DetachedScope();
    using _frozen = noGrad();
    for (const { place, layer } of layers) {
      const found = products.flatMap((each) => each.get(place.path) ?? []);
      const { a, b } = COMBINE[kind](found, config.r);
      const [own, other] = [padded(a, 0, config.r), padded(b, 1, config.r)];
      setProduct(layer, { a: scope.keep(own), b: scope.keep(other) });
    }
  });
}

type Combination = NonNullable<WeightedOptions["combinationType"]>;

const COMBINE: Readonly<
  Record<
    Combination,
    (products: readonly Product[], rank: number) => { a: Tensor; b: Tensor }
  >
> = {
  linear: (products) => ({
    a: sum(
      products.map(({ a, scale }) =>
        times(a, Math.sqrt(Math.abs(scale)) * (scale >= 0 ? 1 : -1))
      ),
    ),
    b: sum(
      products.map(({ b, scale }) => times(b, Math.sqrt(Math.abs(scale)))),
    ),
  }),
  cat: (products) => ({
    a: aten.cat(products.map(({ a, scale }) => times(a, scale)), 0),
    b: aten.cat(products.map(({ b }) => b), 1),
  }),
  svd(products, rank): { a: Tensor; b: Tensor } {
    const whole = sum(
      products.map(({ a, b, scale }) => times(aten.mm(b, a), scale)),
    );
    const [u, s, vh] = aten.linalgSvd(whole, false);
    return {
      a: aten.slice(vh, 0, 0, rank),
      b: aten.mul(aten.slice(u, 1, 0, rank), aten.slice(s, 0, 0, rank)),
    };
  },
};

function times(matrix: Tensor, factor: number): Tensor {
  return aten.mul(matrix, tensor(factor));
}

function sum(terms: readonly Tensor[]): Tensor {
  return terms.slice(1).reduce((total, term) => total.add(term), terms[0]!);
}

/** A copy of `matrix` with zeros up to `rank` in dimension `dim`. */
function padded(matrix: Tensor, dim: number, rank: number): Tensor {
  const { shape, device } = matrix;
  const missing = rank - shape[dim]!;
  if (missing === 0) return aten.clone(aten.contiguous(matrix));
  const rest = shape.map((size, at) => at === dim ? missing : size);
  return aten.cat([matrix, zeros(rest, { device })], dim);
}

function productOf(layer: object, weight: number): Product {
  if (layer instanceof LoraEmbedding) {
    const { lora_embedding_A: a, lora_embedding_B: b } = layer;
    return { a, b, scale: layer.scaling * weight };
  }
  const linear = layer as LoraLinear;
  return {
    a: linear.lora_A.weight,
    b: linear.lora_B.weight,
    scale: linear.scaling * weight,
  };
}

function setProduct(layer: object, { a, b }: { a: Tensor; b: Tensor }): void {
  if (layer instanceof LoraEmbedding) {
    layer.lora_embedding_A = a;
    layer.lora_embedding_B = b;
    return;
  }
  const linear = layer as LoraLinear;
  linear.lora_A.weight = a;
  linear.lora_B.weight = b;
}

/** The configuration of the sum, and how it is computed. */
function combined(
  summands: readonly Summand[],
  { combinationType = "svd", svdRank }: WeightedOptions,
): { readonly config: LoraConfig; readonly kind: Combination } {
  const problems = summands.flatMap(({ name, adapter, weight }) => [
    ...problemsOf(adapter).map((each) => `${quoted(name)} has ${each}`),
    ...(Number.isFinite(weight)
      ? []
      : [`the weight of ${quoted(name)} is ${weight}`]),
  ]);
  const kind = summands.length === 1 ? "linear" : combinationType;
  const ranks = summands.map(({ adapter: { config } }) =>
    Math.max(config.r, ...Object.values(config.rank_pattern))
  );
  if (summands.length === 0) problems.push("no adapter is named");
  if (kind === "linear" && new Set(ranks).size > 1) {
    problems.push(
      `"linear" needs equal ranks, these are ${
        ranks.join(", ")
      }; use svd or cat`,
    );
  }
  const targets = summands.map(({ adapter: { config } }) =>
    config.target_modules
  );
  const texts = targets.filter((each) => typeof each === "string");
  if (texts.length > 0 && texts.length < targets.length) {
    problems.push("target_modules are expressions and lists");
  }
  if (problems.length > 0) {
    throw new InputError(
      `Cannot add a weighted adapter: ${problems.join("; ")}`,
    );
  }
  const rank = kind === "cat"
    ? ranks.reduce((total, each) => total + each, 0)
    : kind === "svd"
    ? svdRank ?? Math.max(...ranks)
    : ranks[0]!;
  return {
    kind,
    config: {
      ...summands[0]!.adapter.config,
      r: rank,
      lora_alpha: rank,
      // alpha is the rank, so that the factor of the product is 1
      use_rslora: false,
      rank_pattern: {},
      alpha_pattern: {},
      init_lora_weights: true,
      target_modules: texts.length > 0
        ? texts.map((each) => `(${each})`).join("|")
        : [...new Set(targets.flat())],
    },
  };
}

/** What an adapter has besides A and B on linear layers and embeddings. */
function problemsOf({ config, layers }: InjectedAdapter): string[] {
  const isPlain = layers.every(({ layer }) =>
    layer instanceof LoraEmbedding || layer.constructor === LoraLinear
  );
  const fields = [
    config.use_dora && "use_dora",
    config.lora_bias && "lora_bias",
    config.bias !== "none" && "bias",
    config.modules_to_save !== null && "modules_to_save",
    config.trainable_token_indices !== null && "trainable_token_indices",
    (config.target_parameters?.length ?? 0) > 0 && "target_parameters",
    layers.some(({ layer }) => layer instanceof LoraLinear && layer.first) &&
    `init_lora_weights ${config.init_lora_weights}`,
  ].filter((each) => each !== false && each !== null && each !== undefined)
    .map(String);
  return fields.length > 0 || isPlain ? fields : ["layers other than LoRA's"];
}
