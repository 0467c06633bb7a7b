/**
 * Every field of TrainingArguments and every flag that transformers 4 had is in
 * exactly one state: it works, is translated, changes nothing and is told, or is
 * refused with its reason. No hint names a flag that is refused.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { isUsable } from "../../lib/arguments/help_layout.ts";
import {
  OTHER_CHAT_NAMES,
  OTHER_TRAIN_NAMES,
  type OtherNames,
} from "../../lib/arguments/other_names.ts";
import {
  CHAT,
  parseChatArguments,
} from "../../lib/arguments/chat_arguments.ts";
import {
  LORA_FLAGS,
  LORA_SETTINGS,
} from "../../lib/arguments/lora_settings.ts";
import type { Setting, SettingsTable } from "../../lib/arguments/setting.ts";
import {
  FINETUNE,
  LORA_REFUSED_FLAGS,
  LORA_WITHOUT_EFFECT,
  OTHERS_WITHOUT_EFFECT,
  REMOVED_WITHOUT_EFFECT,
  TRAINING,
  TRAINING_MOVED,
  TRAINING_REFUSED,
  TRAINING_REMOVED,
  TRAINING_WITHOUT_EFFECT,
} from "../../lib/arguments/settings.ts";
import {
  parseTrainArguments,
  type TrainArguments,
} from "../../lib/arguments/train_arguments.ts";
import { InputError } from "../../lib/input_error.ts";

const FIELDS: Readonly<Record<string, unknown>> = JSON.parse(
  Deno.readTextFileSync(
    new URL("../fixtures/arguments/training_fields.json", import.meta.url),
  ),
);

/** Flags of transformers 4.57 and before that 5.18 has no more. */
const REMOVED = "overwrite_output_dir per_gpu_train_batch_size " +
  "per_gpu_eval_batch_size warmup_ratio logging_dir group_by_length " +
  "save_safetensors no_cuda use_mps_device include_tokens_per_second " +
  "include_inputs_for_metrics fp16_backend half_precision_backend " +
  "fp16_opt_level adafactor fsdp_min_num_params " +
  "fsdp_transformer_layer_cls_to_wrap evaluation_strategy jit_mode_eval " +
  "torchdynamo ray_scope mp_parameters past_index tpu_num_cores " +
  "tpu_metrics_debug use_legacy_prediction_loop push_to_hub_model_id " +
  "push_to_hub_organization push_to_hub_token _n_gpu";

const WORKING: SettingsTable = { ...FINETUNE, ...TRAINING };
const IDLE: SettingsTable = {
  ...LORA_WITHOUT_EFFECT,
  ...TRAINING_WITHOUT_EFFECT,
  ...REMOVED_WITHOUT_EFFECT,
  ...OTHERS_WITHOUT_EFFECT,
};
const REFUSED: SettingsTable = { ...TRAINING_REFUSED, ...TRAINING_REMOVED };

function parse(...args: string[]): TrainArguments {
  const parsed = parseTrainArguments(args);
  assert.ok(!("help" in parsed), "unexpected help");
  return parsed;
}

function problems(parseArgs: () => unknown): string[] {
  try {
    parseArgs();
  } catch (error) {
    assert.ok(error instanceof InputError, String(error));
    assert.equal(error.exitCode, 2);
    return error.message.split("\n");
  }
  assert.fail("expected problems");
}

/** The command line that gives a setting another value than its default. */
function otherwise(name: string, { kind, default: usual }: Setting): string {
  const isSwitch = kind === "bool" || typeof usual === "boolean";
  const value = isSwitch
    ? String(usual !== true)
    : kind === "int" || kind === "float"
    ? "7"
    : "other";
  return `--${name}=${value}`;
}

Deno.test("each of TrainingArguments' 112 fields and the 30 removed flags is in exactly one state", () => {
  const states: readonly SettingsTable[] = [
    TRAINING,
    TRAINING_MOVED,
    TRAINING_WITHOUT_EFFECT,
    REMOVED_WITHOUT_EFFECT,
    TRAINING_REFUSED,
    TRAINING_REMOVED,
  ];
  const names = [...Object.keys(FIELDS), ...REMOVED.split(" ")];
  assert.equal(names.length, 112 + 30);
  for (const name of names) {
    const found = states.filter((table) => Object.hasOwn(table, name));
    assert.equal(found.length, 1, name);
  }
  const all = states.flatMap((table) => Object.keys(table));
  assert.deepEqual(all.filter((name) => !names.includes(name)), []);
});

/** LoraConfig's fields in peft 0.21; `runtime_config` is never written. */
const LORA_FIELDS = "task_type peft_type auto_mapping peft_version " +
  "base_model_name_or_path revision inference_mode r target_modules " +
  "exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora " +
  "modules_to_save init_lora_weights layers_to_transform layers_pattern " +
  "rank_pattern alpha_pattern megatron_config megatron_core " +
  "trainable_token_indices loftq_config eva_config corda_config lora_ga_config " +
  "use_dora velora_config alora_invocation_tokens use_qalora qalora_group_size " +
  "monteclora_config layer_replication lora_bias target_parameters use_bdlora " +
  "arrow_config kasa_config ensure_weight_tying";

