/**
 * Attention over segments against one mask over all tokens: values and gradients, on
 * trees of several levels, with windows and slopes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { Geometry, Segment } from "../../lib/data/batch.ts";
import {
  attention,
  type AttentionForm,
  BatchContext,
} from "../../lib/nn/mod.ts";
import { attentionCalls } from "../../lib/nn/segment_attention.ts";
import {
  aten,
  CPU,
  GradientTape,
  manualSeed,
  type Tensor,
  tensorScope,
  to,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

/** Segments of `lengths`, one after the other, each below the one that `parents` names. */
function geometryOf(
  lengths: readonly number[],
  parents: readonly (number | null)[],
): Geometry {
  const segments: Segment[] = [];
  const ends: number[] = [];
  const positions: number[] = [];
  for (const [index, length] of lengths.entries()) {
    const parent = parents[index]!;
    const first = parent === null ? 0 : ends[parent]!;
    segments.push({ start: positions.length, length, parent });
    positions.push(...Array.from({ length }, (_, at) => first + at));
    ends.push(first + length);
  }
  return { positions: Int32Array.from(positions), segments };
}

const GEOMETRIES: Readonly<Record<string, Geometry>> = {
  "rows end to end": geometryOf([7, 5, 5, 5, 2], [
    null,
    null,
    null,
    null,
    null,
  ]),
  "a prefix of four rows": geometryOf([40, 5, 3, 3, 9], [null, 0, 0, 0, 0]),
  // the tokens below the second segment do not lie side by side
  "a tree of three levels": geometryOf(
    [6, 4, 5, 3, 2, 8, 8, 4],
    [null, 0, 0, 1, 1, 2, 1, null],
  ),
};

const FORMS: Readonly<Record<string, AttentionForm>> = {
  "no limits": {},
  "a factor": { scale: 0.7 },
  "a window": { window: 4 },
  "slopes": { slopes: [0.5, 0.25, 0.125, 0.0625] },
  "slopes and a window": { slopes: [0.5, 0.25, 0.125, 0.0625], window: 6 },
};

/** Output and gradients of queries, keys and values, by either way. */
function computed(
  through: "segments" | "mask",
  input: {
    geometry: Geometry;
    form: AttentionForm;
    dtype: "float32" | "bfloat16";
  },
): Float64Array[] {
  using _scope = tensorScope();
  const { geometry, form, dtype } = input;
  manualSeed(5);
  const tokens = geometry.positions.length;
  const [query, keys, values] = [4, 2, 2].map((heads) =>
    // the layout of a projection: heads of one token side by side
    to(aten.transpose(aten.randn([1, tokens, heads, 8]), 1, 2), { dtype })
      .requireGrad()
  ) as [Tensor, Tensor, Tensor];
  const gradient = to(aten.randn([1, 4, tokens, 8]), { dtype });
  const context = new BatchContext(geometry, { device: CPU });
  using tape = through === "segments" ? new GradientTape() : null;
  const output = attention({ ...form, query, keys, values }, context);
  if (tape === null) aten.backward(output, [], gradient);
  else tape.backward(output, gradient);
  return [output, query.grad!, keys.grad!, values.grad!].map((each) =>
    each.toArray()
  );
}

for (const [place, geometry] of Object.entries(GEOMETRIES)) {
  for (const [limits, form] of Object.entries(FORMS)) {
    for (const dtype of ["float32", "bfloat16"] as const) {
      Deno.test(`attention() over ${place} with ${limits} in ${dtype} has the values and gradients of one mask`, () => {
        const expected = computed("mask", { geometry, form, dtype });
        const actual = computed("segments", { geometry, form, dtype });
        for (const [index, what] of ["output", "q", "k", "v"].entries()) {
          assertClose(actual[index]!, expected[index]!, {
            limit: dtype === "float32" ? 2e-6 : 2e-2,
            what,
          });
        }
      });
    }
  }
}

Deno.test("attentionCalls() takes neighbours of one length together, and all tokens below a segment in one call", () => {
  const { segments } = GEOMETRIES["a prefix of four rows"]!;
  assert.deepEqual(
    attentionCalls(segments).map(({ queries, keys, rows, isOwn }) => [
      isOwn,
      rows,
      queries.start,
      queries.end,
      keys.start,
      keys.end,
    ]),
    [
      [true, 1, 0, 40, 0, 40],
      [true, 1, 40, 45, 40, 45],
      [true, 2, 45, 51, 45, 51],
      [true, 1, 51, 60, 51, 60],
      [false, 1, 40, 60, 0, 40],
    ],
  );
});
