/**
 * Token embedding: one row of a table per id.
 *
 * @module
 */

import type { DType } from "../formats/dtype.ts";
import { aten, type Tensor } from "../tensor/mod.ts";
import { Module, type ParameterSpec } from "./module.ts";

/** `torch.nn.Embedding`. */
export class Embedding extends Module {
  /** `[count, size]` */
  declare weight: Tensor;
  /** The type of the rows, where the table is held in a wider one; `null` for its own. */
  outputType: DType | null = null;

  /**
   * Makes a table of `count` rows with `size` elements each; the weight is
   * loaded later.
   */
  constructor(readonly count: number, readonly size: number) {
    super();
  }

  /** The weight. */
  override parameterSpecs(): readonly ParameterSpec[] {
    return [
      { name: "weight", shape: [this.count, this.size], init: "normal" },
    ];
  }

  /**
   * The table's rows for `ids` (`int64`): the shape of `ids` with a last
   * dimension added.
   */
  forward(ids: Tensor): Tensor {
    const rows = aten.embedding(this.weight, ids);
    return this.outputType === null
      ? rows
      : aten.toDtype(rows, this.outputType);
  }
}
