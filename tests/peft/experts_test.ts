/**
 * Adapters on experts and routers against peft: `tests/fixtures/experts`, made by
 * `make_experts.py`.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
} from "../../lib/architectures/mod.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import {
  getPeftModel,
  type LoraConfig,
  PeftModel,
} from "../../lib/peft/mod.ts";
import {
  fromData,
  liveTensors,
  noGrad,
  tensorScope,
  toData,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";
import { numbersOf, rowOf, train } from "../training/tiny_run.ts";

const GOLDEN = "tests/fixtures/experts";
const FAMILIES = "tests/fixtures/families";
const BASE = `${FAMILIES}/qwen3_moe`;
const ALL: Partial<LoraConfig> = {
  r: 2,
  lora_alpha: 4,
  target_modules: "all-linear",
};

/** What peft makes of some targets, or its error. */
interface Case {
  readonly base: string;
  readonly given: Partial<LoraConfig>;
  readonly error?: string;
  readonly trained: Readonly<Record<string, readonly number[]>>;
  readonly target_modules: readonly string[];
  readonly target_parameters: readonly string[];
  readonly rank_pattern: Readonly<Record<string, number>>;
  readonly alpha_pattern: Readonly<Record<string, number>>;
  readonly line: readonly string[];
}

function readJson<T>(name: string): T {
  return JSON.parse(Deno.readTextFileSync(`${GOLDEN}/${name}`));
}

/** Why lorikeet refuses what peft refuses, by the beginning of peft's error. */
const REFUSALS: readonly (readonly [string, RegExp])[] = [
  [
    "ValueError: Cannot convert PEFT target(s) gate_proj without",
    /^Cannot inject LoRA into "gate_proj" without "up_proj": the experts hold both in "gate_up_proj", name both or none$/,
  ],
  [
    "ValueError: Cannot convert PEFT target(s) up_proj without",
    /^Cannot inject LoRA into "up_proj" without "gate_proj": /,
  ],
  [
    "ValueError: Target module Qwen3MoeExperts",
    /^Cannot inject LoRA into "model\.layers\.[01]\.mlp\.experts": it is not a linear layer, target only /,
  ],
  [
    "NoMatchingPeftModuleError",
    /^Cannot inject LoRA: target modules .*"gate_up_proj" not found in the base model, it has q_proj, .*\bgate_up_proj, .*\bgate$/,
  ],
  [
    "ValueError: lora.ParamWrapper does not work with lora_dropout != 0",
    /^Cannot inject LoRA into "model\.layers\.[01]\.mlp\.experts\.gate_up_proj" with lora_dropout 0\.1: .*, set lora_dropout to 0 or name only q_proj, k_proj, v_proj, o_proj as target_modules$/,
  ],
];

for (const each of readJson<Case[]>("targets.json")) {
  const { base: name, given, error } = each;
  Deno.test(`getPeftModel() adapts in ${name} what peft does: ${JSON.stringify(given)}`, () => {
    using base = AutoModelForCausalLM.fromPretrained(`${FAMILIES}/${name}`);
    const config = { r: 2, lora_alpha: 4, ...given };
    if (error !== undefined) {
      const [, refusal] = REFUSALS.find(([start]) => error.startsWith(start))!;
      assert.match(errorOf(() => getPeftModel(base, config)), refusal);
      return;
    }
    using model = getPeftModel(base, config);
    const trained = model.trainedParameters();
    assert.deepEqual(
      trained.map(({ path, tensor }) => [path, tensor.shape]),
      Object.entries(each.trained),
    );
    const { rank_pattern, alpha_pattern } = model.config;
    assert.deepEqual(
      [Object.entries(rank_pattern), Object.entries(alpha_pattern)],
      [Object.entries(each.rank_pattern), Object.entries(each.alpha_pattern)],
    );
    const { trainable, all } = model.countParameters();
    assert.deepEqual([trainable, all].map(String), each.line);
    inFolder((folder) => {
      model.savePretrained(folder);
      const saved = JSON.parse(
        Deno.readTextFileSync(`${folder}/adapter_config.json`),
      );
      assert.deepEqual(
        saved.target_parameters.toSorted(),
        each.target_parameters,
      );
      // peft's file sorts patterns, so where two match, it may load another one.
      const patterns = Object.keys(rank_pattern);
      if (patterns.join() !== patterns.toSorted().join()) return;
      using again = AutoModelForCausalLM.fromPretrained(`${FAMILIES}/${name}`);
      using loaded = PeftModel.fromPretrained(again, folder);
      assert.deepEqual(
        loaded.trainedParameters().map(({ path }) => path),
        Object.keys(each.trained),
      );
    });
  });
}

