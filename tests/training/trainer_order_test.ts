/**
 * Which rows a step gets and which of their numbers dropout takes: what Trainer tells
 * the parts that are tested alone.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TrainingArguments } from "../../lib/arguments/settings.ts";
import type { Feature } from "../../lib/data/batch.ts";
import { dataCollator } from "../../lib/data/collator.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";
import { epochBatches, Trainer } from "../../lib/training/mod.ts";
import {
  inFolder,
  MODELS,
  PAD,
  rowOf,
  tinyArguments,
  tinyRows,
  train,
} from "./tiny_run.ts";

/** The rows of each micro-batch, by number, of a run over rows that begin with their number. */
async function batchesOf(
  args: Partial<TrainingArguments>,
): Promise<number[][]> {
  const rows = Array.from({ length: 7 }, (_, at) => rowOf([3 + at, 11, 12], 1));
  const seen: number[][] = [];
  await inFolder((folder) =>
    train({
      folder,
      rows,
      args,
      options: {
        dataCollator: (features: readonly Feature[], tokenizer) => {
          seen.push(features.map(({ input_ids }) => input_ids[0]! - 3));
          return dataCollator(features, tokenizer);
        },
      },
    })
  );
  return seen;
}

Deno.test("Trainer.train() takes the rows in the order of data_seed, or of seed without one", async () => {
  const order = (seed: number): number[][] =>
    [0, 1].flatMap((epoch) => epochBatches(7, { seed, epoch, batchSize: 2 }));
  const args = { num_train_epochs: 2, seed: 5 };
  assert.deepEqual(await batchesOf(args), order(5));
  assert.deepEqual(await batchesOf({ ...args, data_seed: 9 }), order(9));
});

Deno.test("Trainer.train() leaves an epoch's last batch out with dataloader_drop_last where it is not full", async () => {
  const args = { num_train_epochs: 1, gradient_accumulation_steps: 1 };
  const sizes = async (dataloader_drop_last: boolean): Promise<number[]> =>
    (await batchesOf({ ...args, dataloader_drop_last }))
      .map((rows) => rows.length);
  assert.deepEqual(await sizes(false), [2, 2, 2, 1]);
  assert.deepEqual(await sizes(true), [2, 2, 2]);
});

Deno.test("Trainer.train() drops while it trains, other numbers at each step and with each seed, and not afterwards", async () => {
  await inFolder(async (folder) => {
    const lossesOf = async (
      options: { lora_dropout: number; seed: number },
    ): Promise<number[]> => {
      const { lora_dropout, seed } = options;
      const { history } = await train({
        folder,
        rows: tinyRows(1),
        lora: { r: 4, lora_alpha: 64, lora_dropout, init_lora_weights: false },
        args: { max_steps: 3, learning_rate: 0, seed },
      });
      return history.flatMap(({ loss }) => loss === undefined ? [] : [loss]);
    };
    const [still, ...same] = await lossesOf({ lora_dropout: 0, seed: 1 });
    assert.deepEqual(same, [still, still]);
    const losses = [
      ...await lossesOf({ lora_dropout: 0.5, seed: 1 }),
      ...await lossesOf({ lora_dropout: 0.5, seed: 2 }),
    ];
    assert.equal(new Set([still, ...losses]).size, 7, `${losses}`);
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, { lora_dropout: 0.5 }, { seed: 1 });
    using trainer = new Trainer({
      model,
      tokenizer: PAD,
      args: tinyArguments({ output_dir: folder, max_steps: 1 }),
      trainDataset: tinyRows(2),
      callbacks: [{ onStepEnd: () => assert(base.training) }],
    });
    await trainer.train();
    assert(!base.training);
  });
});