Deno.test("each of LoraConfig's fields is in exactly one state: it works, changes nothing, is refused, or is written by peft", () => {
  const names = LORA_FIELDS.split(" ");
  assert.deepEqual(names.toSorted(), Object.keys(LORA_SETTINGS).toSorted());
  const refused: string[] = [];
  const idle: string[] = [];
  const works: string[] = [];
  for (const name of names as (keyof typeof LORA_SETTINGS)[]) {
    const row: Setting & { readonly flag?: string | null } =
      LORA_SETTINGS[name];
    const flag = row.flag === undefined ? name : row.flag;
    const states = [LORA_FLAGS, LORA_REFUSED_FLAGS, LORA_WITHOUT_EFFECT]
      .filter((table) => flag !== null && Object.hasOwn(table, flag));
    assert.equal(states.length, flag === null ? 0 : 1, name);
    if (states[0] === LORA_REFUSED_FLAGS) refused.push(name);
    if (states[0] === LORA_WITHOUT_EFFECT) idle.push(name);
    if (states[0] === LORA_FLAGS) works.push(name);
  }
  assert.deepEqual(idle, [
    "fan_in_fan_out",
    "megatron_config",
    "megatron_core",
    "qalora_group_size",
  ]);
  assert.deepEqual(refused, [
    "task_type",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "velora_config",
    "alora_invocation_tokens",
    "use_qalora",
    "monteclora_config",
    "layer_replication",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
  ]);
  assert.equal(works.length, 18);
});

Deno.test("the tables have the defaults of transformers' TrainingArguments", () => {
  const ours: SettingsTable = { ...WORKING, ...IDLE, ...REFUSED };
  const different = Object.entries(FIELDS)
    .filter(([name, value]) =>
      JSON.stringify(ours[name]?.default) !== JSON.stringify(value)
    )
    .map(([name]) => name);
  assert.deepEqual(different, [
    "output_dir",
    "include_num_input_tokens_seen",
    "debug",
  ]);
});

Deno.test("a flag that changes nothing is accepted, and all of them are told in one line", () => {
  const rows = Object.entries(IDLE);
  const { notes, training } = parse(
    ...rows.map(([name, row]) => otherwise(name, row)),
  );
  assert.deepEqual(notes, [
    `Without effect here: ${rows.map(([name]) => `--${name}`).join(", ")}`,
  ]);
  assert.deepEqual(training, parse().training);
  assert.deepEqual(
    parse("--tf32", "true", "--full_determinism").onlyOnCpu,
    ["tf32", "full_determinism"],
  );
  assert.deepEqual(parse("--tf32", "false").onlyOnCpu, []);
});

Deno.test("a flag that changes nothing is not told at its default, and none needs a type in a file", () => {
  const defaults = ["--log_level", "passive", "--skip_memory_metrics", "true"];
  assert.deepEqual(parse(...defaults, "--push_to_hub", "false").notes, []);
  const file = Deno.makeTempFileSync({ suffix: ".yaml" });
  Deno.writeTextFileSync(
    file,
    "gradient_checkpointing_kwargs:\n  use_reentrant: false\n" +
      "include_num_input_tokens_seen: all\nlr_scheduler_kwargs: {}\n",
  );
  assert.deepEqual(parse(file).notes, [
    "Without effect here: --gradient_checkpointing_kwargs, " +
    "--include_num_input_tokens_seen",
  ]);
  Deno.removeSync(file);
});

Deno.test("parseTrainArguments refuses every unsupported setting by name with its reason, all at once", () => {
  const rows = Object.entries(
    { ...REFUSED, ...LORA_REFUSED_FLAGS } as SettingsTable,
  );
  const found = problems(() =>
    parse(...rows.map(([name, row]) => otherwise(name, row)))
  );
  for (const [name, { kind }] of rows) {
    const starts = kind === "ints" || kind === "choice"
      ? `argument --${name}`
      : `Cannot use --${name}: not supported yet`;
    assert.ok(found.some((line) => line.startsWith(starts)), name);
  }
  assert.equal(found.length, rows.length);
  for (const [name, { kind }] of rows) {
    if (kind === "ints" || kind === "choice") continue;
    const line = found.find((each) => each.startsWith(`Cannot use --${name}:`));
    assert.match(line ?? "", /not supported yet, [a-z]/, name);
  }
});

