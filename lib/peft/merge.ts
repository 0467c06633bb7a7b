/**
 * An adapter's layers merged into the weights of the base model: computed in float32,
 * and rounded once to the type that each weight had.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { listProblems } from "../formats/tensor_check.ts";
import { InputError, quoted } from "../input_error.ts";
import { joinPath, type Module, moduleAt } from "../nn/mod.ts";
import {
  aten,
  DetachedScope,
  noGrad,
  type Tensor,
  tensorScope,
  to,
} from "../tensor/mod.ts";
import type { WeightMerge } from "./adapter_kinds.ts";
import { attachLayers, detachLayers, type PlacedLayer } from "./inject.ts";

/**
 * What `layers` change in the base model, by the paths of its weights.
 *
 * @throws {InputError} when the base model has no weights for a layer.
 */
export function weightMerges(
  layers: readonly PlacedLayer[],
): ReadonlyMap<string, readonly WeightMerge["merged"][]> {
  const found = new Map<string, WeightMerge["merged"][]>();
  for (const { place, layer } of layers) {
    for (const merge of layer.merges()) {
      const path = merge.path ?? joinPath(place.path, merge.name);
      const earlier = found.get(path) ?? [];
      found.set(path, [...earlier, (weight) => merge.merged(weight)]);
    }
  }
  return found;
}

/**
 * Takes `layers` out of `base`, and changes its weights to compute what it did with
 * them.
 *
 * @throws {InputError} when a merged weight would not be finite; nothing is changed
 *   then.
 */
export function mergeLayers(
  base: CausalLm,
  layers: readonly PlacedLayer[],
): void {
  const merges = [...weightMerges(layers)];
  detachLayers(layers);
  try {
    // Twice, so that no weight is changed when one cannot be.
    const broken = merges.filter(([path, steps]) => {
      using _scope = tensorScope();
      using merged = mergedWeight(parameterAt(base, path).tensor, steps);
      return aten.all(aten.isfinite(merged)).item() !== 1;
    });
    if (broken.length > 0) throw notFinite(base, broken.map(([path]) => path));
    for (const [path, steps] of merges) {
      const { owner, field, tensor } = parameterAt(base, path);
      owner.setParameter(field, mergedWeight(tensor, steps));
      if (!isUsed(base, tensor)) tensor[Symbol.dispose]();
    }
    tieAgain(base);
  } catch (error) {
    attachLayers(layers);
    throw error;
  }
}

/** `weight` after `steps`, in the type it has; it belongs to no scope. */
function mergedWeight(
  weight: Tensor,
  steps: readonly WeightMerge["merged"][],
): Tensor {
  using scope = new DetachedScope();
  using _frozen = noGrad();
  const wide = to(weight, { dtype: "float32" });
  const merged = steps.reduce((tensor, step) => step(tensor), wide);
  return scope.keep(to(merged, { dtype: weight.dtype }));
}

function parameterAt(
  base: CausalLm,
  path: string,
): { owner: Module; field: string; tensor: Tensor } {
  const dot = path.lastIndexOf(".");
  const owner = moduleAt(base, path.slice(0, Math.max(dot, 0)));
  const field = path.slice(dot + 1);
  return { owner, field, tensor: owner.parameter(field)! };
}

/** Whether a parameter of `base` is `tensor`; a tied weight has two places. */
function isUsed(base: CausalLm, tensor: Tensor): boolean {
  for (const each of base.namedParameters()) {
    if (each.tensor === tensor) return true;
  }
  return false;
}

/** Makes head and embedding one matrix again where they were tied and are still equal. */
function tieAgain(base: CausalLm): void {
  if (!base.config.tieWordEmbeddings) return;
  const head = moduleAt(base, base.outputEmbeddingsPath);
  const [own, shared] = [head, base.inputEmbeddings()]
    .map((each) => each.parameter("weight")!);
  if (own === shared) return;
  using _scope = tensorScope();
  if (aten.all(aten.eq(own!, shared!)).item() !== 1) return;
  head.setParameter("weight", shared!);
  own![Symbol.dispose]();
}

function notFinite(base: CausalLm, paths: readonly string[]): InputError {
  return new InputError(
    `Cannot merge the adapter into ${quoted(base.config.path)}: ${
      listProblems(
        paths.map((path) => `${quoted(path)} would not be finite`),
      )
    }`,
  );
}
