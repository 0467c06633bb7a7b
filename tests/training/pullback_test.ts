/**
 * Backward formulas of their own against autograd of the same forward pass, for every
 * family: an adapter with dropout, and the whole model.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { CausalLm } from "../../lib/architectures/mod.ts";
import {
  type Batch,
  dataCollator,
  type Feature,
  sharedRows,
} from "../../lib/data/mod.ts";
import {
  aten,
  CPU,
  GradientTape,
  manualSeed,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { inputIdsOf, lossTargets, tokenLoss } from "../../lib/training/loss.ts";
import { assertClose } from "../closeness.ts";
import { gradientsOf, type LossAndGradients } from "./gradients_of.ts";
import { PAD, rowOf } from "./tiny_run.ts";

const FOLDER = "tests/fixtures/families";
/** Names of families, and of the modules that an adapter is put on. */
const FAMILIES: readonly {
  readonly name: string;
  readonly targeted: readonly string[];
}[] = JSON.parse(Deno.readTextFileSync(`${FOLDER}/families.json`));

const ROWS: readonly Feature[] = [
  rowOf([5, 9, 6, 8, 7, 10, 11, 12, 13], 3),
  rowOf([5, 9, 6, 8, 7, 14, 4], 2),
  rowOf([9, 8, 7, 4, 6, 5, 3], 2),
];

/** The loss of `batch`, and its gradients in those of the parameters. */
function lossOf(
  model: CausalLm,
  batch: Batch,
  through: "tape" | "autograd",
): number {
  using _scope = tensorScope();
  using tape = through === "tape" ? new GradientTape() : null;
  manualSeed(3);
  const context = model.context(batch);
  const hidden = model.decoderLayers.reduce(
    (hidden, layer) => layer.forward(hidden, context),
    model.embed(inputIdsOf(batch, CPU), context),
  );
  const { rows, labels } = lossTargets(batch, CPU)!;
  const logits = model.head(aten.indexSelect(hidden, 0, rows));
  const loss = tokenLoss(logits, { labels, factor: tensor(0.1) });
  if (tape === null) aten.backward(loss, []);
  else tape.backward(loss);
  return loss.item();
}

/** Loss and gradients by either way, of the adapter on `targeted` or of the whole model. */
function computed(
  name: string,
  way: {
    readonly through: "tape" | "autograd";
    readonly batch: Batch;
    readonly targeted: readonly string[] | null;
  },
): LossAndGradients {
  return gradientsOf(`${FOLDER}/${name}`, {
    adapter: way.targeted &&
      { lora_dropout: 0.3, target_modules: [...way.targeted] },
    compute: (model) => lossOf(model, way.batch, way.through),
  });
}

for (const { name, targeted } of FAMILIES) {
  Deno.test(`${name} has autograd's gradients, of an adapter with dropout and of the whole model`, () => {
    for (const targets of [targeted, null]) {
      for (const batch of [dataCollator(ROWS, PAD), sharedRows(ROWS)]) {
        const way = { batch, targeted: targets };
        const expected = computed(name, { ...way, through: "autograd" });
        const actual = computed(name, { ...way, through: "tape" });
        assert(expected.gradients.some((each) => each !== 0));
        assertClose([actual.loss], [expected.loss], { limit: 1e-6 });
        assertClose(actual.gradients, expected.gradients, {
          limit: 1e-5,
          what: `${
            targets === null ? "whole model" : "adapter"
          }, ${batch.segments.length} segments`,
        });
      }
    }
  });
}
