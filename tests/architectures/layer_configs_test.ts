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
