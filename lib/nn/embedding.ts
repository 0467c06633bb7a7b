/**
 * Token embedding: one row of a table per id.
 *
 * @module
 */

import { aten, type Tensor } from "../tensor/mod.ts";
import { Module, type ParameterSpec } from "./module.ts";

/** `torch.nn.Embedding`. */
export class Embedding extends Module {
  /** `[count, size]` */
  declare weight: Tensor;

  /** Makes a table of `count` rows of `size` without weights. */
  constructor(readonly count: number, readonly size: number) {
    super();
  }

  /** The table. */
  override parameterSpecs(): readonly ParameterSpec[] {
    return [
      { name: "weight", shape: [this.count, this.size], init: "normal" },
    ];
  }

  /** The rows of `ids` (`int64`), one dimension more than `ids` has. */
  forward(ids: Tensor): Tensor {
    return aten.embedding(this.weight, ids);
  }
}
