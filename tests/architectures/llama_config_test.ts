/**
 * What `config.json` may say: refusals by name, all at once, and both spellings of
 * transformers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { readConfig } from "../../lib/architectures/auto_model.ts";
import { llamaConfig } from "../../lib/architectures/llama.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";

/** The error about a config.json that holds `json`. */
function complaintOf(json: Readonly<Record<string, unknown>>): string {
  return errorOf(() => llamaConfig("F", json));
}

const PREFIX = 'Cannot compute model "F": in config.json ';

Deno.test("llamaConfig() refuses quantised weights, and says which are needed", () => {
  assert.equal(
    complaintOf({ quantization_config: { quant_method: "gptq" } }),
    `${PREFIX}quantization_config {"quant_method":"gptq"} is not supported, ` +
      "the model's weights before quantisation are needed",
  );
});

Deno.test("llamaConfig() refuses by name what the model page does not compute", () => {
  const refused = [
    ["partial_rotary_factor", 0.5],
    ["is_causal", false],
    ["per_layer_config", { 0: { intermediate_size: 16 } }],
  ] as const;
  for (const [field, value] of refused) {
    assert.equal(
      complaintOf({ [field]: value }),
      `${PREFIX}${field} ${JSON.stringify(value)} is not supported`,
    );
  }
});

Deno.test("llamaConfig() refuses activations it does not compute, naming those it does", () => {
  assert.match(
    complaintOf({ hidden_act: "xielu" }),
    /hidden_act "xielu" is not supported \(silu, swish, gelu, .* are\)$/,
  );
  assert.equal(
    complaintOf({ attention_dropout: 1.5 }),
    `${PREFIX}attention_dropout must be at most 0.999, got 1.5`,
  );
});

Deno.test("llamaConfig() takes the values of the refused fields that change nothing", () => {
  llamaConfig("F", {
    hidden_act: "silu",
    attention_dropout: 0,
    quantization_config: null,
    partial_rotary_factor: 1,
    is_causal: true,
    per_layer_config: {},
    // transformers' Llama has no window and does not read the field.
    sliding_window: 4096,
  });
});

Deno.test("llamaConfig() refuses numbers that are none, all at once", () => {
  assert.equal(
    complaintOf({
      hidden_size: "32",
      num_hidden_layers: 0,
      vocab_size: 1.5,
      rms_norm_eps: NaN,
      num_attention_heads: 4,
      num_key_value_heads: 3,
      head_dim: 7,
    }),
    PREFIX + [
      'hidden_size must be a number, got "32"',
      "num_attention_heads 4 must be a multiple of num_key_value_heads 3",
      "vocab_size must be a positive integer, got 1.5",
      "num_hidden_layers must be a positive integer, got 0",
      "rms_norm_eps must be a number, got NaN",
      "head_dim 7 must be even",
    ].join("; "),
  );
});

Deno.test("llamaConfig() refuses ropes it does not know or that lack a number", () => {
  assert.match(
    complaintOf({ rope_scaling: { rope_type: "mystery" } }),
    /rope_type "mystery" is not supported \(default, linear, dynamic, yarn, longrope, llama3 are\)/,
  );
  assert.equal(
    complaintOf({ rope_scaling: { type: "linear" } }),
    `${PREFIX}rope_type "linear" needs factor`,
  );
  assert.equal(
    complaintOf({ rope_parameters: { rope_type: "llama3", factor: 8 } }),
    `${PREFIX}rope_type "llama3" needs low_freq_factor; rope_type "llama3" needs high_freq_factor`,
  );
  assert.equal(
    complaintOf({ rope_parameters: { partial_rotary_factor: 0.5 } }),
    `${PREFIX}partial_rotary_factor 0.5 is not supported`,
  );
});

Deno.test("llamaConfig() refuses rope types that every object has by nature", () => {
  for (const name of ["__proto__", "constructor", "toString"]) {
    for (const field of ["rope_type", "type"]) {
      assert.match(
        complaintOf({ rope_scaling: { [field]: name } }),
        new RegExp(`^Cannot .*rope_type "${name}" is not supported \\(default`),
      );
    }
  }
  const parsed = JSON.parse('{"__proto__": {"hidden_size": 7}}');
  assert.equal(llamaConfig("F", parsed).hiddenSize, 4096);
});

