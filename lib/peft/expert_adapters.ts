/**
 * Adapters made with transformers 4, where each matrix of each expert was a linear
 * layer of its own: joined into the matrices of transformers 5, as peft does it.
 *
 * @module
 */

import type { TensorData } from "../formats/dtype.ts";
import {
  aten,
  fromData,
  full,
  type Tensor,
  tensorScope,
  to,
  toData,
} from "../tensor/mod.ts";

/** The tensors that are joined into one. */
export interface ExpertParts {
  /** Which of the two matrices of LoRA they are. */
  readonly matrix: "lora_A" | "lora_B";
  /** Names of each expert's tensors, relative to the adapted module. */
  readonly names: readonly (readonly string[])[];
  /** The shape of each of them. */
  readonly shape: readonly number[];
}

/** A tensor that is needed, and the parts that it may be stored in. */
export interface JoinedParameter {
  /** Path of the adapted module, followed by the tensor's name. */
  readonly path: string;
  /** The tensor's name. */
  readonly name: string;
  /** Its parts in files of transformers 4. Default none. */
  readonly parts?: ExpertParts;
}

/** `stored` with tensors joined from their parts where they are stored so. */
export function joinExperts(
  stored: ReadonlyMap<string, TensorData>,
  wanted: readonly JoinedParameter[],
): Map<string, TensorData> {
  const joined = new Map(stored);
  for (const { path, name, parts } of wanted) {
    if (parts === undefined || stored.has(path)) continue;
    const place = path.slice(0, -name.length);
    const names = parts.names.map((each) => each.map((part) => place + part));
    const found = names.map((each) => each.map((part) => stored.get(part)));
    const fits = found.flat().every((each) =>
      each?.shape.join() === parts.shape.join()
    );
    if (!fits) continue;
    using _scope = tensorScope();
    const tensors = (found as TensorData[][]).map((each) =>
      each.map((part) => to(fromData(part), { dtype: "float32" }))
    );
    for (const part of names.flat()) joined.delete(part);
    joined.set(path, toData(JOIN[parts.matrix](tensors)));
  }
  return joined;
}

const JOIN = {
  /** A of all matrices, one after the other: `[experts · r, in]`. */
  lora_A: (experts: readonly (readonly Tensor[])[]): Tensor =>
    aten.cat(experts.flat(), 0),
  /** B of all experts, interleaved: `[out, r · experts]`; those of one lie on a diagonal. */
  lora_B(experts: readonly (readonly Tensor[])[]): Tensor {
    const rows = experts.map((parts) => aten.reshape(diagonal(parts), [1, -1]));
    const [out = 0, rank = 0] = experts[0]![0]!.shape;
    const count = experts[0]!.length;
    // [experts, out · r] → [out · r, experts] → [out, r · experts]
    return aten.reshape(aten.t(aten.cat(rows, 0)), [
      out * count,
      rank * count * experts.length,
    ]);
  },
};

/** `parts`, each `[out, r]`, on the diagonal of a matrix of zeros. */
function diagonal(parts: readonly Tensor[]): Tensor {
  const [out = 0, rank = 0] = parts[0]!.shape;
  const zeros = full([out, rank], { value: 0 });
  return aten.cat(
    parts.map((part, row) =>
      aten.cat(parts.map((_, column) => column === row ? part : zeros), 1)
    ),
    0,
  );
}
