/**
 * What cannot be trained or merged is refused in one sentence, and the base model stays
 * as it was.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import {
  getPeftModel,
  type LoraConfig,
  type LoraLinear,
  PeftModel,
  trainedCount,
} from "../../lib/peft/mod.ts";
import { moduleAt } from "../../lib/nn/mod.ts";
import {
  aten,
  full,
  liveTensors,
  manualSeed,
  noGrad,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { errorOf } from "../formats/temporary.ts";
import { inFolder, MODELS } from "../training/tiny_run.ts";
import { golden, KINDS, logitsOf, PREFIX } from "./kinds.ts";

const REFUSED: readonly (readonly [string, Partial<LoraConfig>, RegExp])[] = [
  [
    "llama_gqa",
    { modules_to_save: ["nope"] },
    /^Cannot train modules_to_save "nope": the model has no module of that name, it has .*\bnorm, lm_head$/,
  ],
  [
    "llama_gqa",
    { trainable_token_indices: [96] },
    /^Cannot train trainable_token_indices: the model has tokens 0 to 95, not 96$/,
  ],
  [
    "llama_gqa",
    { trainable_token_indices: { wte: [1], lm_head: [2, 2] } },
    /the model has no module "wte"; 2 is named twice$/,
  ],
  [
    "llama_gqa",
    { trainable_token_indices: [1], modules_to_save: ["embed_tokens"] },
    /^Cannot train "model\.embed_tokens" as modules_to_save and by trainable_token_indices: /,
  ],
  ["llama_gqa", {
    trainable_token_indices: [1],
    target_modules: ["embed_tokens"],
  }, /^Cannot train tokens of "model\.embed_tokens": LoRA adapts it too/],
  [
    "llama_gqa",
    { lora_bias: true, use_dora: true },
    /^Cannot use lora_bias with use_dora: /,
  ],
  [
    "llama_gqa",
    { lora_bias: true, init_lora_weights: "gaussian" },
    /^Cannot use lora_bias with init_lora_weights "gaussian": /,
  ],
  [
    "llama_gqa",
    { lora_bias: true, target_modules: ["embed_tokens"] },
    /^Cannot adapt "model\.embed_tokens" with lora_bias: /,
  ],
];

for (const [model, config, message] of REFUSED) {
  Deno.test(`getPeftModel() refuses in one sentence, and leaves the base model: ${JSON.stringify(config)}`, () => {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/${model}`);
    const live = liveTensors();
    const before = Array.from(base.namedParameters(), ({ path }) => path);
    assert.match(errorOf(() => getPeftModel(base, config)), message);
    const after = Array.from(base.namedParameters(), ({ path }) => path);
    assert.deepEqual(after, before);
    assert.equal(liveTensors(), live);
  });
}

Deno.test("mergeAndUnload() refuses lora_bias where the layer has no bias, and numbers that are not finite; the adapter stays", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  {
    using model = getPeftModel(base, { lora_bias: true });
    assert.match(
      errorOf(() => model.mergeAndUnload()),
      /^Cannot merge lora_bias into "model\.layers\.0\.self_attn\.q_proj": the layer has no bias/,
    );
  }
  using model = getPeftModel(base, { r: 2 });
  const paths = Array.from(base.namedParameters(), ({ path }) => path);
  const bare = base.namedParameters().next().value!.tensor.toArray();
  model.trainedParameters().at(-1)!.tensor.fill(Infinity);
  assert.match(
    errorOf(() => model.mergeAndUnload()),
    /^Cannot merge the adapter into ".*llama_gqa": "model\.layers\.1\.self_attn\.v_proj\.weight" would not be finite$/,
  );
  assert.deepEqual(
    Array.from(base.namedParameters(), ({ path }) => path),
    paths,
  );
  assert.deepEqual(base.namedParameters().next().value!.tensor.toArray(), bare);
  model.unload();
  assert.match(
    errorOf(() => model.unload()),
    /^Cannot use the adapter of .*: it has been disposed$/,
  );
});

Deno.test("a head's own weight is what PiSSA and DoRA compute with, and merge", async () => {
  await inFolder((folder) => {
    const peft = golden("head");
    using base = AutoModelForCausalLM.fromPretrained(peft.base);
    const name = `${PREFIX}lm_head.base_layer.weight`;
    {
      using model = getPeftModel(base, {
        target_modules: ["lm_head"],
        init_lora_weights: "pissa",
        use_dora: true,
      });
      model.savePretrained(folder);
    }
    const tensors = new Map(
      readSafetensors(`${folder}/adapter_model.safetensors`),
    );
    const { shape } = tensors.get(name)!;
    const numbers = Float32Array.from(
      { length: shape[0]! * shape[1]! },
      (_, index) => Math.sin(index),
    );
    tensors.set(name, {
      dtype: "float32",
      shape,
      bytes: new Uint8Array(numbers.buffer),
    });
    writeSafetensors(`${folder}/adapter_model.safetensors`, tensors);
    const bare = logitsOf(base, peft);
    const model = PeftModel.fromPretrained(base, folder);
    const adapted = logitsOf(base, peft);
    assert.notDeepEqual(adapted, bare);
    model.mergeAndUnload();
    assertClose(logitsOf(base, peft), adapted, { limit: 1e-5 });
    return Promise.resolve();
  });
});

Deno.test("an adapter's own embedding takes the place of the base model's while it is there, and in the merge", async () => {
  await inFolder((folder) => {
    const tensors = new Map(
      readSafetensors(`${KINDS}/embedding/adapter_model.safetensors`),
    );
    const name = `${PREFIX}model.embed_tokens.base_layer.weight`;
    const data = tensors.get(name)!;
    tensors.set(name, { ...data, bytes: new Uint8Array(data.bytes.length) });
    Deno.copyFileSync(
      `${KINDS}/embedding/adapter_config.json`,
      `${folder}/adapter_config.json`,
    );
    writeSafetensors(`${folder}/adapter_model.safetensors`, tensors);
    const peft = golden("embedding");
    using base = AutoModelForCausalLM.fromPretrained(peft.base);
    const bare = logitsOf(base, peft);
    {
      using model = PeftModel.fromPretrained(base, folder);
      const found = new Map(model.stateDict()).get(name)!;
      assert(found.toArray().every((each) => each === 0));
    }
    assert.deepEqual(logitsOf(base, peft), bare);
    const model = PeftModel.fromPretrained(base, folder);
    const adapted = logitsOf(base, peft);
    model.mergeAndUnload();
    assertClose(logitsOf(base, peft), adapted, { limit: 1e-5 });
    return Promise.resolve();
  });
});

Deno.test("DoRA scales what dropout leaves, so that its expected output stays", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using _model = getPeftModel(base, {
    r: 2,
    lora_dropout: 0.5,
    target_modules: ["q_proj"],
    init_lora_weights: false,
    use_dora: true,
  }, { seed: 1 });
  const layer = moduleAt(base, "model.layers.0.self_attn.q_proj") as LoraLinear;
  const lengths = layer.parameter("lora_magnitude_vector")!;
  lengths.fill(3);
  using _scope = tensorScope();
  using _frozen = noGrad();
  const input = full([4000, 32], { value: 1 });
  const meanOf = (training: boolean): number[] => {
    layer.train(training);
    const added = layer.forward(input, null)
      .add(layer.base_layer.forward(input), -1);
    return [...aten.meanDim(added, [0]).toArray()];
  };
  const expected = meanOf(false);
  manualSeed(7);
  // 4,000 rows leave an error of some 2 %, a lost factor of 2 is one of 50 %.
  assertClose(meanOf(true), expected, { limit: 0.1 });
});

Deno.test("modules in a module that is trained whole, and their biases, are not trained twice", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_bias`);
  using model = getPeftModel(base, {
    target_modules: ["q_proj", "up_proj"],
    modules_to_save: ["mlp", "up_proj"],
    bias: "all",
  });
  const paths = model.trainedParameters().map(({ path }) => path);
  assert.equal(new Set(paths).size, paths.length);
  assert.equal(paths.filter((path) => path.includes(".mlp.up_proj")).length, 4);
});

Deno.test("trainedCount() and countParameters() count as peft, without weights and with them", () => {
  const counts: Record<string, [number, number]> = JSON.parse(
    Deno.readTextFileSync(`${KINDS}/counts.json`),
  );
  assert.equal(Object.keys(counts).length, 22);
  for (const [name, [trainable, all]] of Object.entries(counts)) {
    const peft = golden(name);
    const tree = AutoModelForCausalLM.fromConfig(peft.base);
    const config = PeftModel.readConfig(`${KINDS}/${name}`);
    assert.equal(trainedCount(tree, { config }), trainable, name);
    using base = AutoModelForCausalLM.fromPretrained(peft.base);
    using model = getPeftModel(base, peft.config);
    assert.deepEqual(model.countParameters(), { trainable, all }, name);
  }
});

Deno.test("a head's frozen weight is saved with its adapter, but not beside trained tokens, as in peft", () => {
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  for (const trainable_token_indices of [null, [5]]) {
    using model = getPeftModel(base, {
      target_modules: ["lm_head"],
      trainable_token_indices,
    });
    const names = Array.from(model.stateDict(), ([name]) => name);
    assert.equal(
      names.includes(`${PREFIX}lm_head.base_layer.weight`),
      trainable_token_indices === null,
    );
  }
});
