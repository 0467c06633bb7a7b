/**
 * Several adapters of one base model: switched, disabled, deleted, summed as peft sums
 * them, trained and saved one at a time.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
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
} from "../../lib/tensor/mod.ts";
import { type CausalLm, generate, generateBatch } from "../../mod.ts";
import { assertClose } from "../closeness.ts";
import { errorOf } from "../formats/temporary.ts";
import { GOLDEN, inFolder, MODELS, numbersOf } from "../training/tiny_run.ts";
import { KINDS } from "./kinds.ts";

const BASE = `${MODELS}/llama_gqa`;
const WEIGHTED = readSafetensors(`${KINDS}/weighted.safetensors`);

function logitsOf(base: CausalLm): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  return base.forward(fromData(WEIGHTED.get("ids")!)).toArray();
}

/** Logits of `folder` as the only adapter. */
function alone(folder: string): Float64Array {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using _model = PeftModel.fromPretrained(base, folder);
  return logitsOf(base);
}

Deno.test("PeftModel computes with each of several adapters as with that one alone, of any kind", () => {
  const folders = [
    `${GOLDEN}/trained`,
    ...["dora", "saved", "tokens", "pissa", "olora", "embedding", "head"]
      .map((name) => `${KINDS}/${name}`),
  ];
  const live = liveTensors();
  {
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    const bare = logitsOf(base);
    const [first, ...others] = folders;
    using model = PeftModel.fromPretrained(base, first!);
    for (const folder of others) model.loadAdapter(folder, folder);
    assert.deepEqual(model.adapterNames, ["default", ...others]);
    assert.deepEqual(logitsOf(base), alone(first!));
    for (const folder of [...others, ...others.toReversed()]) {
      model.setAdapter(folder);
      assert.equal(model.activeAdapter, folder);
      assert.deepEqual(logitsOf(base), alone(folder), folder);
      {
        using _base = model.disableAdapter();
        using _again = model.disableAdapter();
        assert.deepEqual(logitsOf(base), bare);
        model.setAdapter("default");
        assert.deepEqual(logitsOf(base), bare);
        model.setAdapter(folder);
      }
      assert.deepEqual(logitsOf(base), alone(folder), folder);
    }
    model.setAdapter("default");
    model.deleteAdapter(others[0]!);
    assert.deepEqual(model.adapterNames, ["default", ...others.slice(1)]);
    assert.equal(model.unload(), base);
    assert.deepEqual(logitsOf(base), bare);
  }
  assert.equal(liveTensors(), live);
});

Deno.test("generate() and generateBatch() answer with the active adapter, and without one", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  const answer =
    (): number[] => [...generate(base, [1, 5, 6], { maxNewTokens: 8 })];
  const bare = answer();
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  model.loadAdapter(`${KINDS}/saved`, "other");
  const answers = model.adapterNames.map((name) => {
    model.setAdapter(name);
    const ids = [...generate(model, [1, 5, 6], { maxNewTokens: 8 })];
    assert.deepEqual(generateBatch(model, [[1, 5, 6]], { maxNewTokens: 8 }), [
      ids,
    ]);
    return ids.join();
  });
  assert.equal(new Set([bare.join(), ...answers]).size, 3);
  using _base = model.disableAdapter();
  assert.deepEqual(answer(), bare);
});

Deno.test("addWeightedAdapter() sums as peft: linear, cat and svd", async () => {
  const live = liveTensors();
  {
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
    model.loadAdapter(`${GOLDEN}/rslora`, "other");
    for (const combinationType of ["linear", "cat", "svd"] as const) {
      const options = combinationType === "svd"
        ? { combinationType, svdRank: 3 }
        : { combinationType };
      model.addWeightedAdapter(
        { default: 0.7, other: -0.3 },
        combinationType,
        options,
      );
      model.setAdapter(combinationType);
      const expected = numbersOf(WEIGHTED.get(combinationType)!);
      assertClose(logitsOf(base), expected, {
        limit: 1e-5,
        what: combinationType,
      });
      await inFolder((folder) => {
        model.savePretrained(folder);
        assertClose(alone(folder), expected, { limit: 1e-5 });
        assert.equal(
          PeftModel.readConfig(folder).r,
          { linear: 4, cat: 8, svd: 3 }[combinationType],
        );
        return Promise.resolve();
      });
    }
    model.addWeightedAdapter({ other: 1 }, "copy");
    model.setAdapter("copy");
    assertClose(logitsOf(base), alone(`${GOLDEN}/rslora`), { limit: 1e-5 });
  }
  assert.equal(liveTensors(), live);
});

