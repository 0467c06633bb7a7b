/**
 * One model in every form in which weights are stored: the same numbers as its
 * safetensors file, whatever the format, the shards, the types and the strides.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { findWeights } from "../../lib/formats/weights.ts";
import { liveTensors, toData } from "../../lib/tensor/mod.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";

const FORMS = "tests/fixtures/checkpoints";

for (const form of ["plain", "zip", "before_1.6", "shards"]) {
  Deno.test(`AutoModelForCausalLM.fromPretrained() reads the weights of "${form}" as transformers saved them`, () => {
    const expected = readSafetensors(`${FORMS}/plain/model.safetensors`);
    const before = liveTensors();
    {
      using model = AutoModelForCausalLM.fromPretrained(`${FORMS}/${form}`);
      for (const { path, tensor } of model.namedParameters()) {
        if (path === "lm_head.weight") continue;
        assert.deepEqual(toData(tensor), expected.get(path), path);
        expected.delete(path);
      }
    }
    assert.deepEqual([...expected.keys()], []);
    assert.equal(liveTensors(), before);
  });
}

Deno.test("the torch.save fixtures have strided, shared, mixed and sharded tensors", () => {
  for (const form of ["zip", "before_1.6"]) {
    const weights = findWeights(`${FORMS}/${form}`);
    const strides = [...weights.values()].map(({ strides }) => strides?.join());
    assert(strides.includes("1,8") && strides.includes("16,2"), `${strides}`);
    assert.deepEqual(
      weights.get("lm_head.weight"),
      weights.get("model.embed_tokens.weight"),
    );
  }
  const shards = [...findWeights(`${FORMS}/shards`).values()];
  assert.deepEqual([...new Set(shards.map(({ dtype }) => dtype))].sort(), [
    "bfloat16",
    "float32",
    "float64",
  ]);
  assert.equal(new Set(shards.map(({ file }) => file)).size, 2);
});

Deno.test("AutoModelForCausalLM.fromPretrained() reads expanded and float8 tensors as their numbers", () => {
  inFolder((folder) => {
    Deno.copyFileSync(`${FORMS}/plain/config.json`, `${folder}/config.json`);
    Deno.copyFileSync(
      `${FORMS}/expanded.bin`,
      `${folder}/pytorch_model.bin`,
    );
    using model = AutoModelForCausalLM.fromPretrained(folder);
    const found = new Map(
      [...model.namedParameters()].map(({ path, tensor }) =>
        [path, [tensor.dtype, ...tensor.toArray()]] as const
      ),
    );
    const layer = (index: number, name: string): readonly unknown[] =>
      found.get(`model.layers.${index}.self_attn.${name}_proj.weight`)!;
    const column = [0, 1, 2, 3, 4, 5, 6, 7];
    assert.deepEqual(found.get("model.norm.weight"), [
      "float32",
      ...column.map(() => 0.5),
    ]);
    assert.deepEqual(layer(1, "k"), [
      "float32",
      ...[0, 1, 2, 3].flatMap(() => column),
    ]);
    // three bits of a fraction hold whole numbers up to 16, two up to 8; then the nearest even
    const whole = Array.from({ length: 32 }, (_, index) => index);
    const even = (value: number, step: number): number => {
      const [low, rest] = [Math.floor(value / step), value % step];
      return step *
        (low + Number(rest > step / 2 || rest === step / 2 && low % 2 === 1));
    };
    assert.deepEqual(layer(0, "k"), [
      "float32",
      ...whole.map((value) => even(value, value < 16 ? 1 : 2)),
    ]);
    assert.deepEqual(layer(0, "v"), [
      "float32",
      ...whole.map((value) => -even(value, value < 8 ? 1 : value < 16 ? 2 : 4)),
    ]);
  });
});

Deno.test("AutoModelForCausalLM.fromPretrained() refuses quantised weights that config.json says nothing of", () => {
  const projection = "model.layers.0.self_attn.k_proj";
  for (
    const name of [
      `${projection}.weight_scale_inv`,
      `${projection}.weight_scale`,
      `${projection}.input_scale`,
      `${projection}.qweight`,
      `${projection}.scales`,
      `${projection}.SCB`,
      `${projection}.weight.absmax`,
      `${projection}.weight.quant_state.bitsandbytes__nf4`,
    ]
  ) {
    inFolder((folder) => {
      const message = errorOf(() =>
        loaded(folder, (name) => [name], { [name]: BUFFER })
      );
      assert.equal(
        message.replaceAll(folder, "F"),
        `Cannot load weights of "F": "${name}" belongs to quantised weights, the model's weights before quantisation are needed`,
      );
    });
  }
});

const EMBEDDING = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";
const BUFFER: TensorData = {
  dtype: "float32",
  shape: [1],
  bytes: new Uint8Array(4),
};

/** Other names for the same weights, that transformers loads to the same logits. */
const NAMES: readonly [string, (name: string) => string[]][] = [
  ["saved without its head", (name) => [name.replace("model.", "")]],
  ["saved inside another model", (name) => [`model.${name}`]],
  [
    "whose embedding is stored as its tied head",
    (name) => [name === EMBEDDING ? HEAD : name],
  ],
  [
    "whose tied head is stored too",
    (name) => name === EMBEDDING ? [name, HEAD] : [name],
  ],
];