for (const name of ["fresh", "gaussian"]) {
  Deno.test(`getPeftModel() with seed 42 draws and saves what peft does on experts and router, byte for byte: ${name}`, () => {
    const before = liveTensors();
    {
      using base = AutoModelForCausalLM.fromPretrained(BASE);
      const kind = name === "gaussian" ? "gaussian" : true;
      const config = { ...ALL, init_lora_weights: kind } as const;
      using model = getPeftModel(base, config, { seed: 42 });
      inFolder((folder) => {
        model.savePretrained(folder);
        for (
          const file of ["adapter_config.json", "adapter_model.safetensors"]
        ) {
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

/** Logits of the golden ids of the base model. */
function logitsOf(base: CausalLm): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const ids = readSafetensors(`${BASE}/golden.safetensors`).get("ids")!;
  return base.forward(fromData(ids)).toArray();
}

Deno.test("PeftModel.fromPretrained() joins the experts of an adapter made with transformers 4 as peft does", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  const bare = logitsOf(base);
  const golden = readSafetensors(`${GOLDEN}/four/golden.safetensors`);
  {
    using model = PeftModel.fromPretrained(base, `${GOLDEN}/four`);
    for (const [key, tensor] of model.stateDict()) {
      assert.deepEqual(toData(tensor), golden.get(key), key);
    }
    assert.equal([...model.stateDict()].length, golden.size - 1);
    const logits = numbersOf(golden.get("logits")!);
    assertClose(logitsOf(base), logits, { limit: 5e-6 });
  }
  assert.deepEqual(logitsOf(base), bare);
});

Deno.test("mergeAndUnload() puts adapters of experts and routers into each expert's own weights", () => {
  const before = liveTensors();
  {
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    const model = PeftModel.fromPretrained(base, `${GOLDEN}/four`);
    assert.equal(model.mergeAndUnload(), base);
    const golden = readSafetensors(`${GOLDEN}/four/golden.safetensors`);
    assertClose(logitsOf(base), numbersOf(golden.get("logits")!), {
      limit: 1e-5,
    });
  }
  assert.equal(liveTensors(), before);
});

Deno.test("PeftModel.fromPretrained() names the experts that an adapter of transformers 4 lacks", () => {
  inFolder((folder) => {
    const config = `${GOLDEN}/four/adapter_config.json`;
    Deno.copyFileSync(config, `${folder}/adapter_config.json`);
    const tensors = readSafetensors(`${GOLDEN}/four/adapter_model.safetensors`);
    const lost = "model.layers.1.mlp.experts.3.up_proj.lora_B.weight";
    const kept = [...tensors].filter(([name]) => !name.endsWith(lost));
    assert.equal(kept.length, tensors.size - 1);
    writeSafetensors(`${folder}/adapter_model.safetensors`, new Map(kept));
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    assert.match(
      errorOf(() => PeftModel.fromPretrained(base, folder)),
      /into this model: "model\.layers\.1\.mlp\.experts\.base_layer\.lora_B\.weight" is missing; "model\.layers\.1\.mlp\.experts\.0\.gate_proj\.lora_B\.weight" is for a layer/,
    );
  });
});

/** The two golden rows of the base model. */
function goldenRows(): ReturnType<typeof rowOf>[] {
  const golden = readSafetensors(`${BASE}/golden.safetensors`);
  using _scope = tensorScope();
  const ids = [...fromData(golden.get("ids")!).toArray()];
  return [rowOf(ids.slice(0, 13), 4), rowOf(ids.slice(13, 22), 3)];
}

Deno.test("Trainer takes the steps that peft takes with adapters on experts and router, and resumes to the byte", () =>
  inFolder(async (folder) => {
    const run = {
      model: BASE,
      lora: ALL,
      rows: goldenRows(),
      args: {
        gradient_accumulation_steps: 1,
        learning_rate: 0.01,
        max_steps: 12,
        save_strategy: "steps",
        save_steps: 5,
      },
    } as const;
    const whole = await train({ ...run, folder: `${folder}/whole` });
    const steps = readJson<Record<string, number>[]>("steps.json");
    const logged = whole.history.filter(({ loss }) => loss !== undefined);
    assert.equal(logged.length, 12);
    for (
      const [name, limit] of [["loss", 1e-4], ["grad_norm", 1e-3]] as const
    ) {
      assertClose(
        logged.map((row) => row[name] as number),
        steps.map((step) => step[name]!),
        { limit, what: name },
      );
    }
    const resumed = `${folder}/resumed`;
    await train({
      ...run,
      folder: resumed,
      train: { resumeFromCheckpoint: `${folder}/whole/checkpoint-5` },
    });
    const bytes = (of: string): Uint8Array =>
      Deno.readFileSync(`${of}/adapter_model.safetensors`);
    assert.deepEqual(bytes(resumed), bytes(`${folder}/whole`));
    assert.notDeepEqual(bytes(resumed), bytes(`${GOLDEN}/fresh`));
  }));

Deno.test("AutoModelForCausalLM.fromPretrained() loads experts stored as one tensor, as a view of the file", () => {
  const stored = readSafetensors(`${BASE}/model.safetensors`);
  const joined = new Map(stored);
  for (const layer of [0, 1]) {
    const experts = `model.layers.${layer}.mlp.experts`;
    for (
      const [name, parts, shape] of [
        ["gate_up_proj", ["gate_proj", "up_proj"], [4, 32, 32]],
        ["down_proj", ["down_proj"], [4, 32, 16]],
      ] as const
    ) {
      const names = [0, 1, 2, 3].flatMap((expert) =>
        parts.map((part) => `${experts}.${expert}.${part}.weight`)
      );
      const bytes = names.map((each) => stored.get(each)!.bytes);
      for (const each of names) joined.delete(each);
      joined.set(`${experts}.${name}`, {
        dtype: "float32",
        shape,
        bytes: new Uint8Array(bytes.flatMap((each) => [...each])),
      });
    }
  }
  inFolder((folder) => {
    Deno.copyFileSync(`${BASE}/config.json`, `${folder}/config.json`);
    writeSafetensors(`${folder}/model.safetensors`, joined);
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    using model = AutoModelForCausalLM.fromPretrained(folder);
    assert.deepEqual(logitsOf(model), logitsOf(base));
    const wrong = new Map(joined);
    const name = "model.layers.1.mlp.experts.down_proj";
    wrong.set(name, { ...joined.get(name)!, shape: [4, 16, 32] });
    writeSafetensors(`${folder}/model.safetensors`, wrong);
    assert.match(
      errorOf(() => AutoModelForCausalLM.fromPretrained(folder)),
      /experts\.0\.down_proj\.weight" is missing; .*"model\.layers\.1\.mlp\.experts\.down_proj" belongs to no layer/,
    );
  });
});
