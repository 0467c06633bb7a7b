/**
 * Families whose code transformers lacks, beyond their golden folders: biases, the
 * order of their trees, and rotations that follow the length of a text.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
  readConfig,
} from "../../lib/architectures/mod.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { KeyValueCache } from "../../lib/nn/mod.ts";
import {
  fromData,
  liveTensors,
  noGrad,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { inFolder } from "../formats/temporary.ts";
import { changed, type Fields, FOLDER, withConfig } from "./family_folder.ts";

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

/** Positions that the rows of `internlm` fit: its rotations change with longer ones. */
const FITTING = 8;

/** The golden InternLM without its second layer, whose cached keys come from the first one's rotations. */
function oneLayer(folder: string): CausalLm {
  const tensors = readSafetensors(`${FOLDER}/internlm/model.safetensors`);
  for (const name of tensors.keys()) {
    if (name.includes("layers.1.")) tensors.delete(name);
  }
  writeSafetensors(`${folder}/model.safetensors`, tensors);
  const json = changed("internlm", { num_hidden_layers: 1 });
  Deno.writeTextFileSync(`${folder}/config.json`, json);
  return AutoModelForCausalLM.fromPretrained(folder);
}

Deno.test("InternLM rotates all cached keys anew once a text is longer than max_position_embeddings", () => {
  using model = inFolder(oneLayer);
  const caches = model.decoderLayers.map(() => new KeyValueCache());
  // Across the limit, then far beyond it, several tokens at a time too.
  let from = 0;
  for (const to of [5, FITTING - 1, FITTING, FITTING + 1, 10, 15, 16]) {
    const step = logitsOf(model, to, { from, caches });
    const whole = logitsOf(model, to);
    assertClose(step, whole.slice(-step.length), {
      limit: 1e-5,
      what: `${to}`,
    });
    from = to;
  }
  for (const cache of caches) cache[Symbol.dispose]();
});

for (
  const name of ["baichuan_7b", "baichuan2_13b", "internlm", "internlm_20b"]
) {
  Deno.test(`${name} has down_proj before up_proj, the order in which peft draws fresh adapters`, () => {
    const model = AutoModelForCausalLM.fromConfig(`${FOLDER}/${name}`);
    const names = [...model.namedParameterSpecs()].flatMap(({ path }) =>
      /layers\.1\.mlp\.(.*)\.weight/.exec(path)?.[1] ?? []
    );
    assert.deepEqual(names, ["gate_proj", "down_proj", "up_proj"]);
  });
}

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
