/**
 * The training command's arguments: every setting arrives or is refused by
 * name, the recipe's script parses, all problems are told at once.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import type { Setting } from "../../lib/arguments/setting.ts";
import {
  FINETUNE,
  TRAINING,
  TRAINING_MOVED,
} from "../../lib/arguments/settings.ts";
import {
  parseTrainArguments,
  type TrainArguments,
} from "../../lib/arguments/train_arguments.ts";

/** What training offers; the real tables are asked in `tests/training`. */
const NAMES = {
  optimizers: ["adamw_torch_fused", "adamw_torch"],
  schedules: ["linear", "cosine", "constant", "constant_with_warmup"],
};

function parse(...args: string[]): TrainArguments {
  const parsed = parseTrainArguments(args);
  assert.ok(!("help" in parsed), "unexpected help");
  return parsed;
}

function problems(...args: string[]): string[] {
  try {
    parseTrainArguments(args, NAMES);
  } catch (error) {
    assert.ok(error instanceof InputError);
    assert.equal(error.exitCode, 2);
    return error.message.split("\n");
  }
  assert.fail("expected problems");
}

/** A legal value other than the default: its words, and what they mean. */
function otherValue(setting: Setting): { words: string[]; value: unknown } {
  const { kind, default: usual } = setting;
  const choices = (Array.isArray(setting.accepts) ? setting.accepts : null) ??
    setting.choices;
  if (choices !== undefined) {
    const value = choices.find((choice) => choice !== usual) ?? usual;
    return { words: [String(value)], value };
  }
  switch (kind) {
    case "bool":
      return { words: [String(usual !== true)], value: usual !== true };
    case "int":
      return setting.fractions
        ? { words: ["6.5"], value: 6.5 }
        : { words: ["7"], value: 7 };
    case "float":
      return { words: ["0.25"], value: 0.25 };
    case "ints":
      return { words: ["0", "2"], value: [0, 2] };
    case "floats":
      return { words: ["0.5"], value: [0.5] };
    case "list":
    case "targets":
      return { words: ["one,two"], value: ["one", "two"] };
    case "tokens":
      return { words: ['{"one": [2, 3]}'], value: { one: [2, 3] } };
    case "numbers":
      return { words: ['{"one": 2}'], value: { one: 2 } };
    case "fields":
      return { words: ['{"a": 0.5, "b": "c"}'], value: { a: 0.5, b: "c" } };
    default:
      return { words: ["other"], value: "other" };
  }
}

const COMPANIONS: Readonly<Record<string, readonly string[]>> = {
  continue_training: ["--checkpoint", "adapter"],
  checkpoint: ["--continue_training"],
  eval_strategy: ["--eval_split", "2"],
  eval_on_start: ["--eval_split", "2"],
  do_eval: ["--eval_split", "2"],
  load_best_model_at_end: "--eval_split 2 --eval_strategy steps".split(" "),
  early_stopping_patience: "--eval_split 2 --eval_strategy epoch".split(" "),
  layers_pattern: ["--layers_to_transform", "1"],
};

Deno.test("parseTrainArguments gives every supported setting its non-default value", () => {
  const tables = { finetune: FINETUNE, training: TRAINING } as const;
  for (const [part, table] of Object.entries(tables)) {
    for (const [name, setting] of Object.entries(table)) {
      const { words, value } = name === "device"
        ? { words: ["cuda:1"], value: "cuda:1" }
        : otherValue(setting);
      const parsed = parse(`--${name}`, ...words, ...COMPANIONS[name] ?? []);
      const values: Readonly<Record<string, unknown>> =
        parsed[part as keyof typeof tables];
      assert.deepEqual(values[name], value, name);
      assert.ok(parsed.given.has(name), name);
    }
  }
});

