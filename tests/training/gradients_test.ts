/**
 * Gradients of one micro-batch against PyTorch's, and with activation
 * checkpointing against without, in every way a model can be trained.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { dataCollator } from "../../lib/data/collator.ts";
import type { DType } from "../../lib/formats/dtype.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import {
  getPeftModel,
  type LoraConfig,
  PeftModel,
} from "../../lib/peft/mod.ts";
import {
  accumulateGradients,
  FlatParameters,
  type GradientOptions,
} from "../../lib/training/mod.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import { aten, CPU, liveTensors } from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { gradientsOf } from "./gradients_of.ts";
import {
  GOLDEN,
  goldenBatch,
  MODELS,
  numbersOf,
  PAD,
  tinyRows,
} from "./tiny_run.ts";

const PLAIN = { checkpointing: false, autocast: null, seed: [1] } as const;

for (const checkpointing of [false, true]) {
  Deno.test(`accumulateGradients() gives PyTorch's loss and gradients, checkpointing ${checkpointing}`, () => {
    const golden = readSafetensors(`${GOLDEN}/grads.safetensors`);
    const batch = goldenBatch(golden);
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
    using flat = new FlatParameters(trainableModel(model).parameters, CPU);
    const loss = accumulateGradients(base, batch, {
      ...PLAIN,
      checkpointing,
      factor: 1 / batch.targets.labels.length,
    });
    const { loss: expected } = JSON.parse(
      Deno.readTextFileSync(`${GOLDEN}/steps.json`),
    );
    assertClose([loss], [expected], { limit: 1e-6, what: "losses" });
    assert.equal(flat.entries.length, golden.size - 2);
    for (const { path, view } of flat.entries) {
      const data = golden.get(`base_model.model.${path}`)!;
      assertClose(view.grad!.toArray(), numbersOf(data), {
        limit: 1e-5,
        what: path,
      });
    }
  });
}

interface Way {
  readonly name: string;
  readonly model: string;
  readonly lora: Partial<LoraConfig> | null;
  readonly autocast?: DType;
}

const DROPOUT = { r: 2, lora_dropout: 0.3 } as const;

const WAYS: readonly Way[] = [
  {
    name: "an adapter with dropout on all layers",
    model: "llama_gqa",
    lora: { ...DROPOUT, target_modules: "all-linear" },
  },
  {
    name: "an adapter on the last layer only",
    model: "llama_gqa",
    lora: { ...DROPOUT, target_modules: ".*layers\\.1.*q_proj" },
  },
  {
    name: "an adapter on the head only",
    model: "llama_gqa",
    lora: { ...DROPOUT, target_modules: ["lm_head"] },
  },
  {
    name: "an adapter in bfloat16 arithmetic",
    model: "llama_gqa",
    lora: { ...DROPOUT, target_modules: "all-linear" },
    autocast: "bfloat16",
  },
  { name: "a whole model", model: "llama_bias", lora: null },
  {
    name: "a whole model with tied embeddings",
    model: "llama_tied",
    lora: null,
  },
  {
    name: "a whole model in bfloat16 arithmetic",
    model: "llama_tied",
    lora: null,
    autocast: "bfloat16",
  },
];

/** Loss and gradients of a batch of three rows. */
function computed(
  way: Way,
  checkpointing: boolean | number,
): { loss: number; gradients: Float64Array; live: number } {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/${way.model}`);
  using adapter = way.lora === null
    ? null
    : getPeftModel(base, { ...way.lora, init_lora_weights: false }, {
      seed: 3,
    });
  base.train();
  const { parameters } = trainableModel(adapter ?? base);
  using flat = new FlatParameters(parameters, CPU);
  const batch = dataCollator(tinyRows(3), PAD);
  const before = liveTensors();
  const loss = accumulateGradients(base, batch, {
    ...PLAIN,
    checkpointing,
    autocast: way.autocast ?? null,
    factor: 1 / batch.targets.labels.length,
  });
  const live = liveTensors() - before;
  return { loss, gradients: flat.gradients.toArray(), live };
}

for (const way of WAYS) {
  Deno.test(`accumulateGradients() with checkpointing is the same as without for ${way.name}`, () => {
    computed(way, false);
    const plain = computed(way, false);
    assert(plain.gradients.some((each) => each !== 0));
    for (const checkpointing of [true, 1, 2]) {
      const again = computed(way, checkpointing);
      assert.equal(again.loss, plain.loss);
      if (way.autocast === undefined) {
        assert.deepEqual(again.gradients, plain.gradients);
      }
      assertClose(again.gradients, plain.gradients, {
        limit: way.autocast ? 2e-2 : 1e-6,
      });
    }
  });
}

Deno.test("accumulateGradients() draws other dropout masks for other seeds and the same for the same", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = getPeftModel(base, {
    ...DROPOUT,
    init_lora_weights: false,
    target_modules: ["q_proj"],
  }, { seed: 3 });
  base.train();
  using _flat = new FlatParameters(trainableModel(model).parameters, CPU);
  const batch = dataCollator(tinyRows(3), PAD);
  const lossWith = (seed: readonly number[]): number =>
    accumulateGradients(base, batch, { ...PLAIN, factor: 1, seed });
  const first = lossWith([1, 0, 0]);
  assert.equal(lossWith([1, 0, 0]), first);
  const others = [[2, 0, 0], [1, 1, 0], [1, 0, 1]].map(lossWith);
  assert.equal(new Set([first, ...others]).size, 4);
});

Deno.test("accumulateGradients() adds to what the gradients hold", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  using flat = new FlatParameters(trainableModel(model).parameters, CPU);
  const batch = dataCollator(tinyRows(2), PAD);
  accumulateGradients(base, batch, { ...PLAIN, factor: 1 });
  const once = flat.gradients.toArray();
  accumulateGradients(base, batch, { ...PLAIN, factor: 1 });
  assertClose(flat.gradients.toArray(), once.map((each) => 2 * each), {
    limit: 1e-6,
  });
  flat.zeroGradients();
  assert(flat.gradients.toArray().every((each) => each === 0));
  assert.equal(aten.sum(flat.entries[0]!.view.grad!).item(), 0);
});

for (const lora of [{ r: 2, target_modules: ["lm_head", "q_proj"] }, null]) {
  const trained = lora === null ? "the whole model" : "adapters";
  Deno.test(`accumulateGradients() of ${trained} is the same however many logits are made at a time`, () => {
    const made = [100, 300, undefined].map((maxLogits) => {
      const { loss, gradients } = gradientsOf(`${MODELS}/llama_tied`, {
        adapter: lora,
        compute: (model) =>
          accumulateGradients(model, dataCollator(tinyRows(3), PAD), {
            ...PLAIN,
            factor: 0.1,
            maxLogits,
          }),
      });
      return [loss, ...gradients];
    });
    for (const each of made) assertClose(each, made[2]!, { limit: 1e-6 });
  });
}

for (const checkpointing of [false, true]) {
  Deno.test(`accumulateGradients() with smoothed labels gives the loss and norm of transformers' LabelSmoother, checkpointing ${checkpointing}`, () => {
    const golden: { epsilon: number; loss: number; norm: number }[] = JSON
      .parse(Deno.readTextFileSync(`${GOLDEN}/smoothing.json`));
    const batch = goldenBatch(readSafetensors(`${GOLDEN}/grads.safetensors`));
    for (const { epsilon, loss, norm } of golden) {
      using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
      using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
      using flat = new FlatParameters(trainableModel(model).parameters, CPU);
      const found = accumulateGradients(base, batch, {
        ...PLAIN,
        checkpointing,
        factor: 1 / batch.targets.labels.length,
        labelSmoothing: epsilon,
      });
      assertClose([found], [loss], { limit: 1e-5 });
      const norms = [Math.hypot(...flat.gradients.toArray())];
      assertClose(norms, [norm], { limit: 1e-4 });
    }
  });
}

