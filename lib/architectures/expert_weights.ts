/**
 * Experts in files that hold their matrices as one tensor, as models in memory of
 * transformers 5 do; published files have a tensor for each matrix of each expert.
 *
 * @module
 */

import { byteLengthOf } from "../formats/dtype.ts";
import type { StoredTensor } from "../formats/stored_tensor.ts";
import type { WeightMap } from "../formats/weights.ts";
import { joinPath, ParameterLayer } from "../nn/mod.ts";
import type { CausalLm } from "./causal_lm.ts";
import { parameterTargets } from "./registry.ts";

/** `stored` with the matrices of experts under names of their own; nothing is copied. */
export function separateExperts(model: CausalLm, stored: WeightMap): WeightMap {
  const separate = new Map(stored);
  const layers = Object.entries(parameterTargets(model.config));
  for (const [path, module] of model.namedModules()) {
    if (!(module instanceof ParameterLayer)) continue;
    for (const { name, count, inFeatures, outFeatures } of module.stacks) {
      const whole = joinPath(path, name);
      const tensor = stored.get(whole);
      const shape = [count, outFeatures, inFeatures];
      if (tensor?.shape.join() !== shape.join()) continue;
      const parts = layers.filter(([, parameter]) => parameter === name);
      const slices = parts.length === 0
        ? null
        : slicesOf(tensor, [outFeatures / parts.length, inFeatures]);
      if (slices === null) continue;
      separate.delete(whole);
      slices.forEach((slice, at) => {
        const [part] = parts[at % parts.length]!;
        const expert = Math.floor(at / parts.length);
        separate.set(joinPath(path, `${expert}.${part}.weight`), slice);
      });
    }
  }
  return separate;
}

/** `tensor` cut into tensors of this shape, or `null` where its elements are not contiguous. */
function slicesOf(
  tensor: StoredTensor,
  shape: readonly number[],
): StoredTensor[] | null {
  if (tensor.strides !== undefined || tensor.packing !== undefined) return null;
  const { file, dtype, offset } = tensor;
  const bytes = byteLengthOf({ dtype, shape });
  const length = byteLengthOf(tensor) / bytes;
  return Array.from({ length }, (_, at) => ({
    file,
    dtype,
    shape,
    offset: offset + at * bytes,
  }));
}
