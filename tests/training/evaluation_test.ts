/**
 * Evaluation in a run against transformers' Trainer
 * (`tests/fixtures/make_trainer.py`): when it takes place, losses, the best model,
 * which checkpoints stay, early stopping; and what ours adds: losses that do not
 * depend on batches, perplexity, accuracy, exact resuming.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
} from "../../lib/architectures/mod.ts";
import type { TrainingArguments } from "../../lib/arguments/settings.ts";
import type { Feature } from "../../lib/data/batch.ts";
import { dataCollator } from "../../lib/data/collator.ts";
import { sharedRows } from "../../lib/data/shared_rows.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { PeftModel } from "../../lib/peft/mod.ts";
import {
  earlyStopping,
  evaluateRows,
  type EvaluationRows,
  type LogRow,
  Trainer,
  type TrainerCallback,
  type TrainerOptions,
} from "../../lib/training/mod.ts";
import {
  aten,
  liveTensors,
  noGrad,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import {
  GOLDEN,
  inFolder,
  MODELS,
  namesIn,
  PAD,
  refusal,
  rowOf,
  tinyArguments,
  tinyRows,
  train,
} from "./tiny_run.ts";

interface Case {
  readonly args: Partial<TrainingArguments>;
  readonly patience: number | null;
  readonly threshold: number;
  readonly rows: readonly Readonly<Record<string, number>>[];
  readonly kept: readonly number[];
  readonly final: number;
  readonly best_metric: number | null;
  readonly best_global_step: number | null;
  readonly best_checkpoint: string | null;
}

interface Golden {
  readonly train: readonly Feature[];
  readonly dev: readonly Feature[];
  readonly cases: readonly Case[];
  readonly two_sets: Case;
}

const golden: Golden = JSON.parse(
  Deno.readTextFileSync(`${GOLDEN}/evaluation.json`),
);

/** Gives `use` a trainer of the golden adapter. */
async function withTrainer<T>(
  options: Partial<TrainerOptions>,
  use: (trainer: Trainer) => Promise<T>,
): Promise<T> {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  using trainer = new Trainer({
    model,
    tokenizer: PAD,
    args: tinyArguments(),
    trainDataset: golden.train,
    ...options,
  });
  return await use(trainer);
}

const ALL = [
  ...golden.cases.map((each) => ({ ...each, sets: golden.dev })),
  {
    ...golden.two_sets,
    sets: { dev: golden.dev, other: golden.dev.slice(0, 2) },
  },
] satisfies (Case & { sets: EvaluationRows })[];

for (const { args, patience, threshold, sets, ...expected } of ALL) {
  const title = JSON.stringify({ ...args, ...patience && { patience } });
  Deno.test(`a run with ${title} logs, saves and stops as transformers' Trainer`, async () => {
    const atStart = liveTensors();
    await inFolder(async (folder) => {
      const options = {
        evalDataset: sets,
        args: tinyArguments({
          output_dir: folder,
          num_train_epochs: 3,
          gradient_accumulation_steps: 1,
          per_device_eval_batch_size: 3,
          ...args,
        }),
        callbacks: patience === null
          ? []
          : [earlyStopping({ patience, threshold })],
      };
      await withTrainer(options, async (trainer) => {
        await trainer.train();
        const { state } = trainer;
        const found = state.logHistory.map((row) =>
          Object.fromEntries(
            Object.entries(row).filter(([name]) =>
              !/runtime|per_second|flos|perplexity|accuracy/.test(name)
            ),
          )
        );
        assert.deepEqual(
          found.map((row) => Object.keys(row)),
          expected.rows.map((row) => Object.keys(row)),
        );
        for (const [at, row] of found.entries()) {
          for (const [name, value] of Object.entries(expected.rows[at]!)) {
            const what = `${name} of row ${at}`;
            const limit = name === "grad_norm" ? 1e-3 : 1e-4;
            assertClose([row[name]!], [value], { limit, what });
          }
        }
        assert.equal(state.bestGlobalStep, expected.best_global_step);
        assert.equal(
          state.bestModelCheckpoint,
          expected.best_checkpoint && `${folder}/${expected.best_checkpoint}`,
        );
        const best = [state.bestMetric, expected.best_metric]
          .map((each) => each ?? 0);
        assertClose([best[0]!], [best[1]!], { limit: 2e-5 });
        const kept = namesIn(folder).filter((name) =>
          name.startsWith("checkpoint-")
        ).map((name) => Number(name.slice(11))).sort((a, b) => a - b);
        assert.deepEqual(kept, expected.kept);
        const { eval_loss } = await trainer.evaluate(golden.dev);
        assertClose([eval_loss!], [expected.final], { limit: 2e-5 });
      });
    });
    assert.equal(liveTensors(), atStart);
  });
}