Deno.test("mergeAndUnload() merges the active adapter only", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  const model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  model.loadAdapter(`${KINDS}/pissa`, "other");
  model.setAdapter("other");
  model.mergeAndUnload();
  assertClose(logitsOf(base), alone(`${KINDS}/pissa`), { limit: 1e-5 });
});

Deno.test("names that are taken, unknown or active, and adapters that cannot be summed, are refused in one sentence", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  const before = logitsOf(base);
  model.loadAdapter(`${KINDS}/dora`, "dora");
  model.addAdapter("rank 2", { r: 2, target_modules: ["o_proj"] });
  const refused: readonly [() => unknown, string][] = [
    [
      () => model.loadAdapter(`${KINDS}/dora`, "dora"),
      'Cannot add adapter "dora": there is one of this name already',
    ],
    [() => model.addAdapter("", {}), 'Cannot add adapter "": a name is needed'],
    [
      () => model.setAdapter("x"),
      'Cannot find adapter "x": there are "default", "dora", "rank 2"',
    ],
    [
      () => model.deleteAdapter("default"),
      'Cannot delete adapter "default": it is active, set another one first',
    ],
    [
      () => model.addWeightedAdapter({ default: 1, dora: 1 }, "s"),
      'Cannot add a weighted adapter: "dora" has use_dora',
    ],
    [
      () => model.addWeightedAdapter({}, "s"),
      "Cannot add a weighted adapter: no adapter is named",
    ],
    [
      () => model.addWeightedAdapter({ default: NaN }, "s"),
      'Cannot add a weighted adapter: the weight of "default" is NaN',
    ],
    [
      () =>
        model.addWeightedAdapter({ default: 1, "rank 2": 1 }, "s", {
          combinationType: "linear",
        }),
      'Cannot add a weighted adapter: "linear" needs equal ranks, these are 4, 2; use svd or cat',
    ],
  ];
  for (const [call, message] of refused) assert.equal(errorOf(call), message);
  assert.match(errorOf(() => model.loadAdapter("nowhere", "n")), /nowhere/);
  assert.deepEqual(model.adapterNames, ["default", "dora", "rank 2"]);
  assert.deepEqual(logitsOf(base), before);
});

const STARTS: readonly (readonly [Partial<LoraConfig>, RegExp])[] = [
  [
    { init_lora_weights: "pissa", r: 40 },
    /^Cannot start LoRA of rank 40 as pissa: a weight of .* numbers has parts up to rank \d+$/,
  ],
  [
    { init_lora_weights: "orthogonal", r: 3 },
    /^Cannot start LoRA of rank 3 as orthogonal: an even rank is needed$/,
  ],
  [
    { init_lora_weights: "eva" },
    /^Cannot start LoRA as eva: that needs rows to learn from, /,
  ],
];

for (const [config, message] of STARTS) {
  Deno.test(`getPeftModel() refuses a start, and leaves the base model: ${JSON.stringify(config)}`, () => {
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    const bare = logitsOf(base);
    const live = liveTensors();
    assert.match(errorOf(() => getPeftModel(base, config)), message);
    assert.deepEqual(logitsOf(base), bare);
    assert.equal(liveTensors(), live);
    using _model = getPeftModel(base);
  });
}

Deno.test("adapters that eva and mica started load as the LoRA they are, and keep the name; loftq and corda are refused by name", async () => {
  await inFolder((folder) => {
    const config = JSON.parse(
      Deno.readTextFileSync(`${GOLDEN}/trained/adapter_config.json`),
    );
    Deno.copyFileSync(
      `${GOLDEN}/trained/adapter_model.safetensors`,
      `${folder}/adapter_model.safetensors`,
    );
    const write = (more: object): void =>
      Deno.writeTextFileSync(
        `${folder}/adapter_config.json`,
        JSON.stringify({ ...config, ...more }),
      );
    for (const init_lora_weights of ["eva", "mica"]) {
      write({
        init_lora_weights,
        eva_config: { rho: 2, tau: 0.99 },
        corda_config: { x: 1 },
      });
      assert.deepEqual(alone(folder), alone(`${GOLDEN}/trained`));
      assert.equal(
        PeftModel.readConfig(folder).init_lora_weights,
        init_lora_weights,
      );
    }
    for (const init_lora_weights of ["loftq", "corda", "lora_ga"]) {
      write({ init_lora_weights });
      assert.match(
        errorOf(() => PeftModel.readConfig(folder)),
        new RegExp(
          `not supported yet: init_lora_weights "${init_lora_weights}"$`,
        ),
      );
    }
    write({ layer_replication: [[0, 1], [0, 2]] });
    assert.match(
      errorOf(() => PeftModel.readConfig(folder)),
      /not supported yet: layer_replication /,
    );
    return Promise.resolve();
  });
});