Deno.test("parseTrainArguments takes the flags of the recipe's train.sh", () => {
  const { finetune, training } = parse(
    ..."--dataset_path d.jsonl --model_path m --lora_rank 8 --max_steps 120000"
      .split(" "),
    ..."--per_device_train_batch_size 16 --gradient_accumulation_steps 1"
      .split(" "),
    ..."--save_steps 40000 --save_total_limit 3 --learning_rate 1e-4 --fp16"
      .split(" "),
    ..."--remove_unused_columns false --logging_steps 10 --output_dir out"
      .split(" "),
  );
  assert.equal(finetune.dataset_path, "d.jsonl");
  assert.equal(training.per_device_train_batch_size, 16);
  assert.equal(training.max_steps, 120000);
  assert.equal(training.save_steps, 40000);
  assert.equal(training.save_total_limit, 3);
  assert.equal(training.learning_rate, 1e-4);
  assert.equal(training.fp16, true);
  assert.equal(training.remove_unused_columns, false);
  assert.equal(training.output_dir, "out");
});

Deno.test("parseTrainArguments trains the shipped model without flags", () => {
  const { finetune, training, given } = parse();
  assert.equal(finetune.model_path, "models/tiny-atom");
  assert.equal(training.output_dir, "output");
  assert.equal(given.size, 0);
});

Deno.test("target_modules are names apart or joined, all-linear, or one regular expression", () => {
  const targets = (...words: string[]): unknown =>
    parse("--target_modules", ...words).finetune.target_modules;
  assert.deepEqual(targets("q_proj", "v_proj"), ["q_proj", "v_proj"]);
  assert.deepEqual(targets("q_proj,v_proj"), ["q_proj", "v_proj"]);
  assert.deepEqual(targets("q_proj"), ["q_proj"]);
  assert.equal(targets("all-linear"), "all-linear");
  assert.equal(targets(".*\\.[qv]_proj"), ".*\\.[qv]_proj");
  assert.equal(targets(".*(q|v)_proj{1,2}"), ".*(q|v)_proj{1,2}");
});

Deno.test("init_lora_weights is one of peft's that need no rows", () => {
  const init = (word: string): unknown =>
    parse("--init_lora_weights", word).finetune.init_lora_weights;
  assert.equal(init("False"), false);
  assert.equal(init("true"), true);
  assert.equal(init("gaussian"), "gaussian");
  assert.equal(init("pissa_niter_16"), "pissa_niter_16");
  for (const word of ["pissa_niter_0", "eva", "loftq"]) {
    assert.deepEqual(problems("--init_lora_weights", word), [
      "argument --init_lora_weights/--init-lora-weights: invalid choice: " +
      `'${word}' (choose from true, false, 'gaussian', 'pissa', ` +
      "'pissa_niter_4', 'olora', 'orthogonal')",
    ]);
  }
});

Deno.test("none empties optional settings only", () => {
  assert.equal(
    parse("--save_total_limit", "none").training.save_total_limit,
    null,
  );
  assert.equal(
    parse("--sample_question", "none").finetune.sample_question,
    null,
  );
  assert.equal(parse("--disable_tqdm", "None").training.disable_tqdm, null);
  assert.deepEqual(problems("--seed", "none"), [
    "argument --seed: invalid int value: 'none'",
  ]);
});

Deno.test("flags of transformers 4 get their present name", () => {
  const { training, given, notes } = parse(
    ..."--warmup_ratio 0.1 --no_cuda --per_gpu_train_batch_size 2".split(" "),
    ..."--overwrite_output_dir --save_safetensors true".split(" "),
  );
  assert.equal(training.warmup_steps, 0.1);
  assert.equal(training.use_cpu, true);
  assert.equal(training.per_device_train_batch_size, 2);
  assert.ok(given.has("warmup_steps"));
  for (const old of Object.keys(TRAINING_MOVED)) assert.ok(!given.has(old));
  assert.deepEqual(notes, [
    "Names of transformers 4: --warmup_ratio is --warmup_steps, " +
    "--per_gpu_train_batch_size is --per_device_train_batch_size, " +
    "--no_cuda is --use_cpu",
  ]);
  assert.deepEqual(problems("--warmup_ratio", "0.1", "--warmup_steps", "9"), [
    "Cannot use --warmup_ratio with --warmup_steps: expected one of them",
  ]);
});