Deno.test("accumulateGradients() leaves no tensor between the logits of one part of the tokens and the next, which would break up the heap", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  using _flat = new FlatParameters(trainableModel(model).parameters, CPU);
  const live: number[] = [];
  const batch = dataCollator(tinyRows(8), PAD);
  const loss = accumulateGradients(base, batch, {
    ...PLAIN,
    factor: 1,
    maxLogits: 4 * base.config.vocabSize,
    lossFunction: (logits, labels) => {
      live.push(liveTensors());
      return aten.crossEntropyLoss(logits, labels, null, 2);
    },
  });
  assert.equal(live.length, Math.ceil(batch.targets.labels.length / 4));
  assert(live.length > 5);
  // the first part makes the gradient that the others are added to
  assert.deepEqual(new Set(live.slice(1)), new Set([live[1]]));
  const whole = accumulateGradients(base, batch, { ...PLAIN, factor: 1 });
  assertClose([loss], [whole], { limit: 1e-6 });
});

Deno.test("accumulateGradients() adds NEFTune's noise to the embeddings: in its range, with its seed, alike with checkpointing", () => {
  const batch = goldenBatch(readSafetensors(`${GOLDEN}/grads.safetensors`));
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  using flat = new FlatParameters(trainableModel(model).parameters, CPU);
  const inputs: Float64Array[] = [];
  const [first] = base.decoderLayers;
  const forward = first!.forward.bind(first!);
  first!.forward = (hidden, context) => {
    inputs.push(hidden.toArray());
    return forward(hidden, context);
  };
  const lossWith = (options: Partial<GradientOptions>): number =>
    accumulateGradients(base, batch, { ...PLAIN, factor: 1, ...options });
  const plain = lossWith({});
  const noisy = lossWith({ neftuneNoiseAlpha: 5 });
  assert.notEqual(noisy, plain);
  assert.equal(lossWith({ neftuneNoiseAlpha: 5 }), noisy);
  assert.notEqual(lossWith({ neftuneNoiseAlpha: 5, seed: [2] }), noisy);
  const [without, with5] = inputs;
  const changes = with5!.map((each, at) => Math.abs(each - without![at]!));
  const longest = 1 + Math.max(...batch.positions);
  const most = 5 / Math.sqrt(longest * base.config.hiddenSize);
  assert(
    Math.max(...changes) <= most * 1.001 && Math.max(...changes) > 0.9 * most,
  );
  flat.zeroGradients();
  lossWith({ neftuneNoiseAlpha: 5 });
  const kept = flat.gradients.toArray();
  flat.zeroGradients();
  lossWith({ neftuneNoiseAlpha: 5, checkpointing: true });
  assertClose(flat.gradients.toArray(), kept, { limit: 1e-5 });
});
