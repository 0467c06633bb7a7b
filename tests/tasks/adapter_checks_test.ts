/**
 * Resuming needs the checkpoint's own adapter; flags that continuing cannot follow
 * are told.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  parseTrainArguments,
  PeftModel,
  type TrainArguments,
} from "../../mod.ts";
import { loraConfig } from "../../lib/peft/mod.ts";
import {
  checkAdapter,
  type CheckedAdapter,
  overriddenFlags,
} from "../../tasks/adapter_checks.ts";
import { errorOf } from "../formats/temporary.ts";

const TRAINED = "tests/fixtures/peft/trained";

function run(...flags: string[]): TrainArguments {
  const parsed = parseTrainArguments(flags);
  assert(!("help" in parsed));
  return parsed;
}

/** checkAdapter() in the run's own model. */
function check(parsed: TrainArguments, resumed: string | null): CheckedAdapter {
  const model = AutoModelForCausalLM.fromConfig(parsed.finetune.model_path);
  return checkAdapter(parsed, { model, resumed });
}

/** Flags of the run that made the adapter in the fixture. */
function flagsOfTrained(): string[] {
  const { r, lora_alpha, target_modules } = PeftModel.readConfig(TRAINED);
  const targets = [target_modules ?? loraConfig().target_modules].flat();
  return [
    ...["--model_path", "tests/fixtures/models/llama_gqa"],
    ...["--lora_rank", String(r), "--lora_alpha", String(lora_alpha)],
    ...["--target_modules", ...targets.map(String)],
  ];
}

Deno.test("checkAdapter() takes the run that wrote the checkpoint, and names what another has", () => {
  const same = flagsOfTrained();
  const { config, report } = check(run(...same), TRAINED);
  assert.equal(config.r, 4);
  assert.equal(report.targeted.length, 8);
  assert.match(
    errorOf(() =>
      check(
        run(...same, "--lora_rank", "3", "--use_rslora"),
        TRAINED,
      )
    ),
    /^Cannot resume from ".*": its adapter has lora_rank 4, this run has 3; use_rslora false, this run has true$/,
  );
  assert.match(
    errorOf(() => check(run(...same, "--target_modules", "v_proj"), TRAINED)),
    /: its adapter has target_modules .* in \d+ modules, this run has v_proj in \d+$/,
  );
});

Deno.test("checkAdapter() takes up an adapter on experts by the names that the run asked for", () => {
  const runOf = (...flags: string[]): TrainArguments =>
    run(
      ...["--model_path", "tests/fixtures/families/qwen3_moe"],
      ...["--lora_rank", "2", "--lora_alpha", "4"],
      ...["--target_modules", "all-linear", "--lora_dropout", "0"],
      ...flags,
    );
  const saved = "tests/fixtures/experts/fresh";
  const { config, report } = check(runOf(), saved);
  assert.deepEqual(config.rank_pattern, { ".*\\.gate_up_proj": 4 });
  assert.deepEqual([report.targeted.length, report.parameters.length], [8, 6]);
  const routers = ["--target_parameters", "mlp.gate.weight"];
  assert.match(
    errorOf(() =>
      check(runOf("--target_modules", "q_proj", ...routers), saved)
    ),
    /: its adapter has rank_pattern .*; target_modules .* gate in 14 modules, this run has q_proj gate in 4$/,
  );
});

Deno.test("checkAdapter() refuses ranks, expressions and patterns of flags that cannot be used, without weights", () => {
  const refused = (...flags: string[]): string =>
    errorOf(() => check(run(...flagsOfTrained(), ...flags), null));
  assert.match(
    refused("--lora_rank", "100000"),
    /^Cannot inject LoRA of rank 100000 into "model.layers.0.self_attn.o_proj": .* at most 256$/,
  );
  assert.match(
    refused("--target_modules", "(o_proj"),
    /^Cannot make LoRA: "target_modules" has "\(o_proj": as a regular expression it has missing \) at character 8$/,
  );
  assert.match(
    refused("--rank_pattern", '{"*": 2}'),
    /^Cannot make LoRA: "rank_pattern" has "\*": as a regular expression it has nothing to repeat at character 1$/,
  );
  const started = performance.now();
  assert.match(refused("--target_modules", "(.+)+x$"), /not found in the base/);
  assert(performance.now() - started < 2000);
});

Deno.test("overriddenFlags() names only flags that were given", () => {
  const goOn = [
    ...["--model_path", "tests/fixtures/models/llama_gqa"],
    ...["--continue_training", "--checkpoint", TRAINED],
  ];
  const overruled = (...flags: string[]): string[] => {
    const parsed = run(...flags);
    return overriddenFlags(parsed, check(parsed, null));
  };
  assert.deepEqual(overruled(...goOn), []);
  assert.deepEqual(overruled(...goOn, "--lora_rank", "3"), [
    `--lora_rank 3 has no effect: the adapter in "${TRAINED}" has 4`,
  ]);
  assert.deepEqual(overruled("--lora_rank", "3"), []);
});
