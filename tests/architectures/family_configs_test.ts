/**
 * What the families' pages read of `config.json` beyond the golden folders: dropout
 * is applied, what is not computed is refused by name, and fields that contradict
 * each other are told.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  addBranch,
  AutoModelForCausalLM,
  readConfig,
} from "../../lib/architectures/mod.ts";
import type { NamedDecoder } from "../../lib/architectures/decoder.ts";
import { rectangle } from "../../lib/data/batch.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { InputError } from "../../lib/input_error.ts";
import { PeftModel } from "../../lib/peft/mod.ts";
import {
  aten,
  CPU,
  manualSeed,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
  to,
  zeros,
} from "../../lib/tensor/mod.ts";
import { accumulateGradients, FlatParameters } from "../../lib/training/mod.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import { assertClose } from "../closeness.ts";
import { inFolder } from "../formats/temporary.ts";
import { goldenBatch, numbersOf } from "../training/tiny_run.ts";
import {
  changed,
  type Fields,
  FOLDER,
  goldenLogits,
  refusal,
  withFields,
} from "./family_folder.ts";

/** Fields of a dropout, and families in whose reference the field does nothing. */
const DROPOUTS: Readonly<Record<string, readonly string[]>> = {
  attention_dropout: ["ernie4_5", "minicpm"],
  attn_pdrop: [],
  resid_pdrop: [],
  embd_pdrop: ["phi3"],
  residual_dropout: [],
  embedding_dropout: [],
  hidden_dropout: [],
  attn_dropout_prob: [],
  emb_dropout_prob: [],
};

