/**
 * Steps, epochs and intervals against the arithmetic of transformers' Trainer
 * (`Trainer.set_initial_training_values`, 5.18).
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import {
  type PlanArguments,
  planTraining,
  windowAt,
} from "../../lib/training/plan.ts";

const DEFAULTS: PlanArguments = {
  per_device_train_batch_size: 8,
  gradient_accumulation_steps: 1,
  dataloader_drop_last: false,
  max_steps: -1,
  num_train_epochs: 3,
  warmup_steps: 0,
  logging_steps: 500,
  eval_steps: null,
  save_steps: 500,
};

/** rows, batch size, accumulation, epochs, max_steps, drop_last → batches, steps per epoch, steps, epochs */
const TABLE: readonly (readonly [
  readonly [number, number, number, number, number, boolean],
  readonly [number, number, number, number],
])[] = [
  [[100, 8, 1, 3, -1, false], [13, 13, 39, 3]],
  [[100, 8, 1, 3, -1, true], [12, 12, 36, 3]],
  [[100, 8, 4, 3, -1, false], [13, 4, 12, 3]],
  [[96, 8, 4, 3, -1, false], [12, 3, 9, 3]],
  [[7, 2, 2, 2, -1, false], [4, 2, 4, 2]],
  [[3, 2, 8, 2, -1, false], [2, 1, 2, 2]],
  [[10, 1, 3, 0.5, -1, false], [10, 4, 2, 1]],
  [[10, 1, 3, 1.3, -1, false], [10, 4, 6, 2]],
  [[10, 1, 3, 1, 9, false], [10, 4, 9, 3]],
  [[10, 1, 3, 99, 8, false], [10, 4, 8, 2]],
  [[1, 8, 4, 1, 0, false], [1, 1, 1, 1]],
];

Deno.test("planTraining() counts batches, steps and epochs as transformers does", () => {
  for (
    const [[rows, size, accumulation, epochs, steps, drop], counts] of TABLE
  ) {
    const plan = planTraining(rows, {
      ...DEFAULTS,
      per_device_train_batch_size: size,
      gradient_accumulation_steps: accumulation,
      num_train_epochs: epochs,
      max_steps: steps,
      dataloader_drop_last: drop,
    });
    assert.deepEqual(
      [plan.batchesPerEpoch, plan.stepsPerEpoch, plan.maxSteps, plan.epochs],
      counts,
      `${rows} rows of ${size} times ${accumulation}`,
    );
  }
});

Deno.test("planTraining() takes intervals below 1 as shares of all steps, rounded up", () => {
  const plan = planTraining(100, {
    ...DEFAULTS,
    warmup_steps: 0.03,
    logging_steps: 0.1,
    save_steps: 0.5,
  });
  assert.equal(plan.maxSteps, 39);
  assert.deepEqual(
    [plan.warmupSteps, plan.loggingSteps, plan.saveSteps],
    [2, 4, 20],
  );
  const whole = planTraining(100, { ...DEFAULTS, warmup_steps: 1 });
  assert.deepEqual([whole.warmupSteps, whole.loggingSteps], [1, 500]);
});

Deno.test("planTraining() refuses rows that fill no batch", () => {
  assert.throws(() => planTraining(0, DEFAULTS), {
    name: "InputError",
    message: "Cannot train on 0 rows: they do not fill one batch of 8",
  });
  assert.throws(
    () => planTraining(7, { ...DEFAULTS, dataloader_drop_last: true }),
    (error: unknown) =>
      error instanceof InputError &&
      /7 rows: they do not fill one batch of 8 and dataloader_drop_last is set/
        .test(error.message),
  );
});

Deno.test("windowAt() ends an epoch with the micro-batches that are left", () => {
  const plan = planTraining(10, {
    ...DEFAULTS,
    per_device_train_batch_size: 1,
    gradient_accumulation_steps: 4,
  });
  const windows = [0, 1, 2].map((step) =>
    windowAt(plan, { step, accumulation: 4 })
  );
  assert.deepEqual(windows, [
    { start: 0, end: 4 },
    { start: 4, end: 8 },
    { start: 8, end: 10 },
  ]);
});
