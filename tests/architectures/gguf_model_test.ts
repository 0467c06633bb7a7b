/**
 * Models from GGUF files: the logits that transformers gives for the numbers in the
 * file, and a sentence for each file that cannot be computed.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  readConfig,
  saveModel,
} from "../../lib/architectures/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import {
  aten,
  fromData,
  liveTensors,
  noGrad,
  tensorScope,
  toData,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";

const GGUF = "tests/fixtures/gguf";
const golden = readSafetensors(`${GGUF}/golden.safetensors`);

function floats(bytes: Uint8Array): number[] {
  return [...new Float32Array(bytes.slice().buffer)];
}

/** A number as it lies in the file behind its name. */
const u32 = (value: number): string =>
  String.fromCharCode(4, 0, 0, 0, value & 255, value >> 8, 0, 0);

for (const name of ["llama", "llama_head"]) {
  Deno.test(`AutoModelForCausalLM.fromPretrained() computes ${name}.gguf as transformers does`, () => {
    const before = liveTensors();
    {
      using _scope = tensorScope();
      using _ = noGrad();
      using model = AutoModelForCausalLM.fromPretrained(
        `${GGUF}/${name}.gguf`,
        { torchDtype: "float32" },
      );
      const ids = aten.unsqueeze(fromData(golden.get(`${name}.ids`)!), 0);
      const logits = model.forward(ids);
      assertClose(
        floats(toData(logits).bytes),
        floats(golden.get(`${name}.logits`)!.bytes),
        { limit: 1e-6 },
      );
    }
    assert.equal(liveTensors(), before);
  });
}

const models = readSafetensors(`${GGUF}/models/golden.safetensors`);
const MODELS = [
  "qwen2",
  "qwen2_yarn",
  "qwen3",
  "gemma",
  "gemma2",
  "gemma3",
  "phi3",
  "phi3_long",
];

for (const name of MODELS) {
  Deno.test(`AutoModelForCausalLM.fromPretrained() computes ${name}.gguf as the model that it was made from`, () => {
    using _scope = tensorScope();
    using _ = noGrad();
    using model = AutoModelForCausalLM.fromPretrained(
      `${GGUF}/models/${name}.gguf`,
    );
    const ids = aten.unsqueeze(fromData(models.get(`${name}.ids`)!), 0);
    assertClose(
      floats(toData(model.forward(ids)).bytes),
      floats(models.get(`${name}.logits`)!.bytes),
      { limit: 1e-6 },
    );
  });
}

