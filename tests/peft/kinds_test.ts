/**
 * Adapters that train more than A and B, or start from other numbers, against peft:
 * the first numbers, logits, gradients, ten steps, files to the byte, and the merge.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { getPeftModel, PeftModel } from "../../lib/peft/mod.ts";
import { CPU, fromData, liveTensors } from "../../lib/tensor/mod.ts";
import { accumulateGradients, FlatParameters } from "../../lib/training/mod.ts";
import { scheduleFactor } from "../../lib/training/schedules.ts";
import { StepEngine } from "../../lib/training/step_engine.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import { saveModel } from "../../mod.ts";
import { trainsToTheSameBytes } from "../training/same_bytes.ts";
import { golden, KINDS, logitsOf } from "./kinds.ts";
import { assertClose } from "../closeness.ts";
import {
  goldenBatch,
  inFolder,
  numbersOf,
  tinyArguments,
} from "../training/tiny_run.ts";

/** How far a kind may be from peft where its first numbers are not drawn but computed. */
interface Limits {
  /** Relative error of the first numbers. Default 1e-6. */
  readonly fresh?: number;
  /** Whether peft merges it rightly: not LoRA on a head and on the embedding it is tied to. */
  readonly merges?: boolean;
}

const NAMES: Readonly<Record<string, Limits>> = {
  dora: {},
  dora_bias: {},
  fractions: {},
  saved: {},
  saved_block: {},
  saved_tied: {},
  saved_embedding: {},
  saved_ensured: {},
  bias_all: {},
  bias_lora_only: {},
  lora_bias: {},
  embedding: {},
  embedding_dora: {},
  embedding_tied: { merges: false },
  head: {},
  tokens: {},
  tokens_tied: {},
  tokens_named: {},
  // singular vectors may have either sign, and are computed in another order
  pissa: { fresh: 1e-5 },
  pissa_niter_4: { fresh: 1e-4 },
  olora: { fresh: 1e-5 },
  orthogonal: { fresh: 1e-5 },
};

