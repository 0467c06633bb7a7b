/**
 * Ten steps against PyTorch's own numbers, and the same loss and gradients however
 * rows are cut into micro-batches.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TrainingArguments } from "../../lib/arguments/settings.ts";
import type { Batch, Feature } from "../../lib/data/batch.ts";
import { dataCollator } from "../../lib/data/collator.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { getPeftModel, PeftModel } from "../../lib/peft/mod.ts";
import { scheduleFactor } from "../../lib/training/schedules.ts";
import { StepEngine, type StepResult } from "../../lib/training/step_engine.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import { liveTensors, Tensor } from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import {
  GOLDEN,
  goldenBatch,
  MODELS,
  numbersOf,
  PAD,
  rowOf,
  tinyArguments,
  tinyRows,
} from "./tiny_run.ts";

interface GoldenSteps {
  readonly max_grad_norm: number;
  readonly warmup_steps: number;
  readonly max_steps: number;
  readonly optimizer: { lr: number; weight_decay: number };
  readonly steps: { loss: number; grad_norm: number; learning_rate: number }[];
}

for (const gradient_checkpointing of [false, true]) {
  Deno.test(`StepEngine.step() ten times gives PyTorch's losses, norms and weights, checkpointing ${gradient_checkpointing}`, () => {
    const golden: GoldenSteps = JSON.parse(
      Deno.readTextFileSync(`${GOLDEN}/steps.json`),
    );
    const batch = goldenBatch(readSafetensors(`${GOLDEN}/grads.safetensors`));
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
    using engine = new StepEngine(
      trainableModel(model),
      tinyArguments({
        gradient_checkpointing,
        weight_decay: golden.optimizer.weight_decay,
        max_grad_norm: golden.max_grad_norm,
      }),
    );
    const schedule = {
      name: "cosine",
      warmupSteps: golden.warmup_steps,
      maxSteps: golden.max_steps,
    } as const;
    const rateAfter = (updates: number): number =>
      golden.optimizer.lr * scheduleFactor(schedule, updates);
    for (const [index, expected] of golden.steps.entries()) {
      const rate = rateAfter(engine.optimizer.scalars.step);
      assertClose([rate], [expected.learning_rate], { limit: 1e-12 });
      const { loss, gradNorm } = engine.step([batch], {
        learningRate: rate,
        loss: "tokens",
        seed: [index],
      });
      const what = `loss and norm of step ${index}`;
      assertClose([loss], [expected.loss], { limit: 1e-5, what });
      assertClose([gradNorm], [expected.grad_norm], { limit: 1e-5, what });
    }
    const after = readSafetensors(`${GOLDEN}/after_steps.safetensors`);
    const own = new Map(model.stateDict());
    assert.deepEqual([...own.keys()].sort(), [...after.keys()]);
    for (const [name, data] of after) {
      assertClose(own.get(name)!.toArray(), numbersOf(data), {
        limit: 2e-5,
        what: name,
      });
    }
  });
}

/** Loss and gradients of one step over `rows`, cut into micro-batches of `size`. */
function gradientsOf(
  rows: readonly Feature[],
  options: {
    size: number;
    args?: Partial<TrainingArguments>;
    loss?: "tokens" | "reference";
  },
): { loss: number; gradients: Float64Array } {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  using engine = new StepEngine(
    trainableModel(model),
    tinyArguments({ max_grad_norm: 0, ...options.args }),
  );
  const batches: Batch[] = [];
  for (let at = 0; at < rows.length; at += options.size) {
    batches.push(dataCollator(rows.slice(at, at + options.size), PAD));
  }
  const { loss } = engine.step(batches, {
    learningRate: 0.01,
    loss: options.loss ?? "tokens",
    seed: [0],
  });
  return { loss, gradients: engine.parameters.gradients.toArray() };
}

