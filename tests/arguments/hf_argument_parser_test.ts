/**
 * HfArgumentParser against transformers' own, by cases that
 * `fixtures/make_arguments.py` recorded, and what it does beyond it.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { HfArgumentParser } from "../../lib/arguments/hf_argument_parser.ts";
import {
  FINETUNE,
  LORA_REFUSED_FLAGS,
  LORA_WITHOUT_EFFECT,
  TRAINING,
} from "../../lib/arguments/settings.ts";
import { InputError } from "../../lib/input_error.ts";

interface ParserCase {
  readonly args: string;
  readonly changed?: Readonly<Record<string, unknown>>;
  readonly error?: string;
}

function fixture(name: string): unknown {
  const url = new URL(`../fixtures/arguments/${name}.json`, import.meta.url);
  return JSON.parse(Deno.readTextFileSync(url));
}

const GROUPS = [
  { title: "finetune", table: FINETUNE },
  { title: "training", table: TRAINING },
] as const;

Deno.test("HfArgumentParser parses and reports errors as transformers' own does", () => {
  const parser = new HfArgumentParser(GROUPS);
  const defaults = parser.parseDict({});
  for (
    const { args, changed, error } of fixture("parser_cases") as ParserCase[]
  ) {
    const run = (): unknown => parser.parseArgsIntoDataclasses(args.split(" "));
    if (error === undefined) {
      const expected = { ...defaults[0], ...defaults[1], ...changed };
      const [finetune, training] = run() as typeof defaults;
      assert.deepEqual({ ...finetune, ...training }, expected, args);
    } else {
      assert.throws(run, { name: "InputError", exitCode: 2, message: error });
    }
  }
});

Deno.test("the tables hold all fields of peft's LoraConfig that a user sets", () => {
  const ours = { ...FINETUNE, ...LORA_REFUSED_FLAGS, ...LORA_WITHOUT_EFFECT };
  const missing = (fixture("lora_fields") as string[])
    .filter((name) => !(name in ours));
  assert.deepEqual(missing.sort(), [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_type",
    "peft_version",
    "r",
    "revision",
    "runtime_config",
  ]);
});

Deno.test("HfArgumentParser takes a negative number in any notation as a value", () => {
  const parser = new HfArgumentParser(GROUPS);
  const args = ["--learning_rate", "-1e-3", "--max_steps", "-1"];
  const parsed = parser.parseArgsIntoDataclasses(args);
  if ("help" in parsed) assert.fail("unexpected help");
  assert.equal(parsed[1].learning_rate, -1e-3);
  assert.equal(parsed[1].max_steps, -1);
});

Deno.test("HfArgumentParser suggests near names for unknown flags only", () => {
  const parser = new HfArgumentParser(GROUPS);
  const message = (...args: string[]): string => {
    try {
      parser.parseArgsIntoDataclasses(args);
    } catch (error) {
      if (error instanceof InputError) return error.message;
    }
    return "";
  };
  assert.equal(message("--learning-rat=3"), "");
  assert.equal(
    message("--lerning-rate=3"),
    "unrecognized arguments: --lerning-rate=3 (did you mean --learning_rate?)",
  );
  assert.equal(
    message("--xyzzy", "1"),
    "unrecognized arguments: --xyzzy 1",
  );
});

Deno.test("HfArgumentParser.parseDict checks names and types, all at once", () => {
  const parser = new HfArgumentParser(GROUPS);
  const [finetune, training] = parser.parseDict({
    lora_rank: 4,
    layers_to_transform: 3,
    rank_pattern: { q_proj: 16 },
    max_steps: 10,
  });
  assert.equal(finetune.lora_rank, 4);
  assert.deepEqual(finetune.layers_to_transform, [3]);
  assert.deepEqual(finetune.rank_pattern, { q_proj: 16 });
  assert.equal(training.max_steps, 10);
  assert.throws(
    () =>
      parser.parseDict({
        zz: 1,
        lora_rank: "8",
        seed: null,
        bf16: 1,
        loss: "x",
      }),
    {
      name: "InputError",
      exitCode: 2,
      message: [
        'Cannot use settings: unknown key "zz"',
        'Cannot use settings: "lora_rank" is "8", expected a whole number',
        'Cannot use settings: "seed" is null, expected a whole number',
        'Cannot use settings: "bf16" is 1, expected true or false',
        'Cannot use settings: "loss" is "x", ' +
        'expected one of "tokens", "reference"',
      ].join("\n"),
    },
  );
});

Deno.test("HfArgumentParser refuses two tables with the same name", () => {
  const table = {
    one: { kind: "int", default: 1, help: "A number" },
  } as const;
  assert.throws(
    () => new HfArgumentParser([{ title: "a", table }, { title: "b", table }]),
    { name: "TypeError", message: 'Cannot add setting "one" twice' },
  );
});
