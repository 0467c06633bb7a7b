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
import { errorOf } from "../formats/temporary.ts";

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
    target_parameters: null,
    exclude_modules: null,
    use_rslora: false,
    use_dora: false,
    modules_to_save: null,
    ensure_weight_tying: false,
    bias: "none",
    lora_bias: false,
    trainable_token_indices: null,
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
    const given of [{ r: 0 }, { rank_pattern: { q_proj: -1 } }]
  ) {
    assert.match(
      errorOf(() => loraConfig(given)),
      /^Cannot make LoRA: "r\w*" is .*, `r` should be a positive integer value but the value passed is /,
    );
  }
  assert.equal(
    errorOf(() => loraConfig({ r: 1.5, lora_dropout: 1 })),
    'Cannot make LoRA: "r" is 1.5, expected a whole number; ' +
      '"lora_dropout" is 1, expected 0 or more and less than 1',
  );
  for (const lora_dropout of [-0.1, 1, NaN]) {
    assert.match(
      errorOf(() => loraConfig({ lora_dropout })),
      /^Cannot make LoRA: "lora_dropout" is .*, expected /,
    );
  }
});

/** Values of a wrong type or out of bounds, by field. */
const WRONG: Readonly<Record<string, readonly unknown[]>> = {
  r: [[], "", "1", "8", true, null, 1.5, 0, -1, NaN, 1e400, {}],
  lora_alpha: [[], "", "1", true, null, NaN, 1e400, -1e39, {}, [16]],
  lora_dropout: [[], "", "0", "0.5", true, null, -0.1, 1, NaN],
  target_modules: [0, true, {}, [1], [null], ["a", 2]],
  exclude_modules: [0, 1, true, false, {}, [0]],
  use_rslora: [0, 1, "true", "", [], {}],
  init_lora_weights: [0, 1, null, [], {}],
  layers_to_transform: ["0", true, 1.5, [1.5], ["1"], [true], {}, NaN],
  layers_pattern: [0, true, {}, [0]],
  rank_pattern: [0, "a", true, [], [1], { a: 0 }, { a: 1.5 }, { a: "2" }, {
    a: null,
  }, { a: [2] }],
  alpha_pattern: [0, "a", true, [], { a: "2" }, { a: null }, { a: NaN }, {
    a: [],
  }, { a: 1e400 }],
  base_model_name_or_path: [0, true, [], {}],
  peft_version: [0, []],
  revision: [1, {}],
  inference_mode: ["yes", 1],
  auto_mapping: ["x", []],
};

Deno.test("loraConfigFromJson() refuses every value of a wrong type, naming file, field and value", () => {
  for (const [field, values] of Object.entries(WRONG)) {
    for (const value of values) {
      const json = { ...golden("trained"), [field]: value };
      const message = errorOf(() => loraConfigFromJson(json, "F"));
      assert(
        message.startsWith(`Cannot use adapter "F": "${field}" is `),
        `${field} ${JSON.stringify(value)}: ${message}`,
      );
    }
  }
});

Deno.test("loraConfigFromJson() takes what peft takes: fractions of alpha, single numbers and names, null for nothing", () => {
  const taken: Record<string, readonly unknown[]> = {
    lora_alpha: [0.5, -2, 16],
    layers_to_transform: [0, [0, 1], null],
    layers_pattern: ["layers", ["h", "layers"], null],
    alpha_pattern: [{ a: 0.5 }],
    exclude_modules: ["", [], null],
  };
  for (const [field, values] of Object.entries(taken)) {
    for (const value of values) {
      const json = { ...golden("trained"), [field]: value };
      const config = loraConfigFromJson(json, "F");
      assert.deepEqual(config[field as keyof typeof config], value, field);
    }
  }
  const nothing = {
    target_modules: null,
    rank_pattern: null,
    use_rslora: null,
  };
  assert.deepEqual(
    loraConfigFromJson({ peft_type: "LORA", ...nothing }, "F"),
    loraConfig(),
  );
});

Deno.test("loraConfigFromJson() says all that is wrong at once", () => {
  const wrong = { r: "8", lora_alpha: [], use_qalora: true };
  assert.equal(
    errorOf(() => loraConfigFromJson({ ...golden("trained"), ...wrong }, "F")),
    'Cannot use adapter "F": not supported yet: use_qalora true; ' +
      '"lora_alpha" is [], expected a number; "r" is "8", expected a whole number',
  );
});

Deno.test("loraConfigFromJson() refuses invalid regular expressions in one sentence that names the field", () => {
  const wrong = {
    target_modules: "(",
    exclude_modules: "[a",
    layers_pattern: ["layers", "*"],
    rank_pattern: { "a)": 2 },
    alpha_pattern: { "\\1": 2 },
  };
  for (const [field, value] of Object.entries(wrong)) {
    const json = { ...golden("trained"), [field]: value };
    assert.match(
      errorOf(() => loraConfigFromJson(json, "F")),
      new RegExp(
        `^Cannot use adapter "F": "${field}" has ".*": as a regular expression it has .* at character \\d+$`,
      ),
    );
  }
});

Deno.test("loraConfigFromJson() takes any number of names in a pattern, and 1,000 regular expressions", () => {
  const ranks = (count: number, end: string): Record<string, number> =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`m.${index}.q${end}`, 2]),
    );
  const read = (rank_pattern: Record<string, number>): unknown =>
    loraConfigFromJson({ ...golden("trained"), rank_pattern }, "F");
  read(ranks(20_000, ""));
  read(ranks(1000, ".*"));
  assert.equal(
    errorOf(() => read(ranks(1001, ".*"))),
    'Cannot use adapter "F": "rank_pattern" has more than 1000 regular expressions',
  );
});

Deno.test("loraConfigFromJson() takes field names of JavaScript's own objects for what they are", () => {
  const json = JSON.parse('{"peft_type": "LORA", "__proto__": {"r": 3}}');
  assert.match(
    errorOf(() => loraConfigFromJson(json, "F")),
    /not supported yet: __proto__ \{"r":3\}$/,
  );
  assert.match(
    errorOf(() =>
      loraConfigFromJson({ ...golden("trained"), toString: 1 }, "F")
    ),
    /not supported yet: toString 1$/,
  );
});

Deno.test("loraConfigFromJson() names every field that is not computed here", () => {
  const refused = {
    use_qalora: true,
    layer_replication: [[0, 1]],
    init_lora_weights: "loftq",
    some_later_field: 5,
  };
  const message = errorOf(() =>
    loraConfigFromJson({ ...golden("trained"), ...refused }, "F")
  );
  assert(message.startsWith('Cannot use adapter "F": not supported yet: '));
  for (const [field, value] of Object.entries(refused)) {
    assert(message.includes(`${field} ${JSON.stringify(value)}`), field);
  }
  assert.equal(
    errorOf(() => loraConfigFromJson({ peft_type: "IA3" }, "F")),
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
