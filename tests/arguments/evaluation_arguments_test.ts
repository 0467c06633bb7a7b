/**
 * The settings of an evaluation: what they need, and what fits what.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  parseTrainArguments,
  type TrainArguments,
} from "../../lib/arguments/train_arguments.ts";
import { errorOf } from "../formats/temporary.ts";

function parse(...args: string[]): TrainArguments {
  const parsed = parseTrainArguments(args);
  assert(!("help" in parsed));
  return parsed;
}

Deno.test("what asks for an evaluation needs rows to evaluate, and settings that fit each other", () => {
  const rows = ["--val_size", "0.1"];
  const { training, finetune } = parse(
    ...rows,
    ..."--evaluation_strategy epoch --per_gpu_eval_batch_size 3".split(" "),
  );
  assert.equal(finetune.eval_split, 0.1);
  assert.equal(training.eval_strategy, "epoch");
  assert.equal(training.per_device_eval_batch_size, 3);
  const cases: [string, string][] = [
    [
      "--eval_strategy steps",
      "Cannot use --eval_strategy steps: there are no rows to evaluate, expected --eval_dataset_path or --eval_split",
    ],
    [
      "--do_eval",
      "Cannot use --do_eval: there are no rows to evaluate, expected --eval_dataset_path or --eval_split",
    ],
    ["--eval_split 0", "Cannot use --eval_split 0: expected more than 0"],
    [
      "--eval_split 1.5",
      "Cannot use --eval_split 1.5: expected a share below 1 or a whole number of rows",
    ],
    [
      "--eval_split 9 --eval_strategy steps --eval_steps 2.5",
      "Cannot use --eval_steps 2.5: --eval_steps must be an integer if bigger than 1: 2.5",
    ],
    [
      "--eval_split 9 --save_strategy best",
      "Cannot use --save_strategy best: nothing is evaluated in the run, expected --eval_strategy steps or epoch",
    ],
    [
      "--eval_split 9 --load_best_model_at_end --eval_strategy epoch",
      "Cannot use --load_best_model_at_end: it requires the save and eval strategy to match, except when --save_strategy best, but found --eval_strategy epoch and --save_strategy steps",
    ],
    [
      "--eval_split 9 --load_best_model_at_end --eval_strategy steps --eval_steps 2 --save_steps 3",
      "Cannot use --load_best_model_at_end: it requires the saving steps to be a multiple of the evaluation steps, but found 3, which is not a multiple of 2",
    ],
    [
      "--eval_split 9 --early_stopping_patience 2",
      "Cannot use --early_stopping_patience: nothing is evaluated in the run, expected --eval_strategy steps or epoch",
    ],
  ];
  for (const [flags, expected] of cases) {
    assert.equal(errorOf(() => parse(...flags.split(" "))), expected);
  }
});
