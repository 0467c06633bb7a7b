/**
 * Settings files in front of flags: what they may hold, what is wrong with
 * them, and that a run's `training_args.json` is one.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { FINETUNE, TRAINING } from "../../lib/arguments/settings.ts";
import {
  parseTrainArguments,
  type TrainArguments,
  trainingArgsJson,
} from "../../lib/arguments/train_arguments.ts";
import { InputError } from "../../lib/input_error.ts";

function parse(...args: string[]): TrainArguments {
  const parsed = parseTrainArguments(args);
  assert.ok(!("help" in parsed), "unexpected help");
  return parsed;
}

function problems(...args: string[]): string[] {
  try {
    parseTrainArguments(args);
  } catch (error) {
    assert.ok(error instanceof InputError);
    assert.equal(error.exitCode, 2);
    return error.message.split("\n");
  }
  assert.fail("expected problems");
}

/** Runs `body` with a settings file of that name and content. */
function withFile(
  name: string,
  content: string,
  body: (path: string) => void,
): void {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/${name}`;
    Deno.writeTextFileSync(path, content);
    body(path);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a settings file may stand before flags, which win", () => {
  const yaml = "# a run\nlora_rank: 4\nlearning_rate: 1e-4\n" +
    "target_modules: [q_proj, v_proj]\nsave_total_limit: null\n";
  withFile("run.yaml", yaml, (path) => {
    const { finetune, training, given } = parse(path, "--lora_rank", "2");
    assert.equal(finetune.lora_rank, 2);
    assert.equal(training.learning_rate, 1e-4);
    assert.deepEqual(finetune.target_modules, ["q_proj", "v_proj"]);
    assert.equal(training.save_total_limit, null);
    assert.equal(given.size, 4);
  });
  const jsonc = '{ // a run\n  "lora_rank": 4,\n  "dtype": "float32",\n}';
  withFile("run.jsonc", jsonc, (path) => {
    assert.equal(parse(path).finetune.lora_rank, 4);
    assert.equal(parse(path).finetune.torch_dtype, "float32");
  });
});

Deno.test("a settings file's mistakes are told with their lines, all at once", () => {
  const yaml = "lora_rnk: 4\nlora_rank: notint\nneftune_noise_alpha: 5\n" +
    "bf16: 'yes'\nseed: 1\nseed: 2\n";
  withFile("run.yml", yaml, (path) => {
    assert.deepEqual(problems(path), [
      `Cannot use "${path}" line 1: unknown key "lora_rnk" ` +
      "(did you mean lora_rank?)",
      `Cannot use "${path}" line 2: "lora_rank" is "notint", ` +
      "expected a whole number",
      `Cannot use "${path}" line 4: "bf16" is "yes", expected true or false`,
      `Cannot use "${path}" line 6: "seed" is given twice`,
      `Cannot use "neftune_noise_alpha" ("${path}" line 3): not supported yet, ` +
      "no noise is added to the embeddings",
    ]);
  });
  withFile("run.json", '{\n "seed": 1\n "lora_rank": 2,\n', (path) => {
    assert.deepEqual(problems(path), [
      `Cannot read "${path}": line 3: comma expected`,
      `Cannot read "${path}": line 4: property name expected`,
    ]);
  });
  withFile("run.json", "[1]", (path) => {
    assert.deepEqual(problems(path), [
      `Cannot read "${path}": expected one object of settings`,
    ]);
  });
  assert.deepEqual(problems("missing.yaml"), [
    'Cannot read "missing.yaml": no such file',
  ]);
  assert.deepEqual(problems("rows.txt"), [
    'Cannot read "rows.txt": expected flags, or a settings file that ends in ' +
    ".json, .jsonc, .yaml or .yml",
  ]);
  assert.deepEqual(problems("--seed", "1", "run.yaml"), [
    "unrecognized arguments: run.yaml (a settings file comes first)",
  ]);
});

Deno.test("trainingArgsJson holds every setting and can be given back as a file", () => {
  const first = parse("--lora_rank", "4", "--target_modules", ".*[qv]_proj");
  const json = trainingArgsJson(first);
  assert.equal(json["lora_rank"], 4);
  assert.equal(
    Object.keys(json).length,
    Object.keys(FINETUNE).length + Object.keys(TRAINING).length,
  );
  withFile("training_args.json", JSON.stringify(json), (path) => {
    const second = parse(path);
    assert.deepEqual(second.finetune, first.finetune);
    assert.deepEqual(second.training, first.training);
  });
});
