/**
 * Fresh and loaded adapters against peft's own: matrices to the bit, logits, counts,
 * and what is saved.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { DType } from "../../lib/formats/dtype.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import {
  getPeftModel,
  type LoraConfig,
  type LoraLinear,
  PeftModel,
} from "../../lib/peft/mod.ts";
import { moduleAt } from "../../lib/nn/mod.ts";
import {
  aten,
  fromData,
  full,
  liveTensors,
  manualSeed,
  noGrad,
  tensorScope,
  toData,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { inFolder } from "../formats/temporary.ts";

const GOLDEN = "tests/fixtures/peft";
const BASE = "tests/fixtures/models/llama_gqa";
const RECIPE = ["o_proj", "gate_proj", "up_proj", "down_proj"];

/** What the adapters of tests/fixtures/make_peft.py were made of. */
const VARIANTS: Readonly<Record<string, Partial<LoraConfig>>> = {
  fresh: { r: 4, lora_alpha: 8, target_modules: RECIPE },
  trained: { r: 4, lora_alpha: 8, target_modules: RECIPE },
  patterns: {
    r: 4,
    lora_alpha: 8,
    target_modules: ["q_proj", "v_proj", "down_proj"],
    rank_pattern: { v_proj: 2, "model.layers.1.mlp.down_proj": 3 },
    alpha_pattern: { q_proj: 16, "layers\\.0\\..*down_proj": 5 },
  },
  rslora: {
    r: 4,
    lora_alpha: 8,
    target_modules: ["q_proj", "up_proj"],
    use_rslora: true,
  },
  all_linear: { r: 2, lora_alpha: 4, target_modules: "all-linear" },
  regex: {
    r: 2,
    lora_alpha: 4,
    target_modules: ".*layers\\.1\\..*\\.(q|v)_proj",
  },
  gaussian: {
    r: 4,
    lora_alpha: 8,
    target_modules: ["q_proj", "v_proj"],
    init_lora_weights: "gaussian",
  },
};

for (const [name, config] of Object.entries(VARIANTS)) {
  Deno.test(`getPeftModel() with seed 42 draws the matrices that peft draws: ${name}`, () => {
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    using model = getPeftModel(base, config, { seed: 42 });
    const golden = readSafetensors(
      `${GOLDEN}/${name}/adapter_model.safetensors`,
    );
    const own = new Map(model.stateDict());
    assert.deepEqual([...own.keys()].sort(), [...golden.keys()].sort());
    for (const [key, tensor] of own) {
      if (key.includes("lora_B") && name !== "fresh") {
        // B was filled in the fixtures, so that their logits show it.
        assert(tensor.toArray().every((each) => each === 0), key);
      } else assert.deepEqual(toData(tensor), golden.get(key), key);
    }
  });
}

Deno.test("getPeftModel() saves the files of peft byte for byte", () => {
  for (const name of ["fresh", "gaussian"]) {
    inFolder((folder) => {
      using base = AutoModelForCausalLM.fromPretrained(BASE);
      using model = getPeftModel(base, VARIANTS[name], { seed: 42 });
      model.savePretrained(folder);
      const files = name === "fresh"
        ? ["adapter_config.json", "adapter_model.safetensors"]
        : ["adapter_config.json"];
      for (const file of files) {
        assert.deepEqual(
          Deno.readFileSync(`${folder}/${file}`),
          Deno.readFileSync(`${GOLDEN}/${name}/${file}`),
          `${name}/${file}`,
        );
      }
    });
  }
});