Deno.test("readConfig() gives a GGUF file's metadata in the words of config.json", () => {
  const { source, path } = readConfig(`${GGUF}/llama_head.gguf`);
  assert.equal(path, `${GGUF}/llama_head.gguf`);
  assert.deepEqual(source, {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: 32,
    num_hidden_layers: 1,
    intermediate_size: 32,
    num_attention_heads: 4,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    num_key_value_heads: 2,
    head_dim: 8,
    vocab_size: 281,
    hidden_act: "silu",
    attention_bias: true,
    mlp_bias: false,
    tie_word_embeddings: false,
    bos_token_id: 1,
    eos_token_id: 2,
    rope_parameters: {
      rope_type: "llama3",
      rope_theta: 500000,
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
  });
});

Deno.test("readConfig() gives yarn, Phi-3's factors and Gemma's scale of scores in the words of config.json", () => {
  const source = (name: string) =>
    readConfig(`${GGUF}/models/${name}.gguf`).source;
  assert.deepEqual(source("qwen2_yarn").rope_parameters, {
    rope_type: "yarn",
    rope_theta: 5e4,
    factor: 4,
    original_max_position_embeddings: 16,
    beta_fast: 16,
    beta_slow: 2,
  });
  assert.deepEqual(source("phi3_long").rope_parameters, {
    rope_type: "longrope",
    rope_theta: 1e4,
    partial_rotary_factor: 0.5,
    long_factor: [1.5, 4],
    short_factor: [1, 1.5],
    attention_factor: 1.1547005,
  });
  assert.equal(source("gemma2").query_pre_attn_scalar, 12);
  inFolder((folder) => {
    const text = Array.from(
      Deno.readFileSync(`${GGUF}/models/gemma2.gguf`),
      (byte) => String.fromCharCode(byte),
    ).join("");
    const largest = text.replace(
      `gemma2.block_count${u32(2)}`,
      `gemma2.block_count${u32(46)}`,
    );
    Deno.writeFileSync(
      `${folder}/x.gguf`,
      Uint8Array.from(largest, (each) => each.charCodeAt(0)),
    );
    assert.equal(readConfig(folder).source.query_pre_attn_scalar, 8);
  });
});

Deno.test("saveModel() writes a GGUF base as a model folder with the same numbers", () => {
  inFolder((folder) => {
    Deno.copyFileSync(`${GGUF}/llama.gguf`, `${folder}/base.gguf`);
    using base = AutoModelForCausalLM.fromPretrained(folder);
    saveModel(base, `${folder}/saved`);
    using saved = AutoModelForCausalLM.fromPretrained(`${folder}/saved`);
    const numbers = (model: typeof base): [string, unknown][] =>
      [...model.namedParameters()].map(({ path, tensor }) => [
        path,
        toData(tensor),
      ]);
    assert.deepEqual(numbers(saved), numbers(base));
    assert.equal(base.config.path, folder);
  });
});

/** What is said of the fixture when the bytes of `before` are replaced, wherever they are. */
function refusalWith(before: string, after: string): string {
  return inFolder((folder) => {
    const text = Array.from(
      Deno.readFileSync(`${GGUF}/llama_head.gguf`),
      (byte) => String.fromCharCode(byte),
    ).join("");
    assert(text.includes(before) && before.length === after.length);
    const changed = text.replaceAll(before, after);
    Deno.writeFileSync(
      `${folder}/x.gguf`,
      Uint8Array.from(changed, (each) => each.charCodeAt(0)),
    );
    return errorOf(() => AutoModelForCausalLM.fromPretrained(folder))
      .replaceAll(folder, "F");
  });
}

const REFUSED: readonly [string, string, string, string][] = [
  [
    "another architecture",
    "\x05\0\0\0\0\0\0\0llama",
    "\x05\0\0\0\0\0\0\0mamba",
    'Cannot load "F/x.gguf": its general.architecture is "mamba", known are "llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3"',
  ],
  [
    "a setting that lorikeet does not know",
    "llama.context_length",
    "llama.residual_scale",
    'Cannot load "F/x.gguf": it sets "llama.residual_scale", which lorikeet does not compute',
  ],
  [
    "a width that is missing",
    "llama.feed_forward_length",
    "other.feed_forward_length",
    'Cannot load "F/x.gguf": its llama.feed_forward_length is missing',
  ],
  [
    "heads of which a part is turned",
    `llama.rope.dimension_count${u32(8)}`,
    `llama.rope.dimension_count${u32(4)}`,
    'Cannot load "F/x.gguf": its llama.rope.dimension_count is 4, only 8, the size of a head, is computed',
  ],
  [
    "no heads",
    `llama.attention.head_count_kv${u32(2)}`,
    `llama.attention.head_count_kv${u32(0)}`,
    'Cannot load "F/x.gguf": its number of heads is 0, a positive one is needed',
  ],
  [
    "frequencies that are not Llama 3's",
    "\0\0\0\x41",
    "\0\0\0\x40",
    'Cannot load "F/x.gguf": the frequencies in its rope_freqs.weight are not those of Llama 3, others are not computed',
  ],
  [
    "a tensor that is missing",
    "blk.0.attn_v.weight",
    "blk.0.attn_w.weight",
    'Cannot load weights of "F": "model.layers.0.self_attn.v_proj.weight" is missing; "blk.0.attn_w.weight" belongs to no layer of this model',
  ],
  [
    "more layers than tensors",
    `llama.block_count${u32(1)}`,
    `llama.block_count${u32(900)}`,
    'Cannot load weights of "F": its metadata asks for 900 layers, the weights have 16 tensors',
  ],
  [
    "a width that is not that of its tensors",
    `llama.feed_forward_length${u32(32)}`,
    `llama.feed_forward_length${u32(64)}`,
    'Cannot load weights of "F": "model.layers.0.mlp.gate_proj.weight" has shape [32, 32], its metadata asks for [64, 32]',
  ],
];

for (const [what, before, after, message] of REFUSED) {
  Deno.test(`AutoModelForCausalLM.fromPretrained() refuses a GGUF file with ${what}`, () => {
    const found = refusalWith(before, after);
    assert(found.startsWith(message), found);
  });
}