Deno.test("StepEngine.step() on one batch of 4, on two of 2 and on four of 1 is the same step", () => {
  const rows = tinyRows(4);
  const whole = gradientsOf(rows, { size: 4 });
  for (const size of [2, 1]) {
    const cut = gradientsOf(rows, { size });
    assertClose([cut.loss], [whole.loss], { limit: 1e-6, what: "losses" });
    assertClose(cut.gradients, whole.gradients, {
      limit: 2e-6,
      what: `gradients of ${size} rows at a time`,
    });
  }
});

Deno.test("StepEngine.step() with the reference's loss is the mean of the micro-batches' means", () => {
  const rows = tinyRows(3);
  const { loss } = gradientsOf(rows, { size: 1, loss: "reference" });
  const means = rows.map((row) => gradientsOf([row], { size: 1 }).loss);
  const mean = means.reduce((sum, each) => sum + each, 0) / 3;
  assertClose([loss], [mean], { limit: 1e-6 });
  const weighted = gradientsOf(rows, { size: 1 }).loss;
  assert(Math.abs(weighted - mean) > 1e-3, "uneven rows must tell them apart");
});

Deno.test("StepEngine.step() clips gradients to max_grad_norm and reports the norm before", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  using engine = new StepEngine(
    trainableModel(model),
    tinyArguments({ max_grad_norm: 0.25 }),
  );
  const batch = dataCollator(tinyRows(2), PAD);
  const { gradNorm } = engine.step([batch], {
    learningRate: 0,
    loss: "tokens",
    seed: [0],
  });
  assert(gradNorm > 0.25);
  const clipped = Math.hypot(...engine.parameters.gradients.toArray());
  assertClose([clipped], [0.25], { limit: 1e-5 });
});

Deno.test("StepEngine.step() on a window without trained tokens has loss 0 and keeps the weights", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  using engine = new StepEngine(trainableModel(model), tinyArguments());
  const before = engine.parameters.values.toArray();
  const batch = dataCollator([rowOf([5, 6, 7], 3)], PAD);
  assert.equal(batch.targets.labels.length, 0);
  const { loss, gradNorm } = engine.step([batch], {
    learningRate: 0.01,
    loss: "tokens",
    seed: [0],
  });
  assert.deepEqual([loss, gradNorm], [0, 0]);
  assert.deepEqual(engine.parameters.values.toArray(), before);
});

Deno.test("StepEngine.step() leaves no tensor behind in 60 steps of varying lengths", () => {
  const atStart = liveTensors();
  {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, { lora_dropout: 0.1 }, { seed: 1 });
    base.train();
    for (const gradient_checkpointing of [false, true]) {
      using engine = new StepEngine(
        trainableModel(model),
        tinyArguments({ gradient_checkpointing }),
      );
      const live: number[] = [];
      for (const [index, row] of tinyRows(30).entries()) {
        engine.step([dataCollator([row], PAD)], {
          learningRate: 0.01,
          loss: "tokens",
          seed: [index],
        });
        live.push(liveTensors());
      }
      assert.deepEqual(new Set(live.slice(1)), new Set([live[1]]));
    }
  }
  assert.equal(liveTensors(), atStart);
});

Deno.test("StepEngine.step() draws other dropout masks for each micro-batch of a window", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  base.train();
  const batch = dataCollator(tinyRows(2), PAD);
  const lossOf = (batches: Batch[], lora_dropout: number): number => {
    using model = getPeftModel(
      base,
      { r: 4, lora_alpha: 64, lora_dropout, init_lora_weights: false },
      { seed: 1 },
    );
    base.train();
    using engine = new StepEngine(trainableModel(model), tinyArguments());
    const input = { learningRate: 0, loss: "tokens", seed: [3] } as const;
    return engine.step(batches, input).loss;
  };
  assertClose([lossOf([batch, batch], 0)], [lossOf([batch], 0)], {
    limit: 1e-6,
  });
  const [once, twice] = [[batch], [batch, batch]].map((each) =>
    lossOf(each, 0.5)
  );
  assert(Math.abs(once! - twice!) > 1e-3, `${once}, ${twice}`);
});

