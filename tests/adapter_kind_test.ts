/**
 * Kinds of adapter that a script adds in one file: they load, compute and train as
 * peft does, are saved, resumed, counted and taken out again.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readSafetensors } from "../lib/formats/safetensors.ts";
import {
  accumulateGradients,
  FlatParameters,
  listCheckpoints,
} from "../lib/training/mod.ts";
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
  tensorScope,
} from "../mod.ts";
import type { TargetReport } from "../lib/peft/mod.ts";
import { CPU, fromData, liveTensors, toData } from "../lib/tensor/mod.ts";
import { DORA, MODULES_TO_SAVE } from "./adapter_kinds.ts";
import { assertClose } from "./closeness.ts";
import { errorOf } from "./formats/temporary.ts";
import {
  GOLDEN,
  goldenBatch,
  inFolder,
  MODELS,
  numbersOf,
  train,
} from "./training/tiny_run.ts";

const BASE = `${MODELS}/llama_gqa`;
const PEFT = `${GOLDEN}/dora`;
/** What the adapter of tests/fixtures/make_peft.py was made of. */
const CONFIG = {
  r: 4,
  lora_alpha: 8,
  target_modules: ["q_proj", "down_proj"],
  use_dora: true,
};
const SAVED: Partial<LoraConfig> = {
  r: 2,
  lora_dropout: 0.1,
  target_modules: ["q_proj"],
  modules_to_save: ["lm_head", "norm"],
};

function logitsOf(base: CausalLm): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const ids = readSafetensors(`${PEFT}/golden.safetensors`).get("ids")!;
  return base.forward(fromData(ids)).toArray();
}

Deno.test("registerAdapterKind() makes its fields known while it is registered, and its name once", () => {
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  const message = /not supported yet: use_dora true$/;
  {
    using _kind = registerAdapterKind(DORA);
    for (const kind of [DORA, { ...DORA, name: "LoRA" }]) {
      assert.throws(() => registerAdapterKind(kind), TypeError);
    }
    using model = getPeftModel(base, CONFIG);
    assert.equal(model.config.use_dora, true);
  }
  assert.match(errorOf(() => getPeftModel(base, CONFIG)), message);
  assert.match(errorOf(() => PeftModel.fromPretrained(base, PEFT)), message);
});

Deno.test("a kind of one file starts from peft's numbers and computes its logits and gradients", () => {
  using _kind = registerAdapterKind(DORA);
  const golden = readSafetensors(`${PEFT}/golden.safetensors`);
  const stored = readSafetensors(`${PEFT}/adapter_model.safetensors`);
  {
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    using model = getPeftModel(base, CONFIG, { seed: 42 });
    for (const [name, tensor] of model.stateDict()) {
      // B was filled in the fixture, so that its logits show it.
      if (name.includes("lora_B")) continue;
      assertClose(tensor.toArray(), numbersOf(stored.get(name)!), {
        limit: name.includes("lora_A") ? 0 : 2e-7,
        what: name,
      });
    }
  }
  for (const checkpointing of [false, true]) {
    using base = AutoModelForCausalLM.fromPretrained(BASE);
    using model = PeftModel.fromPretrained(base, PEFT);
    assertClose(logitsOf(base), numbersOf(golden.get("logits")!), {
      limit: 2e-6,
    });
    const batch = goldenBatch(golden);
    using flat = new FlatParameters(model.trainedParameters(), CPU);
    accumulateGradients(base, batch, {
      checkpointing,
      autocast: null,
      seed: [1],
      factor: 1 / batch.targets.labels.length,
    });
    assert.equal(flat.entries.length, 12);
    for (const { path, view } of flat.entries) {
      const expected = numbersOf(golden.get(`base_model.model.${path}`)!);
      assertClose(view.grad!.toArray(), expected, { limit: 1e-5, what: path });
    }
  }
});

Deno.test("a kind of one file is saved as peft saves it, byte for byte", async () => {
  using _kind = registerAdapterKind(DORA);
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  using model = PeftModel.fromPretrained(base, PEFT);
  await inFolder((folder) => {
    model.savePretrained(folder);
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
      assert.deepEqual(
        Deno.readFileSync(`${folder}/${file}`),
        Deno.readFileSync(`${PEFT}/${file}`),
        file,
      );
    }
    return Promise.resolve();
  });
});

const KINDS: readonly {
  readonly kind: AdapterKind;
  readonly config: Partial<LoraConfig>;
  /** Trained numbers of the config on the fixture model. */
  readonly count: number;
}[] = [
  {
    kind: DORA,
    config: { ...CONFIG, lora_dropout: 0.1 },
    // A, B and m of q (32 → 32) and down (48 → 32), two layers.
    count: 2 * (4 * (64 + 80) + 64),
  },
  {
    kind: MODULES_TO_SAVE,
    config: SAVED,
    // A and B of q, two layers; the head and the last norm.
    count: 2 * 2 * 64 + 96 * 32 + 32,
  },
];

for (const { kind, config, count } of KINDS) {
  const { name } = kind;

  Deno.test(`${name} in one file trains to the same bytes with recomputation, and from every checkpoint`, async () => {
    using _kind = registerAdapterKind(kind);
    await inFolder(async (folder) => {
      const args = {
        max_steps: 4,
        save_strategy: "steps",
        save_steps: 1,
      } as const;
      const run = { lora: config, folder } as const;
      const recomputed = { ...args, gradient_checkpointing: true } as const;
      const whole = await train({ ...run, args: recomputed });
      const read = (path: string): Uint8Array =>
        Deno.readFileSync(`${path}/adapter_model.safetensors`);
      const expected = read(folder);
      const losses = whole.history.map(({ loss }) => loss);
      for (const checkpoint of listCheckpoints(folder).slice(0, -1)) {
        await inFolder(async (other) => {
          const resumed = await train({
            ...run,
            folder: other,
            args: recomputed,
            train: { resumeFromCheckpoint: checkpoint },
          });
          assert.deepEqual(resumed.history.map(({ loss }) => loss), losses);
          assert.deepEqual(read(other), expected, checkpoint);
        });
      }
      await inFolder(async (other) => {
        const plain = await train({
          ...run,
          folder: other,
          args: { max_steps: 4 },
        });
        for (const [index, { loss }] of plain.history.entries()) {
          if (loss === undefined) continue;
          assertClose([loss!], [losses[index]!], { limit: 1e-6 });
        }
        assert.notEqual(losses[3], losses[0]);
      });
    });
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

Deno.test("kinds of adapter stand together in one model", () => {
  using _dora = registerAdapterKind(DORA);
  using _saved = registerAdapterKind(MODULES_TO_SAVE);
  using base = AutoModelForCausalLM.fromPretrained(BASE);
  const bare = logitsOf(base);
  {
    using model = getPeftModel(base, { ...SAVED, use_dora: true }, { seed: 1 });
    const q = "self_attn.q_proj.lora_";
    assert.deepEqual(model.trainedParameters().map(({ path }) => path), [
      ...[0, 1].flatMap((layer) =>
        ["A.weight", "B.weight", "magnitude_vector"].map((name) =>
          `model.layers.${layer}.${q}${name}`
        )
      ),
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
