/**
 * Training on batches without padding: every family has the loss and the gradients of
 * padded rows, and a run the losses of a padded run.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { dataCollator, sharedRows } from "../../lib/data/mod.ts";
import type { Feature } from "../../lib/data/batch.ts";
import { assertClose } from "../closeness.ts";
import { batchGradients } from "./gradients_of.ts";
import { inFolder, PAD, rowOf, tinyRows, train } from "./tiny_run.ts";

const FOLDER = "tests/fixtures/families";
/** Names of families, and of the modules that an adapter is put on. */
const FAMILIES: readonly {
  readonly name: string;
  readonly targeted: readonly string[];
}[] = JSON.parse(
  Deno.readTextFileSync(`${FOLDER}/families.json`),
);

const PREFIX = [5, 9, 6, 8, 7, 5, 6, 9, 4, 3, 8, 6];
/** Rows that share a prefix, two of them a longer one, and one that shares nothing. */
const ROWS: readonly Feature[] = [
  rowOf([...PREFIX, 10, 11, 12, 13, 14, 4, 6], 11),
  rowOf([...PREFIX, 10, 11, 12, 13, 15], 12),
  rowOf([...PREFIX, 7, 4], 10),
  rowOf([9, 8, 7, 4, 6, 5, 3], 2),
];

for (const { name, targeted } of FAMILIES) {
  Deno.test(`${name} has the loss and the gradients of padded rows where rows share prefixes`, () => {
    const path = `${FOLDER}/${name}`;
    for (
      const way of [
        { adapter: { target_modules: [...targeted] }, checkpointing: false },
        { adapter: null, checkpointing: true },
      ]
    ) {
      const padded = batchGradients(path, dataCollator(ROWS, PAD), way);
      const shared = batchGradients(path, sharedRows(ROWS), way);
      const what = JSON.stringify(way);
      assertClose([shared.loss], [padded.loss], { limit: 1e-6, what });
      assertClose(shared.gradients, padded.gradients, { limit: 2e-5, what });
    }
  });
}

Deno.test("a model says why its batches are padded", () => {
  const reasonOf = (name: string): string | null => {
    using model = AutoModelForCausalLM.fromPretrained(`${FOLDER}/${name}`);
    return model.paddingReason;
  };
  assert.equal(reasonOf("qwen3"), null);
  assert.equal(reasonOf("smollm3_window"), null);
  assert.equal(reasonOf("baichuan_13b"), null);
  assert.equal(reasonOf("gemma2"), "the model caps attention scores");
  assert.equal(reasonOf("gemma2_uncapped"), null);
  using model = AutoModelForCausalLM.fromPretrained(`${FOLDER}/qwen3`);
  Object.assign(model.config, { attentionDropout: 0.1 });
  assert.equal(model.paddingReason, "the model drops attention weights");
});

Deno.test("Trainer has the losses of padded rows and the same order of rows with shared prefixes, and fewer tokens to compute", async () => {
  const rows = tinyRows(9).map(({ input_ids }) =>
    rowOf([...PREFIX, ...input_ids], 13)
  );
  const losses = async (sharedPrefix: boolean): Promise<number[]> => {
    const { history } = await inFolder((folder) =>
      train({
        folder,
        rows,
        args: { num_train_epochs: 2 },
        lora: { r: 2, target_modules: "all-linear" },
        options: { sharedPrefix },
      })
    );
    return history.flatMap(({ loss, grad_norm }) =>
      loss === undefined ? [] : [loss, grad_norm!]
    ) as number[];
  };
  const [shared, padded] = [await losses(true), await losses(false)];
  assert.equal(shared.length, 12);
  assertClose(shared, padded, { limit: 1e-5 });
  assert.notDeepEqual(shared, padded);
  assert(sharedRows(rows).inputIds.length < dataCollator(rows, PAD).tokens / 2);
});
