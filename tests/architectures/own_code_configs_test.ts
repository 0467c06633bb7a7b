/**
 * Configs of families whose code transformers lacks: how they are recognised and told
 * from each other, and what is refused.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  readConfig,
} from "../../lib/architectures/mod.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";
import {
  changed,
  type Fields,
  FOLDER,
  refusal,
  withConfig,
} from "./family_folder.ts";

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

/** A `model_type`, the class that a config names, and the family that is meant. */
const MEANT: readonly (readonly [string, string, string])[] = [
  ["internlm", "InternLM2ForCausalLM", "internlm2"],
  ["internlm", "InternLMForCausalLM", "internlm"],
  ["internlm2", "InternLMForCausalLM", "internlm2"],
  ["my_tuned_model", "InternLM2ForCausalLM", "internlm2"],
  ["my_tuned_model", "LlamaForCausalLM", "llama"],
];

for (const [model_type, name, wanted] of MEANT) {
  Deno.test(`model_type ${model_type} with class ${name} means ${wanted}`, () => {
    const forms: Fields[] = [
      { architectures: [name], auto_map: undefined },
      { architectures: undefined, auto_map: { AutoModel: `own.${name}` } },
    ];
    for (const fields of forms) {
      const type = withConfig(
        "internlm2",
        { ...fields, model_type },
        (folder) => readConfig(folder).modelType,
      );
      assert.equal(type, wanted, JSON.stringify(fields));
    }
  });
}

Deno.test("a config whose type and classes are all unknown is refused with the list of types", () => {
  const fields = {
    model_type: "minicpm3",
    architectures: ["MiniCPM3ForCausalLM"],
    auto_map: undefined,
  };
  withConfig("minicpm", fields, (folder) =>
    assert.match(
      errorOf(() => readConfig(folder)),
      /its model_type is "minicpm3" \("MiniCPM3ForCausalLM"\), known are "llama", .*"minicpm"$/,
    ));
});

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
  ["chatglm3", "tie_word_embeddings", true],
  ["chatglm3", "quantization_bit", 4],
  ["chatglm3", "pre_seq_len", 128],
  ["glm4_chat", "vision_config", { layers: 2 }],
  ["qwen", "scale_attn_weights", false],
  ["qwen", "use_cache_quantization", true],
  ["qwen", "visual", { layers: 2 }],
  ["baichuan_7b", "rope_parameters", { rope_theta: 5000 }],
  ["internlm", "rope_parameters", { rope_type: "linear", factor: 2 }],
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

for (const name of ["internlm2", "minicpm"]) {
  Deno.test(`${name} refuses a scaling that its own code lacks`, () =>
    assert.equal(
      refusal(name, { rope_scaling: { type: "longrope", factor: 2 } }),
      'rope_type "longrope" is not supported (default, linear, dynamic are)',
    ));
}

Deno.test("ChatGLM's heads and groups that contradict each other are told", () => {
  assert.equal(
    refusal("chatglm3", { multi_query_group_num: 3, kv_channels: 6 }),
    "num_attention_heads 4 must be a multiple of multi_query_group_num 3; kv_channels 6 must be a multiple of 4",
  );
});

Deno.test("Baichuan's head norms where z_loss_weight or the vocabulary says so", () => {
  const normsHead = (fields: Fields): unknown =>
    withConfig(
      "baichuan_13b",
      fields,
      (folder) => readConfig(folder) as unknown as Fields,
    )
      .normsHead;
  assert.equal(normsHead({}), false);
  assert.equal(normsHead({ vocab_size: 125696 }), true);
  assert.equal(normsHead({ z_loss_weight: 0 }), true);
});

