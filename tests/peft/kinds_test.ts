/**
 * Adapters that train more than A and B, or start from other numbers, against peft:
 * the first numbers, logits, gradients, ten steps, files to the byte, and the merge.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import {
  getPeftModel,
  type LoraConfig,
  PeftModel,
} from "../../lib/peft/mod.ts";
import {
  CPU,
  fromData,
  liveTensors,
  noGrad,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { accumulateGradients, FlatParameters } from "../../lib/training/mod.ts";
import { scheduleFactor } from "../../lib/training/schedules.ts";
import { StepEngine } from "../../lib/training/step_engine.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import type { CausalLm } from "../../mod.ts";
import { trainsToTheSameBytes } from "../training/same_bytes.ts";
import { assertClose } from "../closeness.ts";
import { inFolder } from "../formats/temporary.ts";
import { goldenBatch, numbersOf, tinyArguments } from "../training/tiny_run.ts";

/** What tests/fixtures/make_peft_kinds.py made. */
const KINDS = "tests/fixtures/peft_kinds";
const PREFIX = "base_model.model.";

/** How far a kind may be from peft where its first numbers are not drawn but computed. */
interface Limits {
  /** Relative error of the first numbers. Default 1e-6. */
  readonly fresh?: number;
}

const NAMES: Readonly<Record<string, Limits>> = {
  dora: {},
  dora_bias: {},
  fractions: {},
};

interface Golden {
  readonly config: Partial<LoraConfig>;
  readonly base: string;
  readonly tensors: ReadonlyMap<string, TensorData>;
  /** The tensors whose names begin with `prefix`, without it and peft's. */
  part(prefix: string): Map<string, TensorData>;
}

function golden(name: string): Golden {
  const folder = `${KINDS}/${name}`;
  const config = JSON.parse(
    Deno.readTextFileSync(`${folder}/adapter_config.json`),
  );
  const tensors = readSafetensors(`${folder}/golden.safetensors`);
  return {
    config,
    base: config.base_model_name_or_path,
    tensors,
    part: (prefix) =>
      new Map(
        [...tensors].filter(([key]) => key.startsWith(`${prefix}.`))
          .map(([key, data]) => [
            key.slice(prefix.length + 1).replace(PREFIX, ""),
            data,
          ]),
      ),
  };
}

function logitsOf(base: CausalLm, { tensors }: Golden): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  return base.forward(fromData(tensors.get("ids")!)).toArray();
}

for (const [name, { fresh: freshLimit = 1e-6 }] of Object.entries(NAMES)) {
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
      for (const [path, data] of peft.part("half")) {
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