for (const [name, limits] of Object.entries(NAMES)) {
  const { fresh: freshLimit = 1e-6, merges = true } = limits;
  const peft = golden(name);
  const folder = `${KINDS}/${name}`;

  Deno.test(`getPeftModel() with seed 42 starts from peft's numbers: ${name}`, () => {
    const live = liveTensors();
    {
      using base = AutoModelForCausalLM.fromPretrained(peft.base);
      using model = getPeftModel(base, peft.config, { seed: 42 });
      const own = new Map(
        model.trainedParameters().map((each) => [each.path, each.tensor]),
      );
      const expected = peft.part("fresh");
      assert.deepEqual([...own.keys()].sort(), [...expected.keys()].sort());
      for (const [path, data] of expected) {
        const limit = path.endsWith("lora_A.weight") && freshLimit <= 1e-6
          ? 0
          : freshLimit;
        assertClose(own.get(path)!.toArray(), numbersOf(data), {
          limit,
          what: path,
        });
      }
    }
    assert.equal(liveTensors(), live);
  });

  Deno.test(`PeftModel.fromPretrained() computes logits and gradients of peft's ${name}, and saves its bytes`, async () => {
    for (const checkpointing of [false, true]) {
      using base = AutoModelForCausalLM.fromPretrained(peft.base);
      using model = PeftModel.fromPretrained(base, folder);
      const logits = numbersOf(peft.tensors.get("logits")!);
      assertClose(logitsOf(base, peft), logits, { limit: 1e-5 });
      await inFolder((other) => {
        model.savePretrained(other);
        for (
          const file of ["adapter_config.json", "adapter_model.safetensors"]
        ) {
          assert.deepEqual(
            Deno.readFileSync(`${other}/${file}`),
            Deno.readFileSync(`${folder}/${file}`),
            file,
          );
        }
        return Promise.resolve();
      });
      const batch = goldenBatch(peft.tensors);
      base.train();
      using flat = new FlatParameters(model.trainedParameters(), CPU);
      accumulateGradients(base, batch, {
        checkpointing,
        autocast: null,
        seed: [1],
        factor: 1 / batch.targets.labels.length,
      });
      const gradients = peft.part("grad");
      for (const { path, view } of flat.entries) {
        assertClose(view.grad!.toArray(), numbersOf(gradients.get(path)!), {
          limit: 1e-4,
          what: `gradient of ${path}, checkpointing ${checkpointing}`,
        });
      }
    }
  });

  Deno.test(`StepEngine.step() ten times trains ${name} as peft does`, () => {
    using base = AutoModelForCausalLM.fromPretrained(peft.base);
    using model = PeftModel.fromPretrained(base, folder);
    using engine = new StepEngine(
      trainableModel(model),
      tinyArguments({ weight_decay: 0.01, max_grad_norm: 1 }),
    );
    const batch = goldenBatch(peft.tensors);
    const schedule = {
      name: "cosine",
      warmupSteps: 2,
      maxSteps: 10,
    } as const;
    for (
      const [index, loss] of numbersOf(peft.tensors.get("losses")!).entries()
    ) {
      const learningRate = 0.01 * scheduleFactor(schedule, index);
      const step = engine.step([batch], {
        learningRate,
        loss: "tokens",
        seed: [index],
      });
      assertClose([step.loss], [loss], { limit: 1e-4, what: `loss ${index}` });
    }
    const own = new Map(
      model.trainedParameters().map((each) => [each.path, each.tensor]),
    );
    for (const [path, data] of peft.part("after")) {
      assertClose(own.get(path)!.toArray(), numbersOf(data), {
        limit: 1e-4,
        what: path,
      });
    }
  });

  Deno.test(`mergeAndUnload() of ${name} computes the adapter's logits without it, in the type of the weights`, () => {
    const live = liveTensors();
    {
      using base = AutoModelForCausalLM.fromPretrained(peft.base);
      const model = PeftModel.fromPretrained(base, folder);
      const adapted = logitsOf(base, peft);
      assert.equal(model.mergeAndUnload(), base);
      assertClose(logitsOf(base, peft), adapted, { limit: 1e-5 });
      const bare = AutoModelForCausalLM.fromConfig(peft.base);
      assert.deepEqual(
        Array.from(base.namedModules(), ([path]) => path),
        Array.from(bare.namedModules(), ([path]) => path),
      );
    }
    {
      using base = AutoModelForCausalLM.fromPretrained(peft.base, {
        torchDtype: "bfloat16",
      });
      PeftModel.fromPretrained(base, folder).mergeAndUnload();
      const own = new Map(
        Array.from(base.namedParameters(), (each) => [each.path, each.tensor]),
      );
      for (const [path, data] of merges ? peft.part("half") : []) {
        assert.equal(own.get(path)!.dtype, "bfloat16");
        // one unit of bfloat16 where sums are rounded in another order
        using expected = fromData(data);
        assertClose(own.get(path)!.toArray(), expected.toArray(), {
          limit: 2 ** -8,
          what: path,
        });
      }
    }
    assert.equal(liveTensors(), live);
  });

  Deno.test(`saveModel() after the merge of ${name} writes a model that computes the adapter's logits`, async () => {
    using base = AutoModelForCausalLM.fromPretrained(peft.base);
    const model = PeftModel.fromPretrained(base, folder);
    const adapted = logitsOf(base, peft);
    model.mergeAndUnload();
    await inFolder((other) => {
      saveModel(base, other);
      using saved = AutoModelForCausalLM.fromPretrained(other);
      assertClose(logitsOf(saved, peft), adapted, { limit: 1e-5 });
      const isTied = base.config.tieWordEmbeddings && merges &&
        !["saved_tied", "saved_embedding"].includes(name);
      assert.equal(saved.config.tieWordEmbeddings, isTied);
      return Promise.resolve();
    });
  });

  Deno.test(`${name} trains in a bfloat16 base model, with gradients of float32`, () => {
    using base = AutoModelForCausalLM.fromPretrained(peft.base, {
      torchDtype: "bfloat16",
    });
    using model = PeftModel.fromPretrained(base, folder);
    const batch = goldenBatch(peft.tensors);
    base.train();
    using flat = new FlatParameters(model.trainedParameters(), CPU);
    accumulateGradients(base, batch, {
      checkpointing: false,
      autocast: null,
      seed: [1],
      factor: 1 / batch.targets.labels.length,
    });
    const gradients = peft.part("grad");
    for (const { path, view } of flat.entries) {
      assert.equal(view.grad!.dtype, "float32");
      assertClose(view.grad!.toArray(), numbersOf(gradients.get(path)!), {
        limit: 0.2,
        what: `gradient of ${path}`,
      });
    }
  });

  Deno.test(`${name} trains to the same bytes with recomputation, and from every checkpoint`, async () => {
    const lora = { ...peft.config, lora_dropout: 0.1 };
    await trainsToTheSameBytes(lora, peft.base);
  });

  Deno.test(`unload() of ${name} gives the base model back as it was`, () => {
    using base = AutoModelForCausalLM.fromPretrained(peft.base);
    const bare = logitsOf(base, peft);
    const live = liveTensors();
    const model = PeftModel.fromPretrained(base, folder);
    assert.notDeepEqual(logitsOf(base, peft), bare);
    assert.equal(model.unload(), base);
    assert.deepEqual(logitsOf(base, peft), bare);
    assert.equal(liveTensors(), live);
  });
}
