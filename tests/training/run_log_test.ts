/**
 * The sums behind logged losses: means, losses that are no numbers, going on.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { planTraining } from "../../lib/training/mod.ts";
import { endRow, LossLog } from "../../lib/training/run_log.ts";
import { freshState } from "../../lib/training/trainer_state.ts";
import { tinyArguments } from "./tiny_run.ts";

Deno.test("LossLog.take() gives the mean since the last row, total stays", () => {
  const log = new LossLog();
  for (const loss of [1, 2, 6]) log.add(loss, { filter: true });
  assert.equal(log.take(), 3);
  log.add(5, { filter: true });
  assert.equal(log.take(), 5);
  assert.equal(log.total, 14);
});

Deno.test("LossLog.add() with the filter counts a NaN or infinite loss as the mean so far", () => {
  const log = new LossLog();
  log.add(NaN, { filter: true });
  for (const loss of [4, NaN, Infinity]) log.add(loss, { filter: true });
  assert.equal(log.total, 0 + 4 + 2 + 2);
  assert.equal(log.take(), 2);
});

Deno.test("LossLog.add() without the filter lets a NaN through, into its own row only", () => {
  const log = new LossLog();
  log.add(NaN, { filter: false });
  assert(Number.isNaN(log.take()));
  log.add(3, { filter: false });
  assert.equal(log.take(), 3);
});

Deno.test("LossLog goes on where its sums left off", () => {
  const log = new LossLog();
  log.add(1, { filter: true });
  log.take();
  log.add(2, { filter: true });
  const other = new LossLog(structuredClone(log.sums));
  for (const each of [log, other]) each.add(4, { filter: true });
  assert.deepEqual(other.sums, log.sums);
  assert.equal(other.total, 7);
  assert.equal(other.take(), 3);
});

Deno.test("endRow() counts the steps of this session in its rates, and all steps in the mean loss", () => {
  const args = tinyArguments({ max_steps: 10 });
  const run = {
    args,
    plan: planTraining(7, args),
    rows: 7,
    state: { ...freshState(), globalStep: 10, epoch: 5, totalFlos: 99 },
    first: 6,
    seconds: 2,
    lossSum: 30,
  };
  const expected = {
    train_runtime: 2,
    train_samples_per_second: 4 * 4 / 2,
    train_steps_per_second: 2,
    total_flos: 99,
    train_loss: 3,
  };
  assert.deepEqual(endRow(run), expected);
  // by epochs, the last batch of an epoch is not full: 7 rows in 2 steps
  const byEpochs = { ...run, args: { ...args, max_steps: -1 } };
  assert.deepEqual(endRow(byEpochs), {
    ...expected,
    train_samples_per_second: 7 * 4 / 2 / 2,
  });
});