Deno.test("parseTrainArguments accepts unsupported settings at their default", () => {
  const rows = Object.entries(
    { ...REFUSED, ...LORA_REFUSED_FLAGS } as SettingsTable,
  );
  const { notes } = parse(
    ...rows.flatMap(([name, { default: usual }]) =>
      Array.isArray(usual) ? [] : [`--${name}=${usual ?? "none"}`]
    ),
  );
  assert.deepEqual(notes, []);
});

/** What the answers to wrong flags name after "did you mean". */
function hints(lines: readonly string[]): string[] {
  return lines.flatMap((line) =>
    [...line.matchAll(/did you mean --(\w+)\?/g)].map(([, name = ""]) => name)
  );
}

for (
  const [command, otherNames, table, read] of [
    ["train", OTHER_TRAIN_NAMES, WORKING, parseTrainArguments],
    ["chat", OTHER_CHAT_NAMES, CHAT as SettingsTable, parseChatArguments],
  ] as const satisfies [string, OtherNames, SettingsTable, unknown][]
) {
  Deno.test(`${command} answers names of other tools with the name here or a reason`, () => {
    for (const [name, other] of Object.entries(otherNames)) {
      assert.ok(!(name in table), `${name} is a setting`);
      if ("sameAs" in other) {
        assert.ok(other.sameAs in table, name);
        continue;
      }
      for (const args of [[`--${name}`, "1"], [`--${name}=1`]]) {
        const found = problems(() => read(args));
        assert.equal(found.length, 1, found.join());
        const [line = ""] = found;
        assert.ok(line.startsWith(`Cannot use --${name}: `), line);
        if ("here" in other) assert.deepEqual(hints(found), [other.here]);
      }
    }
  });

  Deno.test(`${command} never hints at a flag that is refused or has no effect`, () => {
    const usable = (name: string): boolean =>
      name in table && isUsable(table[name]!) || name in TRAINING_MOVED ||
      name === "check_point" || name === "dtype";
    const named = Object.values(otherNames).flatMap((other) =>
      "here" in other ? [other.here] : []
    );
    const everything = { ...table, ...IDLE, ...REFUSED, ...LORA_REFUSED_FLAGS };
    // every name there is, with a letter too many, too few and exchanged
    const typos = Object.keys(everything).flatMap((name) => [
      `--${name}x=1`,
      `--x${name.slice(1)}=1`,
      `--${name.slice(0, 2)}${name.slice(3)}=1`,
    ]);
    const told = typos.flatMap((typo) => {
      try {
        read([typo]);
        return [];
      } catch (error) {
        return hints([(error as Error).message]);
      }
    });
    assert.ok(told.length > 30);
    assert.deepEqual([...named, ...told].filter((name) => !usable(name)), []);
  });
}

Deno.test("an ambiguous prefix names working flags only", () => {
  assert.deepEqual(problems(() => parse("--re", "1")), [
    "ambiguous option: --re could match --remove_unused_columns, " +
    "--report_to, --resume_from_checkpoint",
  ]);
  assert.deepEqual(problems(() => parse("--hub", "1")), [
    "ambiguous option: --hub, expected its full name",
  ]);
});

Deno.test("LoraConfig's r, and lora_r, give the rank on the command line and in a file", () => {
  assert.equal(parse("--r", "3").finetune.lora_rank, 3);
  assert.equal(parse("--lora-r=5").finetune.lora_rank, 5);
  const file = Deno.makeTempFileSync({ suffix: ".json" });
  Deno.writeTextFileSync(file, '{"r": 6, "lr": 1e-4, "packing": true}');
  assert.deepEqual(problems(() => parse(file)), [
    `Cannot use "lr" ("${file}" line 1): did you mean learning_rate?`,
    `Cannot use "packing" ("${file}" line 1): not supported yet, each row ` +
    "is a sequence of its own",
  ]);
  Deno.writeTextFileSync(file, '{"r": 6}');
  assert.equal(parse(file).finetune.lora_rank, 6);
  Deno.removeSync(file);
});

Deno.test("other tools' flags are answered together with everything else that is wrong", () => {
  assert.deepEqual(
    problems(() => parse("--lr", "-1e-3", "--lora_rank", "x", "--model", "m")),
    [
      "Cannot use --lr: did you mean --learning_rate?",
      "Cannot use --model: did you mean --model_path?",
      "argument --lora_rank/--lora-rank: invalid int value: 'x'",
    ],
  );
});

Deno.test("--gradient_checkpointing is true, false or auto", () => {
  const read = (...args: string[]): unknown =>
    parse(...args).training.gradient_checkpointing;
  assert.equal(read(), false);
  assert.equal(read("--gradient_checkpointing"), true);
  assert.equal(read("--gradient_checkpointing", "no"), false);
  assert.equal(read("--gradient_checkpointing", "auto"), "auto");
  assert.throws(
    () => read("--gradient_checkpointing", "some"),
    /got some but expected one of yes\/no, true\/false, t\/f, y\/n, 1\/0, auto/,
  );
  assert.throws(() => read("--bf16", "auto"), /got auto/);
});