/** What a Baichuan's config has besides the fields of all of them, and whether it rotates. */
const ROTATES: readonly (readonly [string, Fields, boolean])[] = [
  ["max_position_embeddings", { max_position_embeddings: 32 }, true],
  ["model_max_length", { model_max_length: 32 }, false],
  [
    "both lengths",
    { max_position_embeddings: 32, model_max_length: 64, z_loss_weight: 0 },
    true,
  ],
  ["neither length and no normed head", {}, false],
  [
    "the class of the first 7B",
    { architectures: ["BaiChuanForCausalLM"], model_max_length: 32 },
    true,
  ],
  [
    "the sizes of a 7B",
    {
      hidden_size: 4096,
      num_attention_heads: 32,
      model_max_length: 32,
      z_loss_weight: 0,
    },
    true,
  ],
  [
    "the sizes of a 13B",
    {
      hidden_size: 5120,
      num_attention_heads: 40,
      max_position_embeddings: 32,
      z_loss_weight: 0,
    },
    false,
  ],
];

const WITHOUT_LENGTH: Fields = {
  max_position_embeddings: undefined,
  model_max_length: undefined,
};

for (const [title, fields, expected] of ROTATES) {
  Deno.test(`a Baichuan config with ${title} ${expected ? "rotates" : "has ALiBi"}`, () => {
    const config = withConfig(
      "baichuan_13b",
      { ...WITHOUT_LENGTH, ...fields },
      (folder) => readConfig(folder),
    ) as unknown as Fields;
    const { rotates, maxPositions } = config;
    assert.equal(rotates, expected);
    const length = expected
      ? fields.max_position_embeddings
      : fields.model_max_length;
    assert.equal(maxPositions, length ?? 4096);
  });
}

Deno.test("a Baichuan2 config without sizes or lengths of one of them is refused", () => {
  const told =
    "it cannot be told whether the model rotates: max_position_embeddings is needed where it does (7B), model_max_length where it has ALiBi (13B)";
  assert.equal(refusal("baichuan2_13b", WITHOUT_LENGTH), told);
});

Deno.test("heads of an odd size are refused where Baichuan rotates, not where it has ALiBi", () => {
  const odd = { hidden_size: 15, num_attention_heads: 3 };
  assert.equal(refusal("baichuan_7b", odd), "head_dim 5 must be even");
  const config = withConfig(
    "baichuan_13b",
    odd,
    (folder) => readConfig(folder),
  );
  assert.equal((config as unknown as Fields).headSize, 5);
});

Deno.test("the first ChatGLM-6B is told by its fields", () =>
  assert.equal(
    refusal("chatglm3", { position_encoding_2d: true, max_sequence_length: 8 }),
    "max_sequence_length, position_encoding_2d means the first ChatGLM-6B, which is not supported (ChatGLM2, ChatGLM3 and GLM-4-9B are)",
  ));

/** What says that `rope_ratio` divides positions, or that it multiplies the base. */
const RATIOS: readonly (readonly [string, Fields, string | null, boolean])[] = [
  ["nothing", {}, null, false],
  ["the name of ChatGLM2", { _name_or_path: "me/chatglm2-6b-32k" }, null, true],
  [
    "the name of ChatGLM3",
    { _name_or_path: "me/chatglm3-6b-32k", transformers_version: "4.27.1" },
    null,
    false,
  ],
  [
    "a class of ChatGLM2",
    {
      auto_map: {
        AutoModel:
          "me/chatglm2-6b-32k--modeling_chatglm.ChatGLMForConditionalGeneration",
      },
    },
    null,
    true,
  ],
  [
    "the version of transformers",
    { transformers_version: "4.27.1" },
    null,
    true,
  ],
  ["code that divides", {}, "seq = torch.arange(n) / self.rope_ratio", true],
  [
    "code that multiplies",
    { _name_or_path: "me/chatglm2-6b-32k" },
    "base = base * self.rope_ratio",
    false,
  ],
];