Deno.test("llamaConfig() refuses ropes whose numbers are none, by name and all at once", () => {
  const long = (short_factor: unknown, long_factor: unknown): string =>
    complaintOf({
      head_dim: 6,
      rope_scaling: { rope_type: "longrope", short_factor, long_factor },
    });
  assert.equal(
    long([1, 2], [1, 2, "3"]),
    `${PREFIX}short_factor must be a list of 3 numbers, got [1,2]; ` +
      'long_factor must be a list of 3 numbers, got [1,2,"3"]',
  );
  assert.match(long(1, [1, 2, Infinity]), /short_factor .* got 1; long_factor/);
  assert.equal(
    complaintOf({
      rope_theta: [10000],
      rope_scaling: { rope_type: "yarn", factor: "4", truncate: 1 },
    }),
    `${PREFIX}rope_theta must be a number, got [10000]; factor must be a number, got "4"; truncate must be true or false, got 1`,
  );
  assert.equal(
    complaintOf({ rope_scaling: [2], rope_parameters: "default" }),
    `${PREFIX}rope_scaling must be an object, got [2]; rope_parameters must be an object, got "default"`,
  );
  assert.match(
    complaintOf({ rope_scaling: { rope_type: "linear", factor: 0 } }),
    /factor must be more than 0, got 0$/,
  );
  assert.match(
    complaintOf({
      head_dim: 2,
      rope_scaling: { rope_type: "dynamic", factor: 2 },
    }),
    /rope_type "dynamic" needs a head_dim of 4 or more, got 2$/,
  );
  assert.match(
    complaintOf({ rope_theta: -5 }),
    /rope_theta must be more than 0/,
  );
});

Deno.test("llamaConfig() refuses strings, lists and objects where numbers, flags and ids belong", () => {
  for (const value of ["32", [32], { a: 32 }, true]) {
    for (
      const field of ["hidden_size", "vocab_size", "rms_norm_eps", "head_dim"]
    ) {
      assert.match(
        complaintOf({ [field]: value }),
        new RegExp(`^Cannot .*${field} must be a number, got `),
      );
    }
  }
  for (const value of ["true", 1, [], {}]) {
    assert.match(
      complaintOf({ tie_word_embeddings: value, attention_bias: value }),
      /attention_bias must be true or false, got .*; tie_word_embeddings must be true or false/,
    );
  }
  for (const value of ["2", -1, 1.5, [2, "3"], {}, true]) {
    assert.match(
      complaintOf({ eos_token_id: value }),
      /eos_token_id must be a token id or a list of them, got /,
    );
  }
  assert.match(
    complaintOf({ hidden_size: 33, num_attention_heads: 4 }),
    /hidden_size 33 must be a multiple of num_attention_heads 4 where head_dim is not given/,
  );
});

Deno.test("llamaConfig() reads the rope as transformers 4 and as 5 spell it", () => {
  const values = { factor: 4, low_freq_factor: 1, high_freq_factor: 4 };
  const old = llamaConfig("F", {
    rope_theta: 5e5,
    rope_scaling: { rope_type: "llama3", ...values },
  });
  const current = llamaConfig("F", {
    rope_parameters: { rope_type: "llama3", rope_theta: 5e5, ...values },
  });
  assert.deepEqual(old.rope, current.rope);
  assert.equal(old.rope.theta, 5e5);
  assert.equal(old.rope.type, "llama3");
});

Deno.test("llamaConfig() fills in transformers' defaults", () => {
  const config = llamaConfig("F", { num_attention_heads: 16 });
  assert.deepEqual({ ...config, source: null, rope: config.rope.theta }, {
    modelType: "llama",
    path: "F",
    source: null,
    hiddenSize: 4096,
    heads: 16,
    headSize: 256,
    maxPositions: 2048,
    vocabSize: 32000,
    intermediateSize: 11008,
    layers: 32,
    keyValueHeads: 16,
    normEps: 1e-6,
    activation: "silu",
    attentionBias: false,
    attentionDropout: 0,
    mlpBias: false,
    initializerRange: 0.02,
    tieWordEmbeddings: false,
    eosTokenIds: [2],
    bosTokenId: 1,
    rope: 10000,
  });
  const ends = llamaConfig("F", { eos_token_id: [5, 6], bos_token_id: null });
  assert.deepEqual([ends.eosTokenIds, ends.bosTokenId], [[5, 6], null]);
});

Deno.test("readConfig() refuses other architectures, naming what it found", () => {
  inFolder((folder) => {
    const errorReading = (text: string): string => {
      Deno.writeTextFileSync(`${folder}/config.json`, text);
      return errorOf(() => readConfig(folder)).replaceAll(folder, "F");
    };
    assert.match(
      errorReading(
        '{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}',
      ),
      /^Cannot compute model "F": its model_type is "gpt2" \("GPT2LMHeadModel"\), known are "llama", "atom", "mistral", ("\w+", )*"\w+"$/,
    );
    assert.match(errorReading("{}"), /its model_type is missing, known are/);
    assert.match(errorReading("{,}"), /^Cannot load "F\/config.json": /);
    assert.match(errorReading("[]"), /a JSON object is needed$/);
  });
});

Deno.test("readConfig() refuses a folder without config.json", () => {
  inFolder((folder) => {
    const message = errorOf(() => AutoModelForCausalLM.fromPretrained(folder));
    assert(message.startsWith("Cannot "), message);
    assert(message.includes(`${folder}/config.json`), message);
  });
});

Deno.test("readConfig() takes a config without model_type by its architecture", () => {
  inFolder((folder) => {
    Deno.writeTextFileSync(
      `${folder}/config.json`,
      '{"architectures": ["LlamaForCausalLM"], "hidden_size": 64}',
    );
    assert.equal(readConfig(folder).hiddenSize, 64);
  });
});