Deno.test("StepEngine.step() takes gradients that overflow for a matter of the loss scale while there is one", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  // B is zero: the loss does not see the strength of the adapter, gradients do
  using model = getPeftModel(base, { r: 2, lora_alpha: 1e25 }, { seed: 1 });
  const batches = [dataCollator(tinyRows(2), PAD)];
  const input = { learningRate: 0.01, loss: "tokens", seed: [0] } as const;
  for (
    const [scale, failed] of [[65536, false], [1, false], [0.5, true]] as const
  ) {
    using engine = new StepEngine(
      trainableModel(model),
      tinyArguments(),
      { precision: { autocast: null, lossScaling: true } },
    );
    engine.lossScaler = { scale, goodSteps: 0 };
    const result = engine.step(batches, input);
    assert(Number.isFinite(result.loss));
    assert.deepEqual([result.skipped, result.failed], [true, failed]);
    assert.equal(engine.optimizer.scalars.step, 0);
  }
});

for (const max_grad_norm of [0, 0.25]) {
  Deno.test(`StepEngine.step() with loss scaling is the step without, and leaves out one that overflows, clipped to ${max_grad_norm}`, () => {
    const run = (
      lossScaling: boolean,
      scale?: number,
    ): {
      results: StepResult[];
      values: Float64Array;
      scale: number | undefined;
    } => {
      using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
      using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
      using engine = new StepEngine(
        trainableModel(model),
        tinyArguments({ max_grad_norm }),
        { precision: { autocast: null, lossScaling } },
      );
      if (scale !== undefined) engine.lossScaler = { scale, goodSteps: 3 };
      const batches = [dataCollator(tinyRows(2), PAD)];
      const results = [0, 1].map((step) =>
        engine.step(batches, {
          learningRate: 0.01,
          loss: "tokens",
          seed: [step],
        })
      );
      return {
        results,
        values: engine.parameters.values.toArray(),
        scale: engine.lossScaler?.scale,
      };
    };
    const plain = run(false);
    // a power of two changes no digit
    const scaled = run(true);
    assert.deepEqual(scaled.results, plain.results);
    assert.deepEqual(scaled.values, plain.values);
    assert.equal(scaled.scale, 65536);
    assert(plain.results.every(({ skipped, failed }) => !skipped && !failed));
    const over = run(true, 2 ** 100);
    const untouched = run(true, 2 ** 100);
    assert.deepEqual(
      over.results.map(({ skipped, failed }) => [skipped, failed]),
      [
        [true, false],
        [true, false],
      ],
    );
    assert.equal(over.scale, 2 ** 98);
    assert.deepEqual(over.values, untouched.values);
    assert(
      over.results.every(({ loss }) =>
        Math.abs(loss - plain.results[0]!.loss) < 1e-6
      ),
    );
  });
}

/** How often `run` reads the numbers of a tensor, which on a device waits for all that is queued. */
function readsOf(run: () => void): number {
  const { toArray } = Tensor.prototype;
  let reads = 0;
  Tensor.prototype.toArray = function (
    this: Tensor,
  ): Float64Array<ArrayBuffer> {
    reads++;
    return toArray.call(this);
  };
  try {
    run();
  } finally {
    Tensor.prototype.toArray = toArray;
  }
  return reads;
}

for (const gradient_checkpointing of [false, true]) {
  Deno.test(`StepEngine.step() reads numbers once a step, after all micro-batches, checkpointing ${gradient_checkpointing}`, () => {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, { target_modules: "all-linear" });
    using engine = new StepEngine(
      trainableModel(model),
      tinyArguments({ gradient_checkpointing }),
    );
    const batches = [2, 3, 1].map((count) =>
      dataCollator(tinyRows(count), PAD)
    );
    const reads = readsOf(() =>
      void engine.step(batches, {
        learningRate: 1e-3,
        loss: "tokens",
        seed: [1],
      })
    );
    assert.equal(reads, 1);
  });
}