for (const [title, fields, code, divides] of RATIOS) {
  Deno.test(`rope_ratio ${divides ? "divides positions" : "multiplies the base"} with ${title}`, () => {
    inFolder((folder) => {
      const json = changed("glm4_chat", { ...fields, rope_ratio: 4 });
      Deno.writeTextFileSync(`${folder}/config.json`, json);
      if (code !== null) {
        Deno.writeTextFileSync(`${folder}/modeling_chatglm.py`, code);
      }
      const { rope } = readConfig(folder) as unknown as { rope: Fields };
      const { type, theta, factor } = rope;
      assert.deepEqual(
        { type, theta, factor },
        divides
          ? { type: "linear", theta: 10000, factor: 4 }
          : { type: "default", theta: 40000, factor: undefined },
      );
    });
  });
}

Deno.test("Qwen's sizes that contradict each other are told", () =>
  assert.equal(
    refusal("qwen", { kv_channels: 6, rotary_pct: 0.5, seq_length: 1 }),
    "hidden_size 32 must be num_attention_heads 4 times kv_channels 6; " +
      "rotary_pct 0.5 of kv_channels 6 must give an even number of 4 or more; " +
      "seq_length must be 2 or more, got 1",
  ));

Deno.test("Qwen's first files spell their sizes in another way", () => {
  const fields = {
    hidden_size: undefined,
    num_attention_heads: undefined,
    num_hidden_layers: undefined,
    max_position_embeddings: undefined,
    intermediate_size: undefined,
    attn_dropout_prob: undefined,
    emb_dropout_prob: undefined,
    n_embd: 32,
    n_head: 4,
    n_layer: 2,
    n_positions: 64,
    ffn_hidden_size: 48,
    attn_pdrop: 0,
    embd_pdrop: 0,
  };
  const numbers = (others: Fields): Fields => {
    const { path: _path, source: _source, ...rest } = withConfig(
      "qwen",
      others,
      (folder) => readConfig(folder) as unknown as Fields,
    );
    return rest;
  };
  assert.deepEqual(numbers(fields), numbers({}));
  const { source } = withConfig("qwen", fields, (folder) => readConfig(folder));
  assert.equal(source.n_embd, 32);
  assert(!Object.hasOwn(source, "hidden_size"), "it is saved as it was");
  assert.equal(numbers({ embd_pdrop: 0.3 }).embeddingDropout, 0);
  const dropped = { ...fields, attn_pdrop: 0.2, embd_pdrop: 0.3 };
  const { attentionDropout, embeddingDropout } = numbers(dropped);
  assert.deepEqual([attentionDropout, embeddingDropout], [0.2, 0.3]);
});

/** Published sizes, and how many parameters the publishers' pages and indices count. */
const PUBLISHED: readonly (readonly [string, string, Fields, number])[] = [
  ["Baichuan-7B", "baichuan_7b", {
    vocab_size: 64000,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  }, 7_000_559_616],
  ["Baichuan-13B", "baichuan_13b", {
    vocab_size: 64000,
    hidden_size: 5120,
    intermediate_size: 13696,
    num_hidden_layers: 40,
    num_attention_heads: 40,
  }, 13_264_901_120],
  // The index counts 12,487,168,064 bytes of float16, 32 frequencies among them.
  ["ChatGLM3-6B", "chatglm3", {
    padded_vocab_size: 65024,
    hidden_size: 4096,
    ffn_hidden_size: 13696,
    num_layers: 28,
    num_attention_heads: 32,
    kv_channels: 128,
  }, 12_487_168_064 / 2 - 32],
  ["Qwen-7B", "qwen", {
    vocab_size: 151936,
    hidden_size: 4096,
    intermediate_size: 22016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    kv_channels: 128,
  }, 7_721_324_544],
  ["InternLM2-7B", "internlm2", {
    vocab_size: 92544,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
  }, 7_737_708_544],
];

for (const [title, name, fields, parameters] of PUBLISHED) {
  Deno.test(`${title} has ${parameters} parameters`, () => {
    const counts = withConfig(
      name,
      fields,
      (folder) =>
        [...AutoModelForCausalLM.fromConfig(folder).namedParameterSpecs()].map(
          ({ spec }) => spec.shape.reduce((product, size) => product * size, 1),
        ),
    );
    assert.equal(counts.reduce((sum, count) => sum + count, 0), parameters);
  });
}