Deno.test("evaluateRows() gives one loss and accuracy whatever the batches, PyTorch's mean over all tokens", async () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using _model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  const stored = readSafetensors(`${GOLDEN}/grads.safetensors`);
  const ids = new BigInt64Array(stored.get("ids")!.bytes.slice().buffer);
  const labels = new BigInt64Array(stored.get("labels")!.bytes.slice().buffer);
  const length = stored.get("ids")!.shape[1]!;
  const rows = [0, 1].map((row): Feature => ({
    input_ids: Array.from(ids.slice(row * length, (row + 1) * length), Number),
    labels: Array.from(labels.slice(row * length, (row + 1) * length), Number),
  }));
  const steps = JSON.parse(Deno.readTextFileSync(`${GOLDEN}/steps.json`));
  const many = [...tinyRows(9), rowOf([5, 6, 7], 3)];
  const lossOf = async (
    batchSize: number,
    own: readonly Feature[],
    shared: boolean,
  ) => {
    const collate = (part: readonly Feature[]) =>
      shared ? sharedRows(part) : dataCollator(part, PAD);
    return await evaluateRows(base, own, { batchSize, collate });
  };
  const { loss, tokens } = await lossOf(2, rows, true);
  assertClose([loss], [steps.loss], { limit: 1e-5 });
  assert.equal(
    tokens,
    [...labels].filter((each, at) => each >= 0n && at % length > 0).length,
  );
  const one = await lossOf(1, many, false);
  assert.equal(one.accuracy, accuracyByHand(base, many));
  for (const batchSize of [1, 4, 100]) {
    for (const shared of [true, false]) {
      const other = await lossOf(batchSize, many, shared);
      assertClose([other.loss], [one.loss], { limit: 1e-6 });
      assert.equal(other.accuracy, one.accuracy);
      assert.equal(other.tokens, one.tokens);
    }
  }
  assert.equal(base.training, false);
});

function accuracyByHand(base: CausalLm, rows: readonly Feature[]): number {
  let [right, all] = [0, 0];
  for (const { input_ids, labels } of rows) {
    using _scope = tensorScope();
    using _frozen = noGrad();
    const ids = tensor([[...input_ids]], { dtype: "int64" });
    const best = aten.argmax(base.forward(ids), -1).toArray();
    for (let at = 1; at < labels.length; at++) {
      if (labels[at] === -100) continue;
      all++;
      if (best[at - 1] === labels[at]) right++;
    }
  }
  return right / all;
}