Deno.test("other spellings: --check_point, --dtype, and recipe.py's --checkpoint_activations", () => {
  const { finetune, training } = parse(
    ..."--check-point c --continue_training --dtype bfloat16".split(" "),
    "--checkpoint_activations",
  );
  assert.equal(finetune.checkpoint, "c");
  assert.equal(finetune.torch_dtype, "bfloat16");
  assert.equal(training.gradient_checkpointing, true);
});

Deno.test("choices that are not supported yet say which are", () => {
  assert.deepEqual(
    problems("--lr_scheduler_type", "polynomial", "--report_to", "wandb"),
    [
      'Cannot use --lr_scheduler_type "polynomial": not supported yet, ' +
      'expected one of "linear", "cosine", "constant", "constant_with_warmup"',
      'Cannot use --report_to "wandb": not supported yet, expected "none"',
    ],
  );
});

Deno.test("parseTrainArguments tells everything that is wrong at once", () => {
  assert.deepEqual(
    problems(
      ..."--lora_rnk 3 --lora_rank 1e3 --fsdp full_shard".split(" "),
      ..."--lora_dropout 1 --fp16 --bf16 --logging_steps 2.5".split(" "),
    ),
    [
      "argument --lora_rank/--lora-rank: invalid int value: '1e3'",
      "unrecognized arguments: --lora_rnk 3 (did you mean --lora_rank?)",
      "Cannot use --fsdp: not supported yet, a run uses one " +
      "device",
      "Cannot use --lora_dropout 1: expected 0 or more and less than 1",
      "Cannot use --logging_steps 2.5: " +
      "--logging_steps must be an integer if bigger than 1: 2.5",
      "Cannot use --fp16 with --bf16: " +
      "At most one of fp16 and bf16 can be True, but not both",
    ],
  );
});

Deno.test("parseTrainArguments checks ranges", () => {
  const cases: readonly [string, string][] = [
    [
      "--lora_rank 0",
      "Cannot use --lora_rank 0: `r` should be a positive integer value but " +
      "the value passed is 0",
    ],
    [
      "--per_device_train_batch_size 0",
      "Cannot use --per_device_train_batch_size 0: expected 1 or more",
    ],
    [
      "--gradient_accumulation_steps 0",
      "Cannot use --gradient_accumulation_steps 0: expected 1 or more",
    ],
    [
      "--learning_rate nan",
      "Cannot use --learning_rate NaN: expected 0 or more",
    ],
    ["--learning_rate=-1", "Cannot use --learning_rate -1: expected 0 or more"],
    ["--max_seq_length 0", "Cannot use --max_seq_length 0: expected 1 or more"],
    [
      "--logging_steps 0",
      "Cannot use --logging_steps 0: logging strategy steps requires " +
      "non-zero --logging_steps",
    ],
    [
      "--warmup_steps=-1",
      "Cannot use --warmup_steps -1: warmup_steps must be an integer or a " +
      "float, expected 0 or more",
    ],
    [
      "--warmup_ratio 1",
      "Cannot use --warmup_ratio 1: expected 0 or more and less than 1",
    ],
    [
      "--num_train_epochs 0",
      "Cannot use --num_train_epochs 0: expected more than 0, or --max_steps",
    ],
    ["--model_path=", 'Cannot use --model_path "": expected a path'],
    ["--output_dir=", 'Cannot use --output_dir "": expected a path'],
    ["--seed=-1", "Cannot use --seed -1: expected 0 to 4294967295"],
  ];
  for (const [line, expected] of cases) {
    assert.deepEqual(problems(...line.split(" ")), [expected], line);
  }
});

Deno.test("parseTrainArguments refuses settings that contradict each other", () => {
  const cases: readonly [string, string][] = [
    [
      "--continue_training",
      "Cannot use --continue_training: --checkpoint is not given, expected " +
      "the folder of an adapter",
    ],
    [
      "--checkpoint c",
      'Cannot use --checkpoint "c": it has no effect without ' +
      "--continue_training",
    ],
    [
      "--use_cpu --device cuda:0",
      'Cannot use --use_cpu with --device "cuda:0": expected one of them',
    ],
    [
      "--device gpu",
      'Cannot use --device "gpu": expected auto, cpu, cuda or cuda:N',
    ],
  ];
  for (const [line, expected] of cases) {
    assert.deepEqual(problems(...line.split(" ")), [expected], line);
  }
});

