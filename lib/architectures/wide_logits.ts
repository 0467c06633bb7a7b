/**
 * Logits computed in float32 whatever the type of the weights, with no more than one
 * layer in float32 at a time: what stays is the rounding of the weights alone.
 *
 * @module
 */

import { rectangle } from "../data/batch.ts";
import type { Module, NamedParameter } from "../nn/mod.ts";
import {
  DetachedScope,
  noGrad,
  releaseMappedPages,
  type Tensor,
  tensor,
  tensorScope,
  to,
} from "../tensor/mod.ts";
import type { CausalLm } from "./causal_lm.ts";

/**
 * Logits `[ids, vocabulary]` of one row of `ids`, float32. Rows of the embedding are
 * taken in the type that they have.
 */
export function wideLogits(model: CausalLm, ids: readonly number[]): Tensor {
  using scope = tensorScope();
  using _frozen = noGrad();
  const { device } = model;
  const context = model.context(rectangle(1, ids.length, 0));
  const row = tensor([...ids], { dtype: "int64", device });
  let hidden = to(model.embed(row, context), { dtype: "float32" });
  const inLayers = new Set<Module>();
  for (const layer of model.decoderLayers) {
    for (const [, module] of layer.namedModules()) inLayers.add(module);
    using inner = tensorScope();
    const before = hidden;
    const after = inFloat32(
      [...layer.namedParameters()],
      () => layer.forward(before, context),
    );
    hidden = inner.keep(to(after, { dtype: "float32" }));
    releaseMappedPages();
  }
  const embedding = model.inputEmbeddings();
  const outside = [...model.namedParameters()].filter(({ owner }) =>
    owner !== embedding && !inLayers.has(owner)
  );
  const logits = inFloat32(outside, () => model.head(hidden));
  releaseMappedPages();
  return scope.keep(to(logits, { dtype: "float32" }));
}

/** The result of `compute` with `parameters` in float32 meanwhile. */
function inFloat32(
  parameters: readonly NamedParameter[],
  compute: () => Tensor,
): Tensor {
  const wide = new Map<Tensor, Tensor>();
  using _held = new DisposableStack();
  const put = (each: NamedParameter, own: Tensor): void =>
    each.owner.setParameter(each.field, own);
  try {
    for (const each of parameters) {
      if (each.tensor.dtype === "float32") continue;
      const made = wide.get(each.tensor) ?? _held.use(widened(each.tensor));
      wide.set(each.tensor, made);
      put(each, made);
    }
    return compute();
  } finally {
    for (const each of parameters) {
      if (wide.has(each.tensor)) put(each, each.tensor);
    }
  }
}

/** `tensor` in float32; it belongs to no scope. */
function widened(tensor: Tensor): Tensor {
  using scope = new DetachedScope();
  return scope.keep(to(tensor, { dtype: "float32" }));
}
