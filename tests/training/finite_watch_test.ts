/**
 * The warning about gradients that are no numbers: when, how often, through the Trainer.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { FiniteWatch } from "../../lib/training/finite_watch.ts";
import type { StepReport } from "../../lib/training/mod.ts";
import { inFolder, train } from "./tiny_run.ts";

const REPORT: StepReport = {
  step: 3,
  epoch: 1,
  loss: 2,
  gradNorm: 1,
  learningRate: 0.1,
  tokens: 9,
  trainedTokens: 4,
  skipped: false,
  seconds: 1,
};

Deno.test("FiniteWatch.complaint() speaks once, and not of float16's skipped steps", () => {
  const watch = new FiniteWatch();
  assert.equal(watch.complaint(REPORT), null);
  const skipped = { ...REPORT, gradNorm: Infinity, skipped: true };
  assert.equal(watch.complaint(skipped), null);
  const bad = { ...REPORT, gradNorm: NaN };
  assert.equal(
    watch.complaint(bad),
    "Gradients of step 3 are not finite numbers and spoil the weights: stop, and begin again or from an earlier checkpoint with a lower learning_rate or with torch_dtype bfloat16 or float32",
  );
  assert.equal(watch.complaint(bad), null);
});

Deno.test("Trainer.train() warns of gradients that are no numbers, which the filter hides from the log", async () => {
  await inFolder(async (folder) => {
    const { warnings, history } = await train({
      folder,
      args: { max_steps: 4, learning_rate: 1e38 },
    });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /^Gradients of step \d are not finite/);
    const losses = history.filter((row) => "loss" in row);
    assert(losses.every((row) => Number.isFinite(row.loss)));
  });
});