Deno.test("evaluateRows() leaves the lengths that a model has seen as they were", async () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/rope_dynamic`);
  const { maxPositions } = base.config;
  const long = Array.from({ length: maxPositions + 9 }, (_, at) => 3 + at % 90);
  const collate = (rows: readonly Feature[]) => dataCollator(rows, PAD);
  base.restoreRunState(null);
  base.context(collate([rowOf(long.slice(0, maxPositions + 2), 0)]));
  const before = base.runState();
  await evaluateRows(base, [rowOf(long, 0)], { batchSize: 1, collate });
  assert.deepEqual(base.runState(), before);
});

const EVALUATED = {
  // the rate follows the evaluations: a resumed run has to know them
  lr_scheduler_type: "reduce_lr_on_plateau",
  lr_scheduler_kwargs: { patience: 0, threshold: 0.5, factor: 0.5 },
  eval_strategy: "steps",
  eval_steps: 1,
  max_steps: 4,
  save_strategy: "steps",
  save_steps: 1,
} as const;

Deno.test("an evaluation changes nothing in the training, and a resumed run logs what the whole run logs", async () => {
  await inFolder(async (folder) => {
    const timeless = (rows: readonly LogRow[]) =>
      rows.map((row) =>
        Object.entries(row).filter(([name]) => !/runtime|per_second/.test(name))
          .sort()
      );
    const whole = await train({
      folder: `${folder}/whole`,
      args: EVALUATED,
      options: { evalDataset: golden.dev },
    });
    await train({
      folder: `${folder}/plain`,
      args: { max_steps: 4, lr_scheduler_type: "constant" },
    });
    const unmoved = { ...EVALUATED, lr_scheduler_type: "constant" } as const;
    await train({
      folder: `${folder}/evaluated`,
      args: { ...unmoved, lr_scheduler_kwargs: null },
      options: { evalDataset: golden.dev },
    });
    const bytes = (name: string): Uint8Array =>
      Deno.readFileSync(`${folder}/${name}/adapter_model.safetensors`);
    assert.deepEqual(bytes("plain"), bytes("evaluated"));
    assert.notDeepEqual(bytes("plain"), bytes("whole"));
    for (const step of [1, 2, 3]) {
      const resumed = await train({
        folder: `${folder}/resumed`,
        args: EVALUATED,
        options: { evalDataset: golden.dev },
        train: { resumeFromCheckpoint: `${folder}/whole/checkpoint-${step}` },
      });
      assert.deepEqual(resumed.warnings, []);
      assert.deepEqual(timeless(resumed.history), timeless(whole.history));
      assert.deepEqual(bytes("resumed"), bytes("whole"));
    }
  });
});

Deno.test("a run stopped in an evaluation saves a checkpoint, and the resumed run begins with that evaluation", async () => {
  await inFolder(async (folder) => {
    const stop = new AbortController();
    const evalDataset = Array.from({ length: 400 }, () => golden.dev).flat();
    const run = {
      folder,
      args: { ...EVALUATED, eval_steps: 2, max_steps: 3, save_strategy: "no" },
      options: {
        evalDataset,
        callbacks: [
          {
            onStepEnd: ({ step }) => {
              if (step === 2) setTimeout(() => stop.abort(), 20);
            },
          } satisfies TrainerCallback,
        ],
      },
    } as const;
    const { output, history } = await train({
      ...run,
      train: { signal: stop.signal },
    });
    assert.equal(output.interruptedAt, `${folder}/checkpoint-2`);
    const evaluated = (rows: readonly LogRow[]) =>
      rows.filter((row) => "eval_loss" in row).map(({ step }) => step);
    assert.deepEqual(evaluated(history), []);
    const resumed = await train({
      ...run,
      train: { resumeFromCheckpoint: output.interruptedAt },
    });
    assert.deepEqual(evaluated(resumed.history), [2, 3]);
  });
});

Deno.test("predict() and computeMetrics get each row's predictions and labels in the order of the rows", async () => {
  const rows = [...golden.dev, golden.train[0]!];
  const labelIds = rows.map(({ labels }) =>
    labels.slice(1).filter((each) => each !== -100)
  );
  await withTrainer({
    computeMetrics: (found) => ({
      rows: found.predictions.length,
      eval_same: Number(
        JSON.stringify(found.labelIds) === JSON.stringify(labelIds),
      ),
    }),
  }, async (trainer) => {
    const metrics = await trainer.evaluate(rows);
    assert.equal(metrics.eval_rows, rows.length);
    assert.equal(metrics.eval_same, 1);
    const { predictions, labelIds: labels, metrics: test } = await trainer
      .predict(rows);
    assert.deepEqual(labels, labelIds);
    assert.deepEqual(
      predictions.map((row) => row.length),
      labelIds.map((row) => row.length),
    );
    const flat = predictions.flat();
    const right = labelIds.flat().filter((each, at) =>
      each === flat[at]
    ).length /
      flat.length;
    assert.equal(test.test_mean_token_accuracy, right);
  });
});

Deno.test("computeLossFunc replaces the loss in training and evaluation", async () => {
  const losses = async (options: Partial<TrainerOptions>) =>
    await withTrainer(options, async (trainer) => {
      const { eval_loss } = await trainer.evaluate(golden.dev);
      const before = await trainer.train();
      return [eval_loss!, before.trainingLoss];
    });
  await inFolder(async (folder) => {
    const args = tinyArguments({ output_dir: folder, max_steps: 1 });
    const plain = await losses({ args });
    const doubled = await losses({
      args,
      computeLossFunc: (logits, labels) => {
        const sum = aten.crossEntropyLoss(logits, labels, null, 2);
        return sum.add(sum);
      },
    });
    assertClose(doubled, plain.map((each) => 2 * each), { limit: 1e-5 });
  });
});

Deno.test("a metric that is not there, and rows without labels, are one sentence", async () => {
  await inFolder(async (folder) => {
    const args = { ...EVALUATED, metric_for_best_model: "bleu" };
    const options = { evalDataset: golden.dev };
    assert.match(
      await refusal({ folder, args, options }),
      /^Cannot choose the best model by --metric_for_best_model "bleu": the evaluation gives eval_loss, eval_perplexity, /,
    );
    const empty = { evalDataset: [rowOf([5, 6], 2)] };
    assert.equal(
      await refusal({ folder, args: EVALUATED, options: empty }),
      "Cannot evaluate: no row has any token of its answer left",
    );
    assert.equal(
      await refusal({ folder, args: EVALUATED }),
      "Cannot evaluate: there are no rows to evaluate",
    );
  });
});
