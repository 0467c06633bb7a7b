/**
 * Which modules are adapted: peft's rules on names, and the report of names that
 * match nothing. No weights, no libtorch.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import {
  describeTargets,
  type LoraConfig,
  loraConfig,
  matchTargets,
  type TargetReport,
  targetTree,
} from "../../lib/peft/mod.ts";
import { rankAt } from "../../lib/peft/lora_config.ts";
import { errorOf } from "../formats/temporary.ts";

const TREE = targetTree(
  AutoModelForCausalLM.fromConfig("tests/fixtures/models/llama_gqa"),
);

function match(config: Partial<LoraConfig>): TargetReport {
  return matchTargets(TREE, loraConfig(config));
}

/** Targeted paths without the common beginning. */
function targeted(config: Partial<LoraConfig>): string[] {
  return match(config).targeted.map((path) =>
    path.replace("model.layers.", "").replace(/self_attn\.|mlp\./, "")
  );
}

Deno.test("matchTargets() takes names as suffixes of paths, in the order of the tree", () => {
  assert.deepEqual(
    targeted({ target_modules: ["v_proj", "q_proj"] }),
    ["0.q_proj", "0.v_proj", "1.q_proj", "1.v_proj"],
  );
  assert.deepEqual(
    targeted({ target_modules: ["1.self_attn.q_proj", "lm_head"] }),
    ["1.q_proj", "lm_head"],
  );
  assert.deepEqual(targeted({ target_modules: ["q_proj", "_proj"] }), [
    "0.q_proj",
    "1.q_proj",
  ]);
});

Deno.test("matchTargets() takes a string as an expression for the whole path, or all-linear", () => {
  assert.deepEqual(
    targeted({ target_modules: ".*\\.1\\..*\\.(q|k)_proj" }),
    ["1.q_proj", "1.k_proj"],
  );
  const all = match({ target_modules: "All-Linear" });
  assert.equal(all.targeted.length, 14);
  assert.deepEqual(all.untrainedNames, ["lm_head"]);
  assert.deepEqual(
    targeted({ target_modules: "(?i)(?P<start>MODEL)(?!.*mlp).*_PROJ\\Z" }),
    ["q", "k", "v", "o"].flatMap((name) => [`0.${name}_proj`, `1.${name}_proj`])
      .sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0)),
  );
});

Deno.test("matchTargets() ends on expressions that a backtracking engine never ends on", () => {
  const started = performance.now();
  assert.match(
    errorOf(() => match({ target_modules: "(.+)+$x" })),
    /^Cannot inject LoRA: target modules "\(\.\+\)\+\$x" not found/,
  );
  assert.equal(
    targeted({ target_modules: "(([a-z0-9_]+\\.?)+)+_proj" }).length,
    14,
  );
  const config = loraConfig({ rank_pattern: { "(.+)+x": 2 } });
  assert.equal(rankAt(config, `model.${"a".repeat(60)}`), 8);
  assert(performance.now() - started < 2000);
  const endless = "(?:(?=(?:(?=(?:(?=(?:.*x|.)*).)*).)*).)*x";
  assert.match(
    errorOf(() =>
      matchTargets({
        allPaths: ["a".repeat(500)],
        linearPaths: ["a".repeat(500)],
        outputPath: "",
      }, loraConfig({ target_modules: endless }))
    ),
    /^Cannot use target_modules ".*": it takes too many steps, a simpler one is needed$/,
  );
});

Deno.test("matchTargets() leaves exclude_modules out, names and expressions", () => {
  assert.deepEqual(
    targeted({
      target_modules: ["q_proj"],
      exclude_modules: ["0.self_attn.q_proj"],
    }),
    ["1.q_proj"],
  );
  const all = targeted({
    target_modules: "all-linear",
    exclude_modules: ".*mlp.*",
  });
  assert.equal(all.length, 8);
});

