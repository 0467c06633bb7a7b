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
import {
  type PythonJson,
  writePythonJson,
} from "../../lib/formats/python_json.ts";
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
  const yaml = "lora_rnk: 4\nlora_rank: notint\nfsdp: full_shard\n" +
    "bf16: 'yes'\nseed: 1\nseed: 2\n";
  withFile("run.yml", yaml, (path) => {
    assert.deepEqual(problems(path), [
      `Cannot use "${path}" line 1: unknown key "lora_rnk" ` +
      "(did you mean lora_rank?)",
      `Cannot use "${path}" line 2: "lora_rank" is "notint", ` +
      "expected a whole number",
      `Cannot use "${path}" line 4: "bf16" is "yes", expected true or false`,
      `Cannot use "${path}" line 6: "seed" is given twice`,
      `Cannot use "fsdp" ("${path}" line 3): not supported yet, ` +
      "a run uses one device",
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
      `Cannot read "${path}": line 1: it holds an array, expected one object ` +
      "of settings",
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

/** The problems with a file of that name and content; its path is called F. */
function problemsIn(name: string, content: string): string[] {
  let found: string[] = [];
  withFile(name, content, (path) => {
    found = problems(path).map((line) => line.replaceAll(path, "F"));
  });
  return found;
}

Deno.test("a settings file that is empty, a list, nested or no text is told in one sentence", () => {
  const cases: readonly [string, string, string][] = [
    ["a.json", "", 'Cannot read "F": line 1: it is empty, expected settings'],
    [
      "a.yaml",
      " \n",
      'Cannot read "F": line 1: it is empty, expected settings',
    ],
    [
      "a.yaml",
      "# x\n",
      'Cannot read "F": line 1: it is empty, expected settings',
    ],
    [
      "a.yaml",
      "- seed\n",
      'Cannot read "F": line 1: it holds a list, expected one object of settings',
    ],
    [
      "a.yaml",
      "seed: 1\nlora:\n  rank: 8\n",
      'Cannot use "F" line 2: unknown key "lora" (settings are not nested)',
    ],
    [
      "a.yaml",
      "seed: 1\n---\nseed: 2\n",
      'Cannot read "F": line 2: expected one document, a second one begins here',
    ],
    [
      "a.yaml",
      "seed: 1\n? [a]\n: 2\n",
      'Cannot read "F": line 2: expected a name before the colon',
    ],
    [
      "a.yaml",
      "seed: *s\n",
      'Cannot read "F": line 1: Unresolved alias (the anchor must be set ' +
      "before the alias): s",
    ],
    [
      "a.json",
      '{"bf16": True}',
      'Cannot read "F": line 1: invalid symbol "True"',
    ],
    [
      "a.json",
      '{"seed": 1e999}',
      'Cannot use "F" line 1: "seed" is Infinity, expected a whole number',
    ],
  ];
  for (const [name, content, expected] of cases) {
    assert.deepEqual(problemsIn(name, content), [expected], content);
  }
});

Deno.test("a settings file's keys and values cannot steer the terminal they are shown on", () => {
  const json = '{"lo\\u001b[31mra": 1, "lora_rank": "\\u001b[2J"}';
  assert.deepEqual(problemsIn("a.json", json), [
    'Cannot use "F" line 1: unknown key "lo\\u001b[31mra"',
    'Cannot use "F" line 1: "lora_rank" is "\\u001b[2J", expected a whole ' +
    "number",
  ]);
});

Deno.test("a settings file that would cost a parser its stack or minutes is refused at once", () => {
  const deep = 'Cannot read "F": line 1: it is nested more than 10 levels ' +
    "deep, settings are not nested";
  const cases: readonly [string, string][] = [
    ["a.json", '{"a":'.repeat(13_000)],
    ["a.json", "[".repeat(60_000)],
    ["a.yaml", "{".repeat(1000)],
    ["a.yaml", "? ".repeat(400)],
    ["a.yaml", "- ".repeat(500)],
    ["a.yaml", ": ?   , ".repeat(120)],
    ["a.yaml", "[&x ".repeat(250)],
  ];
  const started = performance.now();
  for (const [name, content] of cases) {
    assert.deepEqual(problemsIn(name, content), [deep], content.slice(0, 20));
  }
  const names = "abcdefghij";
  const bomb = [...names].map((name, at) =>
    `${name}: &${name} [${
      Array(9).fill(at === 0 ? "x" : `*${names[at - 1]}`).join()
    }]\n`
  ).join("");
  assert.match(problemsIn("a.yaml", bomb).join(), /Excessive alias count/);
  assert.ok(performance.now() - started < 5000);
  // many values side by side are not deep
  withFile(
    "a.yaml",
    `rank_pattern: {${
      Array.from({ length: 50 }, (_, at) => `m${at}: ${at + 1}`).join(", ")
    }}`,
    (path) => {
      const { rank_pattern } = parse(path).finetune;
      assert.equal(Object.keys(rank_pattern).length, 50);
    },
  );
});

Deno.test("training_args.json gives the same settings back, whatever the run was told", () => {
  const cases = [
    "--max_steps 5 --num_train_epochs inf",
    "--logging_strategy no --logging_steps nan",
    "--save_strategy no --save_steps=-inf",
    "--weight_decay=-0.0 --adam_epsilon 1e-400",
    "--target_modules all-linear --exclude_modules ^a$",
    '--rank_pattern {"q_proj":3} --bf16 --warmup_ratio 0.1 --no_cuda',
    "--layers_to_transform 0 2 --layers_pattern layers --sample_question none",
  ];
  for (const line of cases) {
    const first = parse(...line.split(" "));
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/training_args.json`;
    writePythonJson(path, trainingArgsJson(first) as PythonJson);
    const second = parse(path);
    assert.deepEqual(second.finetune, first.finetune, line);
    assert.deepEqual(second.training, first.training, line);
    Deno.removeSync(folder, { recursive: true });
  }
  const resumed = parse("--resume_from_checkpoint", "output/checkpoint-2");
  assert.equal(trainingArgsJson(resumed)["resume_from_checkpoint"], null);
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

Deno.test("a settings file's aliases and tags stand for few and plain values", () => {
  const cases: readonly [string, string][] = [
    [
      `a: &a [${"1,".repeat(300)}]\n${"b: *a\n".repeat(101)}`,
      "line 102: expected at most 100 aliases",
    ],
    ["a: &a [*a]", "line 1: expected plain values in it"],
    ["a: !!set {x}", "line 1: expected plain values in it"],
    ["a: !!binary AAAA", "line 1: expected plain values in it"],
    [
      "a: !!js/function x",
      "line 1: Unresolved tag: tag:yaml.org,2002:js/function",
    ],
  ];
  for (const [content, reason] of cases) {
    assert.deepEqual(problemsIn("a.yaml", content), [
      `Cannot read "F": ${reason}`,
    ]);
  }
});

Deno.test("a settings file that ends in an unclosed comment ends the reading too", () => {
  for (const content of ["/*", "*a/*", '{"seed": 1} /* x', "/", '"']) {
    assert.match(problemsIn("a.jsonc", content).join(), /^Cannot read "F"/);
  }
});

Deno.test("a settings file of more than 64 KiB is refused before it is read", () => {
  for (const name of ["a.yaml", "a.json"]) {
    assert.deepEqual(problemsIn(name, "'".repeat(65537)), [
      'Cannot read "F": it has 65537 bytes, expected at most 65536',
    ]);
  }
});

Deno.test("none in a settings file empties optional settings, as on the command line", () => {
  withFile(
    "a.yaml",
    "sample_question: none\nsave_total_limit: None\n",
    (path) => {
      assert.equal(parse(path).finetune.sample_question, null);
      assert.equal(parse(path).training.save_total_limit, null);
    },
  );
});

Deno.test("a flag wins over a settings file, also where one of them has the old name", () => {
  withFile("new.yaml", "warmup_steps: 15\n", (path) => {
    const { training } = parse(path, "--warmup_ratio", "0.1");
    assert.equal(training.warmup_steps, 0.1);
  });
  withFile("old.yaml", "warmup_ratio: 0.1\n", (path) => {
    const { training } = parse(path, "--warmup_steps", "15");
    assert.equal(training.warmup_steps, 15);
  });
  withFile("both.yaml", "warmup_ratio: 0.1\nwarmup_steps: 15\n", (path) => {
    assert.deepEqual(problems(path), [
      "Cannot use --warmup_ratio with --warmup_steps: expected one of them",
    ]);
  });
});

Deno.test("parseTrainArguments() combines the example's settings with flags that name neither model nor rows", () => {
  const steps = (...args: string[]): readonly [number, string] => {
    const parsed = parseTrainArguments(args, { example: "train.jsonc" });
    assert.ok(!("help" in parsed));
    return [parsed.training.max_steps, parsed.notes[0] ?? ""];
  };
  assert.deepEqual(steps(), [400, "Settings from train.jsonc"]);
  assert.deepEqual(steps("--seed", "1"), [
    400,
    "Settings from train.jsonc and the flags",
  ]);
  const own = "Settings from the flags and the defaults; train.jsonc is only " +
    "read when neither a model nor rows are named";
  assert.deepEqual(steps("--model_path", "m"), [-1, own]);
  assert.deepEqual(steps("--dataset_path", "r.jsonl"), [-1, own]);
  // another tool's name for the model counts too: the example is not read
  withFile("example.json", '{"layers_pattern": "layers"}', (example) => {
    assert.throws(() => parseTrainArguments(["--model=m"], { example }), {
      message: "Cannot use --model: did you mean --model_path?",
    });
  });
});