Deno.test("--help names the families of models that it is given", () => {
  const parsed = parseTrainArguments(["--help"], { families: ["Kea", "Kaka"] });
  if (!("help" in parsed)) assert.fail("expected help");
  assert.match(parsed.help.replace(/\s+/g, " "), /; families: Kea, Kaka \(/);
});

Deno.test("--help shows every supported flag under a heading with its default and names the others", () => {
  const parsed = parseTrainArguments(["--lora_rank", "x", "--help"]);
  if (!("help" in parsed)) assert.fail("expected help");
  // argparse breaks lines anywhere between words
  const help = parsed.help.replace(/\s+/g, " ");
  for (const name of Object.keys({ ...FINETUNE, ...TRAINING })) {
    assert.match(help, new RegExp(`--${name}[ ,]`), name);
  }
  assert.match(help, /Rank of the adapter matrices \(default: 8\)/);
  assert.match(
    help,
    /AdamW's epsilon, against division by zero \(default: 1e-8\)/,
  );
  assert.match(help, /Not supported yet: .*fsdp/);
  assert.doesNotMatch(help, /--fsdp/);
  // a setting that no section names would stand under its table's title
  assert.doesNotMatch(help, /Other settings|Other training settings/);
  assert.ok(parsed.help.split("\n").every((line) => line.length <= 80));
});

Deno.test("parseTrainArguments reads one or several files of rows and their weights, in flags and in files", () => {
  const read = (...flags: string[]): unknown => {
    const parsed = parseTrainArguments(flags, { folder: "/here" });
    assert(!("help" in parsed));
    const { dataset_path, dataset_weights } = parsed.finetune;
    return [dataset_path, dataset_weights];
  };
  assert.deepEqual(read("--dataset_path", "a b,c.jsonl"), [
    "/here/a b,c.jsonl",
    null,
  ]);
  const several = ["--dataset_path", "a.jsonl", "/b.jsonl"];
  assert.deepEqual(read(...several, "--dataset_weights", "2", "0.5"), [
    ["/here/a.jsonl", "/b.jsonl"],
    [2, 0.5],
  ]);
  assert.deepEqual(
    read(...several, "--dataset_weights", "2,0.5"),
    read(...several, "--dataset_weights", "2", "0.5"),
  );
  const file = Deno.makeTempFileSync({ suffix: ".yaml" });
  try {
    const from = (text: string): unknown => {
      Deno.writeTextFileSync(file, text);
      return read(file);
    };
    assert.deepEqual(
      from("dataset_path: [a.jsonl, b.jsonl]\ndataset_weights: [1, 3]"),
      [["a.jsonl", "b.jsonl"], [1, 3]],
    );
    assert.deepEqual(from("dataset_path: [a.jsonl]\ndataset_weights: 0.5"), [
      "a.jsonl",
      [0.5],
    ]);
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("parseTrainArguments refuses weights that do not fit the files", () => {
  const refused = (...flags: string[]): string[] => {
    try {
      parseTrainArguments(["--dataset_path", "a", "b", ...flags]);
    } catch (error) {
      return (error as Error).message.split("\n");
    }
    throw new Error("nothing was refused");
  };
  assert.deepEqual(refused("--dataset_weights", "1"), [
    "Cannot use --dataset_weights 1: expected a number for each of the 2 files of --dataset_path",
  ]);
  assert.deepEqual(refused("--dataset_weights", "0", "1"), [
    "Cannot use --dataset_weights 0 1: expected numbers above 0 and up to 1000",
  ]);
  assert.deepEqual(refused("--dataset_weights", "nan", "1001"), [
    "Cannot use --dataset_weights NaN 1001: expected numbers above 0 and up to 1000",
  ]);
  assert.deepEqual(refused("--dataset_path", "a", ""), [
    'Cannot use --dataset_path "": expected a path',
  ]);
});
