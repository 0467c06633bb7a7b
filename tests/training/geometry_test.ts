/**
 * Rows laid end to end, and rows that share prefixes as a tree, give the loss and
 * the gradients of the same rows padded.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  type Batch,
  type Feature,
  IGNORED_LABEL,
  type Segment,
} from "../../lib/data/batch.ts";
import { dataCollator } from "../../lib/data/collator.ts";
import { assertClose } from "../closeness.ts";
import { batchGradients } from "./gradients_of.ts";
import { MODELS, PAD, rowOf } from "./tiny_run.ts";

/** Token ids that continue those of `parent`. */
interface Node {
  readonly ids: readonly number[];
  readonly parent: number | null;
}

/** Nodes, and for each row the node it ends with. */
interface Tree {
  readonly nodes: readonly Node[];
  readonly leaves: readonly number[];
}

/** The rows of `ROWS`, each token of a shared prefix once; two levels deep. */
const TREE: Tree = {
  nodes: [
    { ids: [5, 6, 7, 8], parent: null },
    { ids: [9, 10, 11], parent: 0 },
    { ids: [12, 13], parent: 0 },
    { ids: [14], parent: 1 },
    { ids: [15, 16, 17, 18], parent: 1 },
    { ids: [19, 20, 21], parent: null },
  ],
  leaves: [2, 3, 4, 5],
};

/** The nodes from the root down to `leaf`. */
function pathTo(tree: Tree, leaf: number): number[] {
  const { parent } = tree.nodes[leaf]!;
  return parent === null ? [leaf] : [...pathTo(tree, parent), leaf];
}

/** The row that ends with `leaf`, trained from its third id on. */
function rowAt(tree: Tree, leaf: number): Feature {
  return rowOf(pathTo(tree, leaf).flatMap((at) => tree.nodes[at]!.ids), 2);
}

const ROWS = TREE.leaves.map((leaf) => rowAt(TREE, leaf));

/** The same rows without sharing: each is a node of its own. */
const END_TO_END: Tree = {
  nodes: ROWS.map(({ input_ids: ids }) => ({ ids, parent: null })),
  leaves: ROWS.map((_, index) => index),
};

function batchOf(tree: Tree): Batch {
  const segments: Segment[] = [];
  const positions: number[] = [];
  for (const { ids, parent } of tree.nodes) {
    const start = positions.length;
    const above = parent === null ? null : segments[parent]!;
    const first = above === null
      ? 0
      : positions[above.start + above.length - 1]! + 1;
    segments.push({ start, length: ids.length, parent });
    positions.push(...ids.map((_, at) => first + at));
  }
  const pairs = tree.leaves.flatMap((leaf) => {
    const flat = pathTo(tree, leaf).flatMap((at) =>
      tree.nodes[at]!.ids.map((_, index) => segments[at]!.start + index)
    );
    return rowAt(tree, leaf).labels.flatMap((label, at) =>
      at > 0 && label !== IGNORED_LABEL ? [[flat[at - 1]!, label]] : []
    );
  });
  return {
    inputIds: BigInt64Array.from(tree.nodes.flatMap(({ ids }) => ids), BigInt),
    positions: Int32Array.from(positions),
    segments,
    targets: {
      rows: BigInt64Array.from(pairs, ([row]) => BigInt(row!)),
      labels: BigInt64Array.from(pairs, ([, label]) => BigInt(label!)),
    },
    tokens: positions.length,
  };
}

for (const model of ["llama_gqa", "rope_llama3", "rope_dynamic"]) {
  for (const adapter of [true, false]) {
    for (const checkpointing of [false, true]) {
      const trained = adapter ? "an adapter" : "the whole model";
      Deno.test(`accumulateGradients() of rows end to end and of a tree is that of padded rows for ${trained} of ${model}, checkpointing ${checkpointing}`, () => {
        const path = `${MODELS}/${model}`;
        const way = {
          adapter: adapter ? { target_modules: "all-linear" } : null,
          checkpointing,
        };
        const padded = batchGradients(path, dataCollator(ROWS, PAD), way);
        assert(padded.gradients.some((each) => each !== 0));
        for (const tree of [END_TO_END, TREE]) {
          const batch = batchOf(tree);
          const { loss, gradients } = batchGradients(path, batch, way);
          const what = `${batch.segments.length} segments`;
          assertClose([loss], [padded.loss], { limit: 1e-6, what });
          assertClose(gradients, padded.gradients, { limit: 5e-6, what });
        }
      });
    }
  }
}

Deno.test("accumulateGradients() of a tree computes each token of a shared prefix once", () => {
  const rows = dataCollator(ROWS, PAD);
  assert.equal(batchOf(TREE).inputIds.length, 17);
  assert.equal(batchOf(END_TO_END).inputIds.length, 28);
  assert.equal(rows.inputIds.length, 44);
  assert.equal(
    batchOf(TREE).targets.labels.length,
    rows.targets.labels.length,
  );
});
