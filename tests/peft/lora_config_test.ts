/**
 * LoraConfig: peft's defaults, file and refusals.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type PythonJson, pythonJson } from "../../lib/formats/python_json.ts";
import {
  loraConfig,
  loraConfigFromJson,
  loraConfigToJson,
  rankAt,
  scalingAt,
} from "../../lib/peft/lora_config.ts";
import { complaint } from "../formats/temporary.ts";

const GOLDEN = "tests/fixtures/peft";

function golden(name: string): Record<string, unknown> {
  return JSON.parse(
    Deno.readTextFileSync(`${GOLDEN}/${name}/adapter_config.json`),
  );
}

Deno.test("loraConfigToJson() gives peft 0.21's file, byte for byte, of what was read from it", () => {
  const names = ["trained", "patterns", "rslora", "all_linear", "regex"];
  for (const name of [...names, "gaussian"]) {
    const config = loraConfigFromJson(golden(name), "F");
    assert.equal(
      pythonJson(loraConfigToJson(config) as PythonJson),
      Deno.readTextFileSync(`${GOLDEN}/${name}/adapter_config.json`),
    );
  }
});

Deno.test("loraConfig() has peft's defaults", () => {
  assert.deepEqual(loraConfig(), {
    r: 8,
    lora_alpha: 8,
    lora_dropout: 0,
    target_modules: ["q_proj", "v_proj"],
    exclude_modules: null,
    use_rslora: false,
    init_lora_weights: true,
    layers_to_transform: null,
    layers_pattern: null,
    rank_pattern: {},
    alpha_pattern: {},
    base_model_name_or_path: null,
  });
});

Deno.test("loraConfig() refuses ranks and dropouts that make no sense", () => {
  for (
    const given of [{ r: 0 }, { r: 1.5 }, { rank_pattern: { q_proj: -1 } }]
  ) {
    assert.match(
      complaint(() => loraConfig(given)),
      /^Cannot make LoRA: `r` should be a positive integer value but the value passed is /,
    );
  }
  for (const lora_dropout of [-0.1, 1, NaN]) {
    assert.match(
      complaint(() => loraConfig({ lora_dropout })),
      /^Cannot make LoRA: lora_dropout must be at least 0 and below 1, got /,
    );
  }
});

Deno.test("loraConfigFromJson() names every field that is not computed here", () => {
  const refused = {
    use_dora: true,
    bias: "all",
    modules_to_save: ["lm_head"],
    lora_bias: true,
    fan_in_fan_out: true,
    layer_replication: [[0, 1]],
    trainable_token_indices: [1],
    target_parameters: ["x"],
    init_lora_weights: "pissa",
    some_later_field: 5,
  };
  const message = complaint(() =>
    loraConfigFromJson({ ...golden("trained"), ...refused }, "F")
  );
  assert(message.startsWith('Cannot use adapter "F": not supported yet: '));
  for (const [field, value] of Object.entries(refused)) {
    assert(message.includes(`${field} ${JSON.stringify(value)}`), field);
  }
  assert.equal(
    complaint(() => loraConfigFromJson({ peft_type: "IA3" }, "F")),
    'Cannot use adapter "F": not supported yet: peft_type "IA3"',
  );
});

Deno.test("loraConfigFromJson() takes minimal files and later fields that ask for nothing", () => {
  const config = loraConfigFromJson({
    peft_type: "LORA",
    r: 2,
    some_later_field: null,
    another: {},
    target_modules: null,
  }, "F");
  assert.deepEqual(config, loraConfig({ r: 2 }));
});

Deno.test("rankAt() and scalingAt() take the first pattern that matches the end of a path", () => {
  const config = loraConfig({
    r: 8,
    lora_alpha: 16,
    rank_pattern: { "0.self_attn.q_proj": 2, q_proj: 4, "proj": 1 },
    alpha_pattern: { "layers\\.1\\..*": 32 },
  });
  const path = (layer: number, name: string): string =>
    `model.layers.${layer}.self_attn.${name}`;
  assert.equal(rankAt(config, path(0, "q_proj")), 2);
  assert.equal(rankAt(config, path(1, "q_proj")), 4);
  assert.equal(rankAt(config, path(1, "v_proj")), 8);
  assert.equal(scalingAt(config, path(0, "q_proj")), 8);
  assert.equal(scalingAt(config, path(1, "q_proj")), 8);
  assert.equal(scalingAt(config, path(1, "v_proj")), 4);
  const rooted = { ...config, use_rslora: true };
  assert.equal(scalingAt(rooted, path(1, "q_proj")), 16);
});