Deno.test("matchTargets() keeps to layers_to_transform, of the lists that layers_pattern names", () => {
  const one = { target_modules: ["q_proj"], layers_to_transform: [1] };
  assert.deepEqual(targeted(one), ["1.q_proj"]);
  assert.deepEqual(targeted({ ...one, layers_to_transform: 0 }), ["0.q_proj"]);
  assert.deepEqual(targeted({ ...one, layers_pattern: "layers" }), [
    "1.q_proj",
  ]);
  assert.deepEqual(
    targeted({ ...one, layers_pattern: ["blocks", "layers"] }),
    ["1.q_proj"],
  );
  assert.equal(targeted({ ...one, layers_to_transform: [] }).length, 2);
  assert.deepEqual(
    targeted({
      target_modules: ["v_proj", "model.layers.0.self_attn.q_proj"],
      layers_to_transform: [1],
    }),
    ["0.q_proj", "1.v_proj"],
  );
  assert.match(
    errorOf(() => match({ ...one, layers_pattern: "blocks" })),
    /"q_proj" not found in the base model, at least none in layers_to_transform \[1\]/,
  );
  assert.match(
    errorOf(() => match({ ...one, target_modules: ".*q_proj" })),
    /^Cannot use layers_to_transform: it goes with a list/,
  );
});

Deno.test("matchTargets() refuses what matches nothing, naming the modules there are", () => {
  const names = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, " +
    "down_proj, lm_head";
  assert.equal(
    errorOf(() => match({ target_modules: ["W_pack", "query_key_value"] })),
    `Cannot inject LoRA: target modules "W_pack", "query_key_value" not found in the base model, it has ${names}`,
  );
  assert.equal(
    errorOf(() =>
      match({ target_modules: ["q_proj"], exclude_modules: ["q_proj"] })
    ),
    `Cannot inject LoRA: target modules "q_proj" not found in the base model, at least none that exclude_modules leaves, it has ${names}`,
  );
  assert.match(
    errorOf(() => match({ target_modules: ["a\nb", "\u001b[2J"] })),
    /target modules "a\\nb", "\\u001b\[2J" not found/,
  );
  assert.match(
    errorOf(() => match({ target_modules: [] })),
    /modules \[\] not/,
  );
  const many = Array.from({ length: 5000 }, (_, index) => `x${index}`);
  assert.match(
    errorOf(() => match({ target_modules: many })),
    /"x8", "x9" and 4990 more not found in the base model/,
  );
});

Deno.test("matchTargets() refuses modules that are no linear layers", () => {
  assert.match(
    errorOf(() => match({ target_modules: ["self_attn"] })),
    /^Cannot inject LoRA into "model.layers.0.self_attn": it is not a linear layer, target only q_proj, /,
  );
  assert.match(
    errorOf(() => match({ target_modules: ".*mlp" })),
    /"model.layers.0.mlp": it is not a linear layer/,
  );
});

Deno.test("matchTargets() refuses ranks that no layer can use, before weights are loaded", () => {
  const refused = (config: Partial<LoraConfig>): string =>
    errorOf(() => match({ target_modules: ["q_proj", "k_proj"], ...config }));
  assert.equal(
    refused({ r: 100_000 }),
    'Cannot inject LoRA of rank 100000 into "model.layers.0.self_attn.q_proj": the layer maps 32 numbers to 32, ' +
      "and the adapter's matrices would hold more than 16 times the layer's own numbers, expected a rank of at most 256",
  );
  assert.match(
    refused({ rank_pattern: { "1.self_attn.k_proj": 171 } }),
    /^Cannot inject LoRA of rank 171 into "model.layers.1.self_attn.k_proj": .* at most 170$/,
  );
  const most = { r: 256, rank_pattern: { k_proj: 170 } };
  assert.equal(
    match({ target_modules: ["q_proj", "k_proj"], ...most }).targeted.length,
    4,
  );
});

Deno.test("describeTargets() warns of names that train nothing, with a hint for W_pack", () => {
  const report = match({
    target_modules: [
      "W_pack",
      "o_proj",
      "gate_proj",
      "up_proj",
      "down_proj",
    ],
  });
  assert.deepEqual(report.unmatched, ["W_pack"]);
  assert.deepEqual(describeTargets(report), [
    'Warning: target_modules "W_pack" match no module of this model and train nothing; "W_pack" is Baichuan\'s fused attention, this model has q_proj, k_proj, v_proj',
    "LoRA on 8 modules: o_proj, gate_proj, up_proj, down_proj (not trained: q_proj, k_proj, v_proj, lm_head)",
  ]);
  const other = match({ target_modules: ["q_proj", "wqkv"] });
  assert.equal(
    describeTargets(other)[0],
    'Warning: target_modules "wqkv" match no module of this model and train nothing',
  );
});

Deno.test("describeTargets() says what is trained when all matched", () => {
  const everything = match({ target_modules: "all-linear" });
  assert.deepEqual(describeTargets(everything), [
    "LoRA on 14 modules: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj (not trained: lm_head)",
  ]);
});
