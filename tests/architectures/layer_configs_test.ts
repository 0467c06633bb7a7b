/**
 * What single families read of `config.json` about their layers: which rotate, slide
 * or raise the base of their rotation.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readConfig } from "../../lib/architectures/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import {
  changed,
  type Fields,
  FOLDER,
  goldenLogits,
  refusal,
  withFields,
} from "./family_folder.ts";

Deno.test("Hunyuan's alpha raises the base only while rows fit max_position_embeddings", () => {
  const logitsOf = (scaling: Fields, maxPositions: number): Float64Array => {
    const logits: Float64Array[] = [];
    const { alpha: _, ...plain } =
      JSON.parse(changed("hunyuan", {})).rope_scaling;
    const fields = {
      rope_scaling: { ...plain, factor: 2, ...scaling },
      max_position_embeddings: maxPositions,
    };
    const golden = readSafetensors(`${FOLDER}/hunyuan/golden.safetensors`);
    withFields("hunyuan", fields, (folder) => {
      logits.push(goldenLogits(folder, golden));
    });
    return logits[0]!;
  };
  const alpha = { alpha: 50 };
  // Golden rows have 13 positions.
  assert.notDeepEqual(logitsOf(alpha, 13), logitsOf({}, 13));
  assert.deepEqual(logitsOf(alpha, 12), logitsOf({}, 12));
  assert.notDeepEqual(logitsOf({}, 12), logitsOf({}, 13));
});

Deno.test("Hunyuan refuses layers that share keys and values by name", () =>
  assert.equal(
    refusal("hunyuan", { use_cla: true }),
    "use_cla true is not supported",
  ));

Deno.test("Gemma 3 refuses scalings that transformers 4 and 5 read differently", () => {
  const yarn = { rope_type: "yarn", factor: 4, truncate: false };
  const full = { ...yarn, rope_theta: 1e6 };
  const sliding = { rope_type: "default", rope_theta: 1e4 };
  const rope_parameters = { full_attention: full, sliding_attention: sliding };
  assert.equal(
    refusal("gemma3_nested", { rope_parameters }),
    "truncate false is not supported",
  );
  assert.equal(
    refusal("gemma3", { rope_scaling: yarn }),
    "truncate false is not supported",
  );
  assert.equal(
    refusal("gemma3", { rope_scaling: { type: "linear", factor: 8 } }),
    'rope_scaling has type "linear" without rope_type, which transformers 4 and 5 read differently; its name must be rope_type',
  );
  assert.equal(
    refusal("gemma3", { rope_scaling: "linear" }),
    'rope_scaling must be an object, got "linear"',
  );
  for (const rope_scaling of [null, {}, { type: "default" }]) {
    withFields("gemma3", { rope_scaling }, readConfig);
  }
});

Deno.test("EXAONE 4 slides and rotates as its pattern, its layer types or the lack of a window say", () => {
  const layersOf = (fields: Fields): unknown => {
    let layers: unknown;
    const num_hidden_layers = 5;
    withFields("exaone4", { num_hidden_layers, ...fields }, (folder) => {
      const { windows, rotates } = readConfig(folder) as unknown as Fields;
      layers = [windows, rotates];
    });
    return layers;
  };
  const without = { layer_types: undefined, sliding_window: 3 };
  const pattern = { ...without, sliding_window_pattern: 2 };
  assert.deepEqual(layersOf(pattern), [
    [3, null, 3, null, 3],
    [true, false, true, false, true],
  ]);
  const fourth = { ...without, sliding_window_pattern: undefined };
  assert.deepEqual(layersOf(fourth), [
    [3, 3, 3, null, 3],
    [true, true, true, false, true],
  ]);
  for (
    const none of [
      { ...without, sliding_window: null },
      { ...without, sliding_window: null, sliding_window_pattern: 0 },
    ]
  ) {
    assert.deepEqual(layersOf(none), [
      Array(5).fill(null),
      Array(5).fill(true),
    ]);
  }
  assert.equal(
    refusal("exaone4", { ...without, sliding_window_pattern: "LLG" }),
    'sliding_window_pattern must be a number, got "LLG"',
  );
});

Deno.test("a head_dim of null is the hidden size by heads also where another would be the default", () => {
  const config = JSON.parse(changed("seed_oss", { head_dim: null }));
  withFields("seed_oss", { head_dim: null }, (folder) => {
    const { headSize } = readConfig(folder) as unknown as Fields;
    assert.equal(headSize, config.hidden_size / config.num_attention_heads);
  });
});

Deno.test("Qwen3-MoE has experts where its step and its plain layers say so", () => {
  const layersOf = (fields: Fields): unknown => {
    let sparse: unknown;
    withFields(
      "qwen3_moe",
      { num_hidden_layers: 4, ...fields },
      (folder) => {
        sparse = (readConfig(folder) as unknown as Fields).sparse;
      },
    );
    return sparse;
  };
  assert.deepEqual(layersOf({}), [true, true, true, true]);
  assert.deepEqual(layersOf({ mlp_only_layers: null }), Array(4).fill(true));
  assert.deepEqual(
    layersOf({ decoder_sparse_step: 2, mlp_only_layers: [0, 3] }),
    [false, true, false, false],
  );
});

Deno.test("Qwen3-MoE slides on all layers with use_sliding_window only", () => {
  const windowOf = (fields: Fields): unknown => {
    let window: unknown;
    withFields("qwen3_moe", fields, (folder) => {
      window = (readConfig(folder) as unknown as Fields).window;
    });
    return window;
  };
  assert.equal(windowOf({ sliding_window: 3 }), null);
  const slides = { use_sliding_window: true };
  assert.equal(windowOf({ ...slides, sliding_window: 3 }), 3);
  assert.equal(windowOf({ ...slides, sliding_window: undefined }), 4096);
  assert.equal(windowOf({ ...slides, sliding_window: null }), null);
});

Deno.test("Qwen3-MoE refuses the router's own loss, and numbers of experts that contradict each other", () => {
  assert.equal(
    refusal("qwen3_moe", { output_router_logits: true }),
    "output_router_logits true is not supported",
  );
  assert.equal(
    refusal("qwen3_moe", {
      num_experts_per_tok: 5,
      num_local_experts: 3,
      mlp_only_layers: "all",
    }),
    "num_local_experts 3 is not supported; num_experts_per_tok 5 must be at most num_experts 4; mlp_only_layers must be a list of layers",
  );
});

Deno.test("Seed-OSS drops a tenth where its config is silent; ERNIE 4.5 never drops attention", () => {
  const dropoutOf = (name: string, fields: Fields): unknown => {
    let dropout: unknown;
    withFields(name, fields, (folder) => {
      const config = readConfig(folder) as unknown as Fields;
      dropout = [config.attentionDropout, config.residualDropout];
    });
    return dropout;
  };
  const silent = { attention_dropout: undefined, residual_dropout: undefined };
  assert.deepEqual(dropoutOf("seed_oss", silent), [0.1, 0.1]);
  assert.deepEqual(dropoutOf("seed_oss", {}), [0, 0]);
  assert.deepEqual(
    dropoutOf("ernie4_5", { attention_dropout: 0.4 }),
    [0, undefined],
  );
});