for (const name of Object.keys(VARIANTS).filter((each) => each !== "fresh")) {
  Deno.test(`PeftModel.fromPretrained() computes ${name} as peft does, and saves the same bytes`, () => {
    const before = liveTensors();
    {
      using base = AutoModelForCausalLM.fromPretrained(BASE);
      using model = PeftModel.fromPretrained(base, `${GOLDEN}/${name}`);
      using _scope = tensorScope();
      using _frozen = noGrad();
      const golden = readSafetensors(`${GOLDEN}/${name}/golden.safetensors`);
      const logits = base.forward(fromData(golden.get("ids")!));
      assertClose(
        logits.toArray(),
        fromData(golden.get("logits")!).toArray(),
        { limit: 2e-6 },
      );
      inFolder((folder) => {
        model.savePretrained(folder);
        const written = [...Deno.readDirSync(folder)].map((each) => each.name);
        assert.deepEqual(written.sort(), [
          "adapter_config.json",
          "adapter_model.safetensors",
        ]);
        for (const file of written) {
          assert.deepEqual(
            Deno.readFileSync(`${folder}/${file}`),
            Deno.readFileSync(`${GOLDEN}/${name}/${file}`),
            file,
          );
        }
      });
    }
    assert.equal(liveTensors(), before);
  });
}

Deno.test("PeftModel.trainableParametersLine() counts as peft's print_trainable_parameters()", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using model = getPeftModel(base, VARIANTS.trained, { seed: 42 });
  const { trainable, all } = model.countParameters();
  // A: r·in, B: out·r, of o, gate, up (32 → 48) and down (48 → 32), two layers.
  assert.equal(trainable, 2 * 4 * (64 + 3 * 80));
  const baseSize = 2 * 96 * 32 + 32 +
    2 * (2 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 48);
  assert.equal(all, baseSize + trainable);
  assert.equal(
    model.trainableParametersLine(),
    `trainable params: 2,432 || all params: ${
      all.toLocaleString("en-US")
    } || trainable%: ${(100 * trainable / all).toFixed(4)}`,
  );
});

Deno.test("getPeftModel() saves the targets that all-linear names as peft does, and no name that matched nothing", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  const saved = (config: Partial<LoraConfig>): unknown =>
    inFolder((folder) => {
      using model = getPeftModel(base, config);
      model.savePretrained(folder);
      const text = Deno.readTextFileSync(`${folder}/adapter_config.json`);
      return JSON.parse(text).target_modules;
    });
  const names = ["q_proj", "k_proj", "v_proj", "o_proj"]
    .map((name) => `self_attn.${name}`)
    .concat(["gate_proj", "up_proj", "down_proj"].map((name) => `mlp.${name}`));
  assert.deepEqual(
    saved({ target_modules: "all-linear" }),
    [0, 1].flatMap((layer) =>
      names.map((name) => `model.layers.${layer}.${name}`)
    )
      .sort(),
  );
  assert.deepEqual(
    saved({ target_modules: ["W_pack", "q_proj", "down_proj"] }),
    ["down_proj", "q_proj"],
  );
});

Deno.test("LoraLinear computes in the type of the hidden states, with float32 matrices", () => {
  const logits = (torchDtype: DType): Float64Array => {
    using base = AutoModelForCausalLM.fromPretrained(BASE, { torchDtype });
    using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
    using _scope = tensorScope();
    using _frozen = noGrad();
    const golden = readSafetensors(`${GOLDEN}/trained/golden.safetensors`);
    const found = base.forward(fromData(golden.get("ids")!));
    assert.equal(found.dtype, torchDtype);
    for (const { tensor } of model.trainedParameters()) {
      assert.equal(tensor.dtype, "float32");
    }
    return found.toArray();
  };
  assertClose(logits("bfloat16"), logits("float32"), { limit: 0.03 });
});

Deno.test("LoraLinear scales what dropout leaves, so that its expected output stays", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using _model = getPeftModel(base, {
    r: 2,
    lora_dropout: 0.5,
    target_modules: ["q_proj"],
    init_lora_weights: false,
  }, { seed: 1 });
  const layer = moduleAt(base, "model.layers.0.self_attn.q_proj") as LoraLinear;
  using _scope = tensorScope();
  using _frozen = noGrad();
  const rows = 4000;
  const input = full([rows, 32], { value: 1 });
  const meanOf = (training: boolean): number[] => {
    layer.train(training);
    const output = layer.forward(input, null)
      .add(aten.neg(layer.base_layer.forward(input)));
    return [...aten.meanDim(output, [0]).toArray()];
  };
  const expected = meanOf(false);
  manualSeed(7);
  // 4,000 rows leave an error of some 2 %, a lost factor of 2 is one of 50 %.
  assertClose(meanOf(true), expected, { limit: 0.1 });
});