/** The fixture's tensors, those of `names` by other names, in a folder of its own. */
function loaded(
  folder: string,
  names: (name: string) => string[],
  extra: Readonly<Record<string, TensorData>> = {},
): Map<string, TensorData> {
  Deno.copyFileSync(`${FORMS}/plain/config.json`, `${folder}/config.json`);
  const stored = readSafetensors(`${FORMS}/plain/model.safetensors`);
  const renamed = new Map([
    ...[...stored].flatMap(([name, tensor]) =>
      names(name).map((each) => [each, tensor] as const)
    ),
    ...Object.entries(extra),
  ]);
  writeSafetensors(`${folder}/model.safetensors`, renamed);
  using model = AutoModelForCausalLM.fromPretrained(folder);
  return new Map(
    [...model.namedParameters()].map(({ path, tensor }) =>
      [path, toData(tensor)] as const
    ),
  );
}

for (const [what, names] of NAMES) {
  Deno.test(`AutoModelForCausalLM.fromPretrained() loads a model ${what}`, () => {
    const expected = readSafetensors(`${FORMS}/plain/model.safetensors`);
    const found = inFolder((folder) => loaded(folder, names));
    assert.deepEqual(found.get(HEAD), expected.get(EMBEDDING));
    for (const [name, tensor] of expected) {
      assert.deepEqual(found.get(name), tensor, name);
    }
  });
}

Deno.test("AutoModelForCausalLM.fromPretrained() passes over the buffers of older checkpoints, and no other tensors", () => {
  const attention = "model.layers.0.self_attn";
  inFolder((folder) =>
    loaded(folder, (name) => [name], {
      [`${attention}.rotary_emb.inv_freq`]: BUFFER,
      [`${attention}.bias`]: BUFFER,
      [`${attention}.masked_bias`]: BUFFER,
      [`${attention}.logn_tensor`]: BUFFER,
      "transformer.h.0.attn.masked_bias": BUFFER,
      "transformer.rotary_pos_emb.inv_freq": BUFFER,
      "model.layers.0.attention.rotary_emb.sin_cached": BUFFER,
      "model.future_mask": BUFFER,
      "model.alibi_mask": BUFFER,
      "decoder.version": BUFFER,
    })
  );
  inFolder((folder) => {
    const message = errorOf(() =>
      loaded(folder, (name) => [name], { "score.weight": BUFFER })
    );
    assert.equal(
      message.replaceAll(folder, "F"),
      'Cannot load weights of "F": "score.weight" belongs to no layer of this model',
    );
  });
});
