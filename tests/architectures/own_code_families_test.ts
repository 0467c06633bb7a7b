/**
 * Families whose code transformers lacks, beyond their golden folders: how they are
 * recognised, what they refuse, and rotations that follow each row's length.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
  readConfig,
} from "../../lib/architectures/mod.ts";
import { KeyValueCache } from "../../lib/nn/mod.ts";
import {
  fromData,
  liveTensors,
  noGrad,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { inFolder } from "../formats/temporary.ts";
import { changed, type Fields, FOLDER, refusal } from "./family_folder.ts";

/** What `use` makes of a folder that holds only a golden config with other fields. */
function withConfig<T>(
  name: string,
  fields: Fields,
  use: (folder: string) => T,
): T {
  const made: T[] = [];
  inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/config.json`, changed(name, fields));
    made.push(use(folder));
  });
  return made[0]!;
}

/** For each folder the class that its `auto_map` names for the model. */
const CLASSES: Readonly<Record<string, string>> = {
  baichuan_7b: "BaiChuanForCausalLM",
  baichuan2_13b: "BaichuanForCausalLM",
  internlm: "InternLMForCausalLM",
  internlm2: "InternLM2ForCausalLM",
  chatglm3: "ChatGLMForConditionalGeneration",
  glm4_chat: "ChatGLMForConditionalGeneration",
  qwen: "QWenLMHeadModel",
  minicpm: "MiniCPMForCausalLM",
};

for (const [name, className] of Object.entries(CLASSES)) {
  Deno.test(`${name} is known by its model_type, by architectures and by auto_map`, () => {
    const forms: Fields[] = [
      { model_type: undefined, auto_map: undefined },
      {
        model_type: undefined,
        architectures: undefined,
        auto_map: { AutoModelForCausalLM: `modeling_own.${className}` },
      },
    ];
    if (name !== "minicpm") {
      forms.push({ architectures: undefined, auto_map: undefined });
    }
    const wanted = readConfig(`${FOLDER}/${name}`).modelType;
    for (const fields of forms) {
      const type = withConfig(
        name,
        fields,
        (folder) => readConfig(folder).modelType,
      );
      assert.equal(type, wanted, JSON.stringify(fields));
    }
  });
}

/** Per folder and field a value that no page computes, and the sentence about it. */
const REFUSED: readonly (readonly [string, string, unknown])[] = [
  ["baichuan2_7b", "z_loss_weight", 0.5],
  ["baichuan_7b", "rope_theta", 5000],
  ["baichuan_7b", "rope_scaling", { type: "linear", factor: 2 }],
  ["baichuan_13b", "rope_scaling", { type: "linear", factor: 2 }],
  ["internlm", "rope_scaling", { type: "linear", factor: 2 }],
  ["chatglm3", "rmsnorm", false],
  ["chatglm3", "original_rope", false],
  ["chatglm3", "post_layer_norm", false],
  ["chatglm3", "apply_residual_connection_post_layernorm", true],
  ["chatglm3", "fp32_residual_connection", true],
  ["chatglm3", "position_encoding_2d", true],
  ["chatglm3", "tie_word_embeddings", true],
  ["chatglm3", "quantization_bit", 4],
  ["chatglm3", "pre_seq_len", 128],
  ["glm4_chat", "vision_config", { layers: 2 }],
  ["qwen", "scale_attn_weights", false],
  ["qwen", "use_cache_quantization", true],
  ["qwen", "visual", { layers: 2 }],
  ["minicpm", "num_experts", 8],
  ["minicpm", "sparse_config", { kernel: 32 }],
];

for (const [name, field, value] of REFUSED) {
  Deno.test(`${name} refuses ${field} ${JSON.stringify(value)} by name`, () =>
    assert.equal(
      refusal(name, { [field]: value }),
      `${field} ${JSON.stringify(value)} is not supported`,
    ));
}

Deno.test("InternLM refuses a kind of rotation it does not compute", () =>
  assert.equal(
    refusal("internlm", { rotary: { type: "linear" } }),
    'type "linear" is not supported (dynamic, origin are)',
  ));

Deno.test("ChatGLM's heads and groups that contradict each other are told", () => {
  assert.equal(
    refusal("chatglm3", { multi_query_group_num: 3, kv_channels: 6 }),
    "num_attention_heads 4 must be a multiple of multi_query_group_num 3; kv_channels 6 must be a multiple of 4",
  );
});

Deno.test("Baichuan has ALiBi where only model_max_length is given, and a head that norms where z_loss_weight or the vocabulary says so", () => {
  const formOf = (fields: Fields): unknown[] => {
    const { rotates, normsHead, maxPositions } = withConfig(
      "baichuan_7b",
      fields,
      (folder) => readConfig(folder),
    ) as unknown as Fields;
    return [rotates, normsHead, maxPositions];
  };
  assert.deepEqual(formOf({}), [true, false, 64]);
  assert.deepEqual(formOf({ model_max_length: 32 }), [true, false, 64]);
  const alone = { max_position_embeddings: undefined };
  assert.deepEqual(formOf({ ...alone, model_max_length: 32 }), [
    false,
    false,
    32,
  ]);
  assert.deepEqual(formOf({ ...alone, vocab_size: 125696 }), [
    false,
    true,
    4096,
  ]);
  assert.deepEqual(formOf({ z_loss_weight: 0 }), [true, true, 64]);
});

Deno.test("ChatGLM has a key head for each head without multi_query_attention, and biases everywhere with add_bias_linear", () => {
  const shapesOf = (fields: Fields): Map<string, readonly number[]> =>
    withConfig("chatglm3", fields, (folder) => {
      const model = AutoModelForCausalLM.fromConfig(folder);
      return new Map(
        [...model.namedParameterSpecs()].map(({ path, spec }) => [
          path.replace("transformer.encoder.layers.0.", ""),
          spec.shape,
        ]),
      );
    });
  const fused = "self_attention.query_key_value.weight";
  assert.deepEqual(shapesOf({}).get(fused), [64, 32]);
  const plain = shapesOf({
    multi_query_attention: false,
    add_qkv_bias: false,
  });
  assert.deepEqual(plain.get(fused), [96, 32]);
  assert(![...plain.keys()].some((name) => name.endsWith(".bias")));
  const biased = shapesOf({ add_bias_linear: true, add_qkv_bias: false });
  for (
    const name of [
      "self_attention.query_key_value",
      "self_attention.dense",
      "mlp.dense_h_to_4h",
      "mlp.dense_4h_to_h",
    ]
  ) assert(biased.has(`${name}.bias`), name);
  assert(!biased.has("transformer.output_layer.bias"));
});

Deno.test("Qwen's sizes that contradict each other are told", () =>
  assert.equal(
    refusal("qwen", { kv_channels: 6, rotary_pct: 0.5, seq_length: 1 }),
    "hidden_size 32 must be num_attention_heads 4 times kv_channels 6; " +
      "rotary_pct 0.5 of kv_channels 6 must give an even number of 4 or more; " +
      "seq_length must be 2 or more, got 1",
  ));

Deno.test("Qwen has biases on all projections of a layer without no_bias", () => {
  const biasesOf = (no_bias: boolean): string[] =>
    withConfig("qwen", { no_bias }, (folder) => {
      const model = AutoModelForCausalLM.fromConfig(folder);
      const names = [...model.namedParameterSpecs()].map(({ path }) => path);
      return names.filter((name) => /h\.0.*bias$/.test(name)).map((name) =>
        name.replace(/^.*h\.0\.|\.bias$/g, "")
      );
    });
  assert.deepEqual(biasesOf(true), ["attn.c_attn"]);
  const all = ["attn.c_attn", "attn.c_proj", "mlp.w1", "mlp.w2", "mlp.c_proj"];
  assert.deepEqual(biasesOf(false), all);
});

/** Logits of one row of ids, the ids from `from + 3` to `to + 3`. */
function logitsOf(
  model: CausalLm,
  to: number,
  options: { from?: number; caches?: readonly KeyValueCache[] } = {},
): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const { from = 0, caches } = options;
  const length = to - from;
  const ids = BigInt64Array.from({ length }, (_, at) => BigInt(from + at + 3));
  const row = fromData({
    dtype: "int64",
    shape: [1, length],
    bytes: new Uint8Array(ids.buffer),
  });
  return model.forward(row, caches === undefined ? {} : { caches }).toArray();
}

Deno.test("Qwen keeps for a whole generation the base that fits its prompt, and grows queries by their place", () => {
  inFolder((folder) => {
    const weights = `${FOLDER}/qwen/model.safetensors`;
    Deno.copyFileSync(weights, `${folder}/model.safetensors`);
    // 10 of 8 positions: the base grows with 2² − 1.
    const fields = {
      use_dynamic_ntk: false,
      rotary_emb_base: 1e4 * 3 ** (8 / 6),
    };
    Deno.writeTextFileSync(`${folder}/config.json`, changed("qwen", fields));
    using model = AutoModelForCausalLM.fromPretrained(`${FOLDER}/qwen`);
    using steady = AutoModelForCausalLM.fromPretrained(folder);
    const caches = model.decoderLayers.map(() => new KeyValueCache());
    logitsOf(model, 10, { caches });
    logitsOf(model, 19, { from: 10, caches });
    const last = logitsOf(model, 20, { from: 19, caches });
    const words = last.length;
    const whole = logitsOf(steady, 20).slice(-words);
    assertClose(last, whole, { limit: 1e-5 });
    // A text of 20 positions that starts afresh has another base.
    const afresh = logitsOf(model, 20).slice(-words);
    const furthest = Math.max(
      ...afresh.map((x, at) => Math.abs(x - whole[at]!)),
    );
    assert(furthest > 1e-3, `${furthest}`);
    for (const cache of caches) cache[Symbol.dispose]();
  });
});

for (const name of ["internlm", "internlm2_dynamic"]) {
  Deno.test(`${name} turns each row by its own length, whatever came before`, () => {
    using model = AutoModelForCausalLM.fromPretrained(`${FOLDER}/${name}`);
    using seasoned = AutoModelForCausalLM.fromPretrained(`${FOLDER}/${name}`);
    logitsOf(seasoned, 20);
    assertClose(logitsOf(seasoned, 10), logitsOf(model, 10), { limit: 1e-6 });
    assert.deepEqual(seasoned.runState(), {});
  });
}

Deno.test("InternLM's scaling_factor is the factor of its rotation", () => {
  const rotary = { base: 3000, type: "dynamic", scaling_factor: 3 };
  const config = withConfig(
    "internlm",
    { rotary },
    (folder) => readConfig(folder),
  ) as unknown as { rope: Fields };
  assert.deepEqual([config.rope.factor, config.rope.theta], [3, 3000]);
});

for (const name of ["baichuan2_7b", "qwen", "internlm"]) {
  Deno.test(`${name} leaves nothing behind`, () => {
    const before = liveTensors();
    {
      using model = AutoModelForCausalLM.fromPretrained(`${FOLDER}/${name}`);
      for (const length of [4, 10, 20]) logitsOf(model, length);
    }
    assert.equal(liveTensors(), before);
  });
}