Deno.test("PeftModel.countParameters() counts a tied embedding once", () => {
  using base = AutoModelForCausalLM.fromPretrained(
    "tests/fixtures/models/llama_tied",
  );
  using model = getPeftModel(base, VARIANTS.trained);
  using untied = AutoModelForCausalLM.fromPretrained(BASE);
  using other = getPeftModel(untied, VARIANTS.trained);
  const difference = other.countParameters().all - model.countParameters().all;
  assert.equal(difference, 96 * 32);
});

Deno.test("PeftModel gives the base model back as it was when disposed or refused", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using _scope = tensorScope();
  using _frozen = noGrad();
  const ids = fromData(
    readSafetensors(`${GOLDEN}/trained/golden.safetensors`).get("ids")!,
  );
  const paths = (): string[] => [...base.namedModules()].map(([path]) => path);
  const logits = base.forward(ids).toArray();
  const before = paths();
  {
    using _model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
    assert.notDeepEqual(base.forward(ids).toArray(), logits);
  }
  assert.deepEqual(base.forward(ids).toArray(), logits);
  inFolder((folder) => {
    for (const name of Deno.readDirSync(`${GOLDEN}/trained`)) {
      Deno.copyFileSync(
        `${GOLDEN}/trained/${name.name}`,
        `${folder}/${name.name}`,
      );
    }
    const file = `${folder}/adapter_config.json`;
    const config = JSON.parse(Deno.readTextFileSync(file));
    Deno.writeTextFileSync(file, JSON.stringify({ ...config, r: 5 }));
    assert.throws(() => PeftModel.fromPretrained(base, folder), /has shape/);
  });
  assert.deepEqual(paths(), before);
  assert.deepEqual(base.forward(ids).toArray(), logits);
});

Deno.test("PeftModel refuses a base model that has an adapter, naming the layer", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using _first = getPeftModel(base, { target_modules: ["q_proj"] }, {
    seed: 1,
  });
  const refusal = {
    name: "InputError",
    message:
      `Cannot inject LoRA into "${BASE}": "model.layers.0.self_attn.q_proj" has an adapter already, dispose the earlier PeftModel first`,
  };
  assert.throws(
    () => PeftModel.fromPretrained(base, `${GOLDEN}/trained`),
    refusal,
  );
  assert.throws(
    () => getPeftModel(base, { target_modules: "all-linear" }),
    refusal,
  );
});

Deno.test("LoraLinear drops inputs of A while training only", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using _model = getPeftModel(base, {
    lora_dropout: 0.5,
    init_lora_weights: false,
  }, { seed: 1 });
  using _scope = tensorScope();
  using _frozen = noGrad();
  const golden = readSafetensors(`${GOLDEN}/trained/golden.safetensors`);
  const ids = fromData(golden.get("ids")!);
  const logits = (): Float64Array => base.forward(ids).toArray();
  const still = logits();
  assert.deepEqual(logits(), still);
  base.train();
  assert.notDeepEqual(logits(), still);
  base.train(false);
  assert.deepEqual(logits(), still);
});

Deno.test("getPeftModel() with init_lora_weights false draws both matrices uniformly", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using model = getPeftModel(base, {
    r: 4,
    target_modules: ["q_proj"],
    init_lora_weights: false,
  }, { seed: 1 });
  for (const [key, tensor] of model.stateDict()) {
    const bound = 1 / Math.sqrt(tensor.shape[1]!);
    const values = tensor.toArray();
    assert(values.every((each) => Math.abs(each) <= bound), key);
    assert(values.some((each) => Math.abs(each) > 0.8 * bound), key);
  }
});
