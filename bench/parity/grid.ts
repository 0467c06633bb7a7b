/**
 * Our side of grid.py: trains each case of the JSON file that is named, and writes
 * its log, its best checkpoint and the logits of its adapter.
 *
 * @module
 */

import type { LoraConfig, TrainingArguments } from "../../mod.ts";
import {
  aten,
  AutoModelForCausalLM,
  ensureLibtorch,
  getPeftModel,
  noGrad,
  tensor,
  tensorScope,
  Trainer,
  trainingArguments,
} from "../../mod.ts";

interface Row {
  readonly input_ids: readonly number[];
  readonly labels: readonly number[];
}

interface Grid {
  readonly model: string;
  readonly folder: string;
  readonly train: readonly Row[];
  readonly dev: readonly Row[];
  readonly cases: readonly {
    readonly adapter: Partial<LoraConfig>;
    readonly args: Partial<TrainingArguments>;
  }[];
}

const PAD = { padTokenId: 0, unkTokenId: null };

async function trained(grid: Grid, number: number): Promise<unknown> {
  const { adapter, args } = grid.cases[number]!;
  using base = AutoModelForCausalLM.fromPretrained(grid.model, {
    torchDtype: "float32",
  });
  using model = getPeftModel(base, { lora_dropout: 0, ...adapter }, {
    seed: args.seed!,
  });
  const folder = `${grid.folder}/ours${number}`;
  using trainer = new Trainer({
    model,
    tokenizer: PAD,
    args: trainingArguments({ ...args, output_dir: folder }),
    trainDataset: grid.train,
    evalDataset: grid.dev,
  });
  await trainer.train();
  trainer.saveModel();
  using _scope = tensorScope();
  using _frozen = noGrad();
  const ids = tensor([[...grid.dev[0]!.input_ids]], { dtype: "int64" });
  const logits = base.forward(ids);
  const { logHistory, bestModelCheckpoint } = trainer.state;
  return {
    rows: logHistory,
    best: bestModelCheckpoint?.split("/").at(-1) ?? null,
    logits: [...aten.slice(logits, 0, logits.shape[0]! - 1).toArray()],
  };
}

async function main(): Promise<void> {
  await ensureLibtorch();
  const grid: Grid = JSON.parse(Deno.readTextFileSync(Deno.args[0]!));
  for (const number of grid.cases.keys()) {
    const found = await trained(grid, number)
      .catch((error: Error) => ({ error: error.message }));
    const path = `${grid.folder}/${number}.json`;
    Deno.writeTextFileSync(path, JSON.stringify(found));
  }
}

if (import.meta.main) main();