/** Golden folders of families that have a page. */
const NAMES: readonly string[] = JSON.parse(
  Deno.readTextFileSync(`${FOLDER}/families.json`),
).map(({ name }: { name: string }) => name).filter((name: string) => {
  try {
    readConfig(`${FOLDER}/${name}`);
    return true;
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
});

interface Step {
  readonly loss: number;
  readonly gradients: readonly number[];
}

let steps = 0;

/** Loss and gradients of the golden batch with the golden adapter. */
function stepOf(folder: string, name: string, checkpointing: boolean): Step {
  const golden = readSafetensors(`${FOLDER}/${name}/golden.safetensors`);
  const batch = goldenBatch(golden);
  using base = AutoModelForCausalLM.fromPretrained(folder);
  using model = PeftModel.fromPretrained(base, `${FOLDER}/${name}/adapter`);
  using flat = new FlatParameters(trainableModel(model).parameters, CPU);
  base.train();
  // What was drawn before must not matter.
  manualSeed(++steps);
  const loss = accumulateGradients(base, batch, {
    checkpointing,
    autocast: null,
    seed: [1],
    factor: 1 / batch.targets.labels.length,
  });
  const gradients = flat.entries.flatMap(({ view }) => [
    ...view.grad!.toArray(),
  ]);
  return { loss, gradients };
}

function checkDropout(name: string, fields: Fields): void {
  withFields(name, fields, (folder) => {
    const golden = readSafetensors(`${FOLDER}/${name}/golden.safetensors`);
    const wanted = golden.get("logits_inference") ?? golden.get("logits")!;
    const what = "logits outside of training";
    assertClose(goldenLogits(folder, golden), numbersOf(wanted), {
      limit: 1e-4,
      what,
    });
    const plain = stepOf(`${FOLDER}/${name}`, name, false);
    const dropped = stepOf(folder, name, false);
    assert.notEqual(dropped.loss, plain.loss);
    assert.deepEqual(stepOf(folder, name, false), dropped, "not repeatable");
    const again = stepOf(folder, name, true);
    assertClose([again.loss], [dropped.loss], { limit: 1e-5 });
    assertClose(again.gradients, dropped.gradients, { limit: 1e-5 });
  });
}

for (const name of NAMES) {
  const config = JSON.parse(changed(name, {}));
  for (const [field, without] of Object.entries(DROPOUTS)) {
    if (!Object.hasOwn(config, field)) continue;
    if (without.includes(config.model_type ?? "minicpm")) continue;
    Deno.test(`${name} applies ${field} in training only, and alike when activations are recomputed`, () =>
      checkDropout(name, { [field]: 0.4 }));
  }
}

Deno.test("Gemma refuses attention in both directions by name", () => {
  for (const name of ["gemma", "gemma2", "gemma3"]) {
    assert.equal(
      refusal(name, { use_bidirectional_attention: true }),
      "use_bidirectional_attention true is not supported",
    );
  }
});

Deno.test("every family refuses activations and quantised weights it does not compute", () => {
  for (const name of NAMES) {
    const config = JSON.parse(changed(name, {}));
    // Gemma 2 and 3 read the one, all others the other.
    const isGemma = /^gemma[23]/.test(config.model_type);
    const field = isGemma ? "hidden_activation" : "hidden_act";
    if (Object.hasOwn(config, field)) {
      assert.match(
        refusal(name, { [field]: "xielu" }),
        new RegExp(`^${field} "xielu" is not supported`),
        name,
      );
    }
    assert.equal(
      refusal(name, { quantization_config: { bits: 4 } }),
      'quantization_config {"bits":4} is not supported, ' +
        "the model's weights before quantisation are needed",
      name,
    );
  }
});

Deno.test("layer_types of another length, with other words or without a window are told", () => {
  for (const name of ["ministral", "qwen2", "smollm3", "gemma2", "gemma3"]) {
    for (const layer_types of [["full_attention"], "LLLG", ["a", "b", "c"]]) {
      assert.match(
        refusal(name, { layer_types }),
        /layer_types must be a list of [23] times "full_attention" or "sliding_attention"/,
        name,
      );
    }
  }
  for (const name of ["ministral", "qwen2", "gemma2"]) {
    const { num_hidden_layers } = JSON.parse(changed(name, {}));
    const layer_types = Array(num_hidden_layers).fill("sliding_attention");
    assert.equal(
      refusal(name, { layer_types, sliding_window: null }),
      'layer_types has "sliding_attention" but there is no sliding_window',
    );
  }
});

Deno.test("Mistral takes 4096 positions as its window where the field is missing, and none where it is null", () => {
  const windowsOf = (fields: Fields): unknown => {
    let windows: unknown;
    withFields("mistral", fields, (folder) => {
      windows = (readConfig(folder) as unknown as Fields).windows;
    });
    return windows;
  };
  assert.deepEqual(windowsOf({ sliding_window: undefined }), [4096, 4096]);
  assert.deepEqual(windowsOf({ sliding_window: null }), [null, null]);
  assert.deepEqual(windowsOf({ sliding_window: 3 }), [3, 3]);
});

Deno.test("Mistral takes 8 key and value heads where the field is missing, and all where it is null", () => {
  const headsOf = (num_key_value_heads: unknown): unknown => {
    let heads: unknown;
    const fields = { num_attention_heads: 16, num_key_value_heads };
    withFields("mistral", fields, (folder) => {
      heads = (readConfig(folder) as unknown as Fields).keyValueHeads;
    });
    return heads;
  };
  assert.deepEqual([headsOf(undefined), headsOf(null), headsOf(4)], [8, 16, 4]);
});

/** How our names say what `family_defaults.json` has. */
const READ_AS: Readonly<Record<string, string>> = {
  vocab_size: "vocabSize",
  hidden_size: "hiddenSize",
  intermediate_size: "intermediateSize",
  num_hidden_layers: "layers",
  num_attention_heads: "heads",
  num_key_value_heads: "keyValueHeads",
  head_dim: "headSize",
  max_position_embeddings: "maxPositions",
  attention_dropout: "attentionDropout",
  initializer_range: "initializerRange",
  tie_word_embeddings: "tieWordEmbeddings",
  bos_token_id: "bosTokenId",
  norm_eps: "normEps",
  activation: "activation",
};

/** Families that have a page, and what transformers takes where a config says nothing. */
const DEFAULTS: readonly [string, Fields][] = Object.entries<Fields>(
  JSON.parse(Deno.readTextFileSync("tests/fixtures/family_defaults.json")),
).filter(([type]) => modelTypes().includes(type));

function modelTypes(): readonly string[] {
  return NAMES.map((name) => JSON.parse(changed(name, {})).model_type);
}

for (const [model_type, defaults] of DEFAULTS) {
  Deno.test(`${model_type} takes transformers' defaults where its config says nothing`, () => {
    inFolder((folder) => {
      Deno.writeTextFileSync(
        `${folder}/config.json`,
        JSON.stringify({ model_type }),
      );
      const config = readConfig(folder) as unknown as Fields & {
        readonly rope: { readonly theta: number; readonly headSize: number };
      };
      for (const [field, name] of Object.entries(READ_AS)) {
        if (field === "head_dim" && !defaults[field]) continue;
        if (!Object.hasOwn(defaults, field)) continue;
        assert.deepEqual(config[name], defaults[field], field);
      }
      const ends = [defaults.eos_token_id ?? []].flat();
      assert.deepEqual(config.eosTokenIds, ends);
      assert.equal(config.rope.theta, defaults.rope_theta);
      assert.equal(
        config.rope.headSize / (config.headSize as number),
        defaults.partial_rotary_factor,
      );
    });
  });
}

Deno.test("Phi-3 calls longrope what older files call su and yarn, from 4096 positions where none are given", () => {
  const factors = { short_factor: [1, 1, 1], long_factor: [2, 3, 4] };
  for (const type of ["su", "yarn", "longrope"]) {
    const fields = {
      rope_scaling: { type, ...factors },
      original_max_position_embeddings: undefined,
    };
    withFields("phi4_mini", fields, (folder) => {
      const { rope } = readConfig(folder) as unknown as { rope: Fields };
      assert.deepEqual(rope.longFactor, [2, 3, 4]);
      assert.equal(rope.type, "longrope");
      assert.equal(rope.originalMaxPositions, 4096);
    });
  }
});

Deno.test("a family is found by the class in auto_map where model_type is missing", () => {
  const auto_map = {
    AutoConfig: "configuration_x.XConfig",
    AutoModelForCausalLM: "modeling_mistral.MistralForCausalLM",
  };
  const fields = { model_type: undefined, architectures: ["X"], auto_map };
  withFields("mistral", fields, (folder) => {
    assert.equal(readConfig(folder).modelType, "mistral");
  });
  assert.match(
    refusal("mistral", { ...fields, auto_map: { AutoModel: 3 } }),
    /its model_type is missing \("X"\), known are "llama"/,
  );
});

Deno.test("Gemma in half precision multiplies embeddings with √hidden rounded to it", () => {
  using _scope = tensorScope();
  using _frozen = noGrad();
  using model = AutoModelForCausalLM.fromPretrained(`${FOLDER}/gemma`, {
    torchDtype: "bfloat16",
  });
  const plain = model.inputEmbeddings().parameter("weight")!;
  const ids = tensor([...Array(64).keys()], { dtype: "int64" });
  const scale = to(tensor(Math.sqrt(32)), { dtype: "bfloat16" });
  assert.notEqual(scale.item(), Math.fround(Math.sqrt(32)));
  const embedded = model.embed(ids, model.context(rectangle(1, 64)));
  assert.equal(embedded.dtype, "bfloat16");
  assert.deepEqual(
    embedded.toArray(),
    aten.mul(plain, scale).toArray(),
  );
});

for (
  const [family, fields, divisors] of [
    // 32 hidden: the factor of the head's input is 1 / 9
    ["minicpm", { dim_model_base: 32 / 9, scale_emb: 1 / 7 }, [7, 9, 1]],
    ["granite", { logits_scaling: 6, embedding_multiplier: 1 / 7 }, [7, 1, 6]],
  ] as const
) {
  Deno.test(`${family} in bfloat16 rounds products with a factor, not the factor`, () => {
    withFields(family, fields, (folder) => {
      using _scope = tensorScope();
      using _frozen = noGrad();
      using model = AutoModelForCausalLM.fromPretrained(folder, {
        torchDtype: "bfloat16",
      }) as NamedDecoder;
      const divided = (input: Tensor, divisor: number): Tensor => {
        const wide = to(input, { dtype: "float32" });
        return to(aten.div(wide, tensor(divisor)), { dtype: "bfloat16" });
      };
      const ids = tensor([...Array(64).keys()], { dtype: "int64" });
      const embedded = model.embed(ids);
      const plain = model.inputEmbeddings().forward(ids);
      const normed = model.model.norm.forward(embedded);
      const logits = model.lm_head.forward(divided(normed, divisors[1]));
      assert.deepEqual(
        [embedded.toArray(), model.head(embedded).toArray()],
        [divided(plain, divisors[0]), divided(logits, divisors[2])]
          .map((each) => each.toArray()),
      );
    });
  });
}

Deno.test("addBranch() keeps the mean of a branch that it drops parts of", () => {
  using _scope = tensorScope();
  manualSeed(2);
  const zero = zeros([100, 100]);
  const ones = aten.exp(zero);
  const form = { scale: 3, dropout: 0.25, training: true };
  const left = addBranch(zero, ones, form).toArray();
  const mean = left.reduce((sum, each) => sum + each, 0) / left.length;
  assert(Math.abs(mean - 3) < 0.1, `mean ${mean}`);
  assert.equal(new Set(left).size, 2);
});

Deno.test("Phi-3 takes published su ropes, which lack the inner original length", () => {
  const golden = readSafetensors(`${FOLDER}/phi3_su/golden.safetensors`);
  const config = JSON.parse(changed("phi3_su", {}));
  const { original_max_position_embeddings: _, ...rope_scaling } =
    config.rope_scaling;
  withFields("phi3_su", { rope_scaling }, (folder) =>
    assertClose(
      goldenLogits(folder, golden),
      numbersOf(golden.get("logits")!),
      { limit: 1e-4 },
    ));
});

Deno.test("a rope_scaling that is there wins over rope_parameters, an empty one does not", () => {
  const rope_parameters = { rope_type: "linear", factor: 2, rope_theta: 7 };
  const ropeOf = (rope_scaling: unknown): Fields => {
    let rope: Fields = {};
    withFields("mistral", { rope_scaling, rope_parameters }, (folder) => {
      rope = (readConfig(folder) as unknown as { rope: Fields }).rope;
    });
    return rope;
  };
  const own = ropeOf({ rope_type: "linear", factor: 4 });
  assert.deepEqual([own.factor, own.theta], [4, 10000]);
  for (const none of [null, {}, undefined]) {
    assert.deepEqual([ropeOf(none).factor, ropeOf(none).theta], [2, 7]);
  }
});

Deno.test("a rotated part that is not an even number of a head is told", () => {
  assert.match(
    refusal("stablelm", { partial_rotary_factor: 0.2 }),
    /^partial_rotary_factor 0.2 of head_dim 8 must give an even number$/,
  );
  assert.match(
    refusal("mistral", { partial_rotary_factor: 0.5 }),
    /^partial_rotary_factor 0.5 is not supported$/,
  );
  assert.equal(
    refusal("glm_odd", { rope_scaling: { type: "yarn", factor: 2 } }),
    'rope_type "yarn" needs a rotated part of an even size, got 7',
  );
});
