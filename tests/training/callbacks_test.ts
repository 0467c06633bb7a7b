/**
 * Callbacks: the events they hear, what they ask for, and those that end a run
 * early.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { earlyStopping, lossWatchdog } from "../../lib/training/mod.ts";
import { inFolder, tinyRows, train } from "./tiny_run.ts";

const ROWS = tinyRows(3, 5);
const EVALUATED = {
  eval_strategy: "steps",
  eval_steps: 1,
  save_strategy: "steps",
  save_steps: 1,
} as const;

Deno.test("early stopping counts on where a run was interrupted", async () => {
  await inFolder(async (folder) => {
    const run = {
      args: { ...EVALUATED, max_steps: 9, learning_rate: 0 },
      options: {
        evalDataset: ROWS,
        callbacks: [earlyStopping({ patience: 3 })],
      },
    };
    const whole = await train({ folder: `${folder}/whole`, ...run });
    assert.equal(whole.output.globalStep, 4);
    const resumed = await train({
      folder: `${folder}/resumed`,
      ...run,
      train: { resumeFromCheckpoint: `${folder}/whole/checkpoint-3` },
    });
    assert.equal(resumed.output.globalStep, 4);
  });
});

Deno.test("lossWatchdog() ends a run whose loss stays above its threshold", async () => {
  await inFolder(async (folder) => {
    const ended = async (threshold: number): Promise<number> =>
      (await train({
        folder,
        args: { max_steps: 6 },
        options: { callbacks: [lossWatchdog({ threshold, patience: 2 })] },
      })).output.globalStep;
    assert.equal(await ended(0.1), 2);
    assert.equal(await ended(100), 6);
  });
});

Deno.test("callbacks hear of epochs, steps and evaluations, and can ask for one", async () => {
  await inFolder(async (folder) => {
    const heard: string[] = [];
    await train({
      folder,
      args: { num_train_epochs: 2, gradient_accumulation_steps: 4 },
      options: {
        evalDataset: ROWS,
        callbacks: [{
          onEpochBegin: (epoch) => heard.push(`begin ${epoch}`),
          onEpochEnd: (epoch) => heard.push(`end ${epoch}`),
          onStepBegin: (step) => heard.push(`step ${step}`),
          onStepEnd: ({ step }, control) => {
            control.shouldEvaluate = step === 1;
          },
          onEvaluate: (metrics) =>
            heard.push(Object.keys(metrics).slice(0, 3).join()),
        }],
      },
    });
    assert.deepEqual(heard, [
      "begin 0",
      "step 1",
      "end 0",
      "eval_loss,eval_perplexity,eval_mean_token_accuracy",
      "begin 1",
      "step 2",
      "end 1",
    ]);
  });
});
