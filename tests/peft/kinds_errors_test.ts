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
  PeftModel,
} from "../../lib/peft/mod.ts";
import { liveTensors } from "../../lib/tensor/mod.ts";
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
