/**
 * `generate` against transformers', from the file that
 * `tests/fixtures/make_generation.py` made; and what it leaves behind.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { generate, type GenerateOptions } from "../../lib/generation/mod.ts";
import { InputError } from "../../lib/input_error.ts";
import { moduleAt } from "../../lib/nn/mod.ts";
import { aten, liveTensors } from "../../lib/tensor/mod.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";

interface Case {
  readonly model: string;
  readonly prompt: readonly number[];
  readonly options: GenerateOptions;
  readonly ids: readonly number[];
}

const { cases } = JSON.parse(
  Deno.readTextFileSync("tests/fixtures/generation.json"),
) as { cases: readonly Case[] };
const folderOf = (name: string): string => `tests/fixtures/models/${name}`;

for (const { model: name, prompt, options, ids } of cases) {
  const settings = JSON.stringify(options);
  Deno.test(`generate() gives transformers' tokens for ${name} with ${settings}`, () => {
    const before = liveTensors();
    {
      using model = AutoModelForCausalLM.fromPretrained(folderOf(name));
      assert.deepEqual([...generate(model, prompt, options)], ids);
    }
    assert.equal(liveTensors(), before);
  });
}

for (const name of ["rope_dynamic", "rope_longrope"]) {
  Deno.test(`generate() answers alike a second time with ${name}, and puts its state back`, () => {
    using model = AutoModelForCausalLM.fromPretrained(folderOf(name));
    model.restoreRunState({ longest_sequence: 40 });
    const state = model.runState();
    const options = { maxNewTokens: 40, eosTokenIds: [] };
    const first = [...generate(model, [1, 17, 40], options)];
    assert.deepEqual(model.runState(), state);
    assert.deepEqual([...generate(model, [1, 17, 40], options)], first);
    assert.equal(first.length, 40);
  });
}

Deno.test("generate() answers as a model just loaded does, whatever lengths the model has seen", () => {
  const prompt = [1, 17, 40, 5, 6, 7, 8, 9, 10, 11];
  const options = { maxNewTokens: 12, eosTokenIds: [] };
  using model = AutoModelForCausalLM.fromPretrained(folderOf("rope_dynamic"));
  const fresh = [...generate(model, prompt, options)];
  model.restoreRunState({ longest_sequence: 4000 });
  assert.deepEqual([...generate(model, prompt, options)], fresh);
});

Deno.test("generate() without dropout, which is on again after an early stop that leaks nothing", () => {
  using base = AutoModelForCausalLM.fromPretrained(folderOf("llama_gqa"));
  using adapted = getPeftModel(base, {
    r: 2,
    lora_dropout: 0.9,
    init_lora_weights: "gaussian",
  }, { seed: 1 });
  for (const { tensor } of adapted.trainedParameters()) {
    aten.normal_(tensor, 0, 1);
  }
  moduleAt(base, "model").train();
  const untrained = moduleAt(base, "lm_head");
  untrained.training = false;
  const options = { maxNewTokens: 8, eosTokenIds: [] };
  const first = [...generate(base, [1, 2, 3], options)];
  assert.deepEqual([...generate(adapted, [1, 2, 3], options)], first);
  const before = liveTensors();
  for (const id of generate(base, [1, 2, 3], options)) {
    assert.equal(id, first[0]);
    assert.equal(moduleAt(base, "model").training, false);
    break;
  }
  assert.equal(liveTensors(), before);
  assert.equal(moduleAt(base, "model").training, true);
  assert.equal(untrained.training, false);
  assert.deepEqual([...generate(base, [1, 2, 3], options)], first);
});

Deno.test("generate() ends with the model's own end token, which it gives", () => {
  using model = AutoModelForCausalLM.fromPretrained(folderOf("llama_gqa"));
  const [, , third] = generate(model, [1, 17, 40], {
    maxNewTokens: 3,
    eosTokenIds: [],
  });
  const ids = [
    ...generate(model, [1, 17, 40], {
      maxNewTokens: 30,
      eosTokenIds: [95, third!],
    }),
  ];
  assert.equal(ids.at(-1), third);
  assert(ids.length <= 3);
});

Deno.test("generate() tells all that is wrong with its options before it begins", () => {
  using model = AutoModelForCausalLM.fromPretrained(folderOf("llama_gqa"));
  const wrong = {
    temperature: 0,
    topK: -1,
    topP: 1.5,
    repetitionPenalty: NaN,
    maxNewTokens: 0,
  };
  assert.throws(() => generate(model, [1, 96], wrong), {
    name: "RangeError",
    message: "Cannot generate with temperature 0: it must be more than 0; " +
      "Cannot generate with topK -1: it must be a whole number from 0; " +
      "Cannot generate with topP 1.5: it must be more than 0 and at most 1; " +
      "Cannot generate with repetitionPenalty NaN: it must be more than 0; " +
      "Cannot generate 0 tokens: maxNewTokens must be a whole number from 1",
  });
  const start = `Cannot generate with model "${
    folderOf("llama_gqa")
  }": the prompt`;
  assert.throws(() => generate(model, [1, 96]), {
    name: "InputError",
    message: `${start} has id 96, but vocab_size in config.json is 96`,
  });
  assert.throws(() => generate(model, []), {
    name: "InputError",
    message: `${start} is empty, at least one token is needed`,
  });
});

Deno.test("generate() refuses logits that are not numbers instead of answering with token 0", () => {
  using model = AutoModelForCausalLM.fromPretrained(folderOf("llama_gqa"), {
    torchDtype: "bfloat16",
  });
  moduleAt(model, "model.norm").parameter("weight")!.fill(NaN);
  assert.throws(() => [...generate(model, [1, 2])], (error) => {
    assert(error instanceof InputError);
    assert.match(error.message, /its logits are not finite numbers/);
    return true;
  });
});
