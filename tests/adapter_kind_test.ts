/**
 * Kinds of adapter that a script adds in one file: they compute and train, are saved,
 * resumed, counted, merged and taken out again.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readSafetensors } from "../lib/formats/safetensors.ts";
import {
  type AdapterKind,
  AutoModelForCausalLM,
  type CausalLm,
  generate,
  getPeftModel,
  type LoraConfig,
  noGrad,
  PeftModel,
  registerAdapterKind,
  tensor,
  tensorScope,
} from "../mod.ts";
import type { TargetReport } from "../lib/peft/mod.ts";
import { liveTensors, toData } from "../lib/tensor/mod.ts";
import { FACTORS, WHOLE_WEIGHTS } from "./adapter_kinds.ts";
import { assertClose } from "./closeness.ts";
import { errorOf } from "./formats/temporary.ts";
import { inFolder, MODELS, train } from "./training/tiny_run.ts";
import { trainsToTheSameBytes } from "./training/same_bytes.ts";

const BASE = `${MODELS}/llama_gqa`;
const FACTORED = {
  r: 4,
  target_modules: ["q_proj", "down_proj"],
  use_factors: true,
} as Partial<LoraConfig>;
const WHOLE = {
  r: 2,
  lora_dropout: 0.1,
  target_modules: ["q_proj"],
  trained_weights: ["lm_head", "norm"],
} as Partial<LoraConfig>;

function logitsOf(base: CausalLm): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  return base.forward(tensor([[1, 5, 6, 9]], { dtype: "int64" })).toArray();
}

Deno.test("registerAdapterKind() makes its fields known while it is registered, and its name once", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  {
    using _kind = registerAdapterKind(FACTORS);
    for (const kind of [FACTORS, { ...FACTORS, name: "LoRA" }]) {
      assert.throws(() => registerAdapterKind(kind), TypeError);
    }
    using model = getPeftModel(base, FACTORED);
    assert.deepEqual(model.config, { ...model.config, ...FACTORED });
  }
  assert.match(
    errorOf(() => getPeftModel(base, FACTORED)),
    /not supported yet: use_factors true$/,
  );
});

const KINDS: readonly {
  readonly kind: AdapterKind;
  readonly config: Partial<LoraConfig>;
  /** Trained numbers of the config on the fixture model. */
  readonly count: number;
}[] = [
  // the outputs of q and down, two layers
  { kind: FACTORS, config: FACTORED, count: 2 * (32 + 32) },
  {
    kind: WHOLE_WEIGHTS,
    config: WHOLE,
    // A and B of q, two layers; the head and the last norm.
    count: 2 * 2 * 64 + 96 * 32 + 32,
  },
];

for (const { kind, config, count } of KINDS) {
  const { name } = kind;

  Deno.test(`${name} in one file trains to the same bytes with recomputation, and from every checkpoint`, async () => {
    using _kind = registerAdapterKind(kind);
    await trainsToTheSameBytes(config);
  });

  Deno.test(`${name} in one file is counted, loaded, used to generate and taken out again`, async () => {
    using _kind = registerAdapterKind(kind);
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    const bare = logitsOf(base);
    const paths = (): string[] =>
      Array.from(base.namedModules(), ([path]) => path);
    const [tree, live] = [paths(), liveTensors()];
    await inFolder(async (folder) => {
      const { output } = await train({
        folder,
        lora: config,
        args: { max_steps: 2 },
      });
      assert.equal(output.globalStep, 2);
      using model = PeftModel.fromPretrained(base, folder);
      assert.equal(model.countParameters().trainable, count);
      assert.notDeepEqual(logitsOf(base), bare);
      assert.equal(
        [...generate(model, [1, 5, 6], { maxNewTokens: 3 })].length,
        3,
      );
      const stored = readSafetensors(`${folder}/adapter_model.safetensors`);
      for (const [key, tensor] of model.stateDict()) {
        assert.deepEqual(toData(tensor), stored.get(key), key);
      }
      assert.equal(stored.size, [...model.stateDict()].length);
    });
    assert.deepEqual(logitsOf(base), bare);
    assert.deepEqual(paths(), tree);
    assert.equal(liveTensors(), live);
  });
}

for (const { kind, config } of KINDS) {
  Deno.test(`${kind.name} in one file is merged into the weights`, async () => {
    using _kind = registerAdapterKind(kind);
    await inFolder(async (folder) => {
      await train({ folder, lora: config, args: { max_steps: 2 } });
      using base = AutoModelForCausalLM.fromPretrained(BASE);
      const model = PeftModel.fromPretrained(base, folder);
      const adapted = logitsOf(base);
      model.mergeAndUnload();
      assertClose(logitsOf(base), adapted, { limit: 1e-5 });
    });
  });
}

Deno.test("kinds of adapter stand together in one model", () => {
  using _factors = registerAdapterKind(FACTORS);
  using _saved = registerAdapterKind(WHOLE_WEIGHTS);
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  const bare = logitsOf(base);
  {
    using model = getPeftModel(base, {
      ...WHOLE,
      ...FACTORED,
      target_modules: ["q_proj"],
    }, { seed: 1 });
    assert.deepEqual(model.trainedParameters().map(({ path }) => path), [
      "model.layers.0.self_attn.q_proj.factors",
      "model.layers.1.self_attn.q_proj.factors",
      "model.norm.weight",
      "lm_head.weight",
    ]);
  }
  assert.deepEqual(logitsOf(base), bare);
});

Deno.test("getPeftModel() puts everything back when a kind fails, and refuses what no kind adapts", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  const bare = logitsOf(base);
  const live = liveTensors();
  {
    using _kind = registerAdapterKind({
      name: "fails late",
      attach: ({ path }) => {
        if (path === "lm_head") throw new RangeError("late");
        return null;
      },
    });
    assert.throws(() => getPeftModel(base), /^RangeError: late$/);
  }
  assert.deepEqual(logitsOf(base), bare);
  const report: TargetReport = {
    targeted: ["model.layers.0.self_attn.q_proj", "model.norm"],
    parameters: [],
    unmatched: [],
    trainedNames: [],
    untrainedNames: [],
  };
  assert.equal(
    errorOf(() => getPeftModel(base, {}, { report })),
    'Cannot inject LoRA into "model.norm": no kind of adapter fits it',
  );
  assert.deepEqual(logitsOf(base), bare);
  using model = getPeftModel(base);
  model[Symbol.dispose]();
  assert.equal(liveTensors(), live);
});
