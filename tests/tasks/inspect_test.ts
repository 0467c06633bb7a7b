/**
 * `deno task inspect` as a user runs it: the real command in a process of its own,
 * with its own permissions.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  AutoTokenizer,
  getPeftModel,
  loadDataset,
} from "../../mod.ts";
import { inFolder } from "../training/tiny_run.ts";
import { type Run, runOf, taskCommand } from "./task_process.ts";

const MODEL = "models/tiny-atom";
const ROWS = "dataset/huanhuan.jsonl";

function run(
  task: string,
  flags: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Run {
  return runOf(taskCommand(task, flags, env).outputSync());
}

function inspect(...flags: string[]): Run {
  return run("inspect", flags);
}

/** A copy of the model without its weights, in `folder`. */
function withoutWeights(folder: string): string[] {
  for (const { name, isFile } of Deno.readDirSync(MODEL)) {
    if (!isFile || name === "model.safetensors") continue;
    Deno.copyFileSync(`${MODEL}/${name}`, `${folder}/${name}`);
  }
  return ["train.jsonc", "--model_path", folder];
}

Deno.test("inspect shows rows, targets, steps and memory of a model folder without weights, and writes nothing", async () => {
  await inFolder((folder) => {
    const flags = withoutWeights(folder);
    const before = [...Deno.readDirSync(folder)].length;
    const { code, out, error } = inspect(
      ...flags,
      ...["--output_dir", `${folder}/output`, "--rows", "1"],
    );
    assert.equal(error, "");
    assert.equal(code, 0);
    assert.match(out, /4 x q_proj, 4 x k_proj, .* 4 x down_proj$/m);
    assert.match(
      out,
      /400 steps of 16 rows; 26 make an epoch, so 15\.4 epochs in all/,
    );
    assert.match(out, /21,543 tokens an epoch, 7,708 of them trained/);
    // 1,401,984 float32 numbers of the base, the same in bfloat16 in its file, and
    // 77,824 of the adapter four times
    assert.match(out, /^ +8\.4 MB {2}base model in float32, and its files$/m);
    assert.match(out, /^ +1\.2 MB {2}adapter in float32, its gradients and /m);
    assert.equal([...Deno.readDirSync(folder)].length, before);
    assert.equal(run("train", flags).code, 1);
    const measured = inspect(...flags, "--measure");
    assert.equal(measured.code, 1);
    assert.match(
      measured.error,
      /^Cannot load weights from .*: it has none of /,
    );
    return Promise.resolve();
  });
});

Deno.test("inspect counts parameters as the adapter has them, without weights", () => {
  const { out } = inspect("--lora_rank", "4", "--rows", "0");
  using base = AutoModelForCausalLM.fromPretrained(MODEL);
  using model = getPeftModel(base, { r: 4, target_modules: "all-linear" });
  assert.ok(out.includes(model.trainableParametersLine()), out);
});

Deno.test("inspect puts trained tokens in brackets where there is no terminal, and its text is the row's", async () => {
  const { out } = inspect("--row_numbers", "2", "401");
  const tokenizer = await AutoTokenizer.fromPretrained(MODEL);
  const { features } = await loadDataset(ROWS, {
    tokenizer,
    config: { eos_token_id: 2 },
    maxSeqLength: 256,
  });
  assert.ok(!out.includes("\u001b"));
  const shown = [...out.matchAll(/^ {2}(\d+): (\d+) tokens\n {4}(.*)$/gm)];
  assert.deepEqual(shown.map(([, number]) => number), ["2", "401"]);
  for (const [, number, length, text = ""] of shown) {
    const { input_ids, labels } = features[Number(number) - 1]!;
    assert.equal(Number(length), input_ids.length);
    const whole = tokenizer.decode(input_ids).replaceAll("\n", "\\n");
    assert.equal(text.replaceAll(/\[\[|\]\]/g, ""), whole);
    const trained = tokenizer.decode(
      input_ids.filter((_, at) => labels[at] !== -100),
    );
    assert.deepEqual(/\[\[(.*)\]\]$/.exec(text)?.[1], trained);
  }
});

Deno.test("inspect tells rows that begin with BOS twice, and rows that lose their end", () => {
  const { out } = inspect("--rows", "1", "--max_seq_length", "50");
  assert.match(
    out,
    /BOS <s>: 401 of 401 rows begin with it twice, as the recipe spells them/,
  );
  const [, without = ""] =
    /EOS <\/s>: (\d+) of 401 rows end without it/.exec(out) ?? [];
  const [, cut = ""] =
    /(\d+) of 401 rows are longer than max_seq_length 50 and are cut/
      .exec(out) ?? [];
  assert.ok(Number(cut) > 0);
  assert.equal(without, cut);
});

Deno.test("inspect's histogram counts every row once, by its length before cutting", async () => {
  const { features } = await loadDataset(ROWS, {
    tokenizer: await AutoTokenizer.fromPretrained(MODEL),
    config: { eos_token_id: 2 },
    maxSeqLength: 256,
  });
  const { out } = inspect("--rows", "0", "--max_seq_length", "48");
  const bins = [...out.matchAll(/^ +(\d+)-(\d+) +(\d+)(?: ▇+)?$/gm)]
    .map(([, ...numbers]) => numbers.map(Number));
  assert.ok(bins.length > 1);
  for (const [from = 0, to = 0, rows] of bins) {
    const inside = features.filter(({ input_ids: { length } }) =>
      from <= length && length <= to
    );
    assert.equal(rows, inside.length, `${from}-${to}`);
  }
  assert.equal(
    bins.reduce((sum, [, , rows = 0]) => sum + rows, 0),
    features.length,
  );
});

Deno.test("inspect says which rows skip_overlength leaves out, and numbers rows as the file does", () => {
  const flags = ["--max_seq_length", "45", "--row_numbers", "1", "2", "3"];
  const { out } = inspect(...flags, "--skip_overlength");
  assert.match(out, /^ {2}1: 43 tokens\n.*你是谁/m);
  assert.match(out, /^ {2}2: 49 tokens, left out by skip_overlength$/m);
  assert.match(inspect(...flags).out, /^ {2}2: 49 tokens, cut to 45$/m);
});

Deno.test("inspect shows the text of a row behind rows that skip_overlength leaves out", async () => {
  const { features } = await loadDataset(ROWS, {
    tokenizer: await AutoTokenizer.fromPretrained(MODEL),
    config: { eos_token_id: 2 },
    maxSeqLength: 256,
  });
  const fits = features.flatMap(({ input_ids }, at) =>
    input_ids.length <= 45 ? [String(at + 1)] : []
  );
  assert.ok(fits.length > 1 && Number(fits.at(-1)) > 2 * fits.length);
  const rowsOf = (...flags: string[]): string[] =>
    [
      ...inspect("--row_numbers", ...fits, ...flags).out.matchAll(
        /^ {2}\d+: \d+ tokens\n {4}.*$/gm,
      ),
    ].map(([text]) => text);
  const whole = rowsOf();
  assert.equal(whole.length, fits.length);
  assert.deepEqual(
    rowsOf("--max_seq_length", "45", "--skip_overlength"),
    whole,
  );
});

Deno.test("inspect says whether rows are padded, and why", async () => {
  const said = (...flags: string[]): string | undefined =>
    inspect(...flags, "--rows", "0").out.match(/^ {2}rows are .*padded.*$/m)
      ?.[0]
      .trim();
  assert.equal(
    said(),
    "rows are not padded, and what rows of a batch have in common is computed once",
  );
  assert.equal(
    said("--shared_prefix", "false"),
    "rows are padded to one length, as --shared_prefix false asks",
  );
  await inFolder((folder) => {
    const flags = withoutWeights(folder);
    const config = JSON.parse(Deno.readTextFileSync(`${folder}/config.json`));
    config.attention_dropout = 0.1;
    Deno.writeTextFileSync(`${folder}/config.json`, JSON.stringify(config));
    assert.equal(
      said(...flags),
      "rows are padded to one length, since the model drops attention weights",
    );
    return Promise.resolve();
  });
});

Deno.test("inspect warns of flags that the adapter of --checkpoint overrules, as train does", async () => {
  await inFolder((folder) => {
    using base = AutoModelForCausalLM.fromPretrained(MODEL);
    using model = getPeftModel(base, { r: 4, target_modules: "all-linear" });
    model.savePretrained(`${folder}/adapter`);
    const { error, code, out } = inspect(
      ...["--rows", "0", "--continue_training", "--lora_rank", "8"],
      ...["--checkpoint", `${folder}/adapter`],
    );
    assert.equal(code, 0, error);
    assert.match(
      error,
      /--lora_rank 8 has no effect: the adapter in ".*adapter" has 4/,
    );
    assert.ok(out.includes(model.trainableParametersLine()), out);
    return Promise.resolve();
  });
});

Deno.test("inspect gives train's own sentences for wrong flags, folders, rows and targets", async () => {
  await inFolder((folder) => {
    Deno.writeTextFileSync(
      `${folder}/bad.jsonl`,
      '{"instruction": 1}\nno json\n',
    );
    const out = ["--output_dir", `${folder}/output`];
    for (
      const flags of [
        ["--lora_rnk", "4"],
        ["--lr", "1", "--max_steps", "x"],
        ["--model_path", `${folder}/missing`],
        ["--model_path", folder],
        ["--dataset_path", `${folder}/bad.jsonl`],
        ["train.jsonc", "--target_modules", "c_attn"],
        ["train.jsonc", "--max_seq_length", "8"],
        ["train.jsonc", "--resume_from_checkpoint", `${folder}/none`],
      ]
    ) {
      const here = inspect(...flags, ...out);
      const there = run("train", [...flags, ...out]);
      assert.notEqual(there.code, 0, flags.join(" "));
      assert.equal(here.code, there.code, flags.join(" "));
      assert.equal(
        here.error.replaceAll("deno task inspect", "deno task train"),
        there.error,
      );
    }
    return Promise.resolve();
  });
});

Deno.test("inspect refuses its own flags' wrong values together with others, and rows that are not there", () => {
  const wrong = inspect(
    "--rows",
    "-1",
    "--row_numbers",
    "0",
    "--max_steps",
    "x",
  );
  assert.equal(wrong.code, 2);
  assert.match(wrong.error, /max_steps/);
  assert.match(wrong.error, /Cannot use --rows -1: expected 0 or more/);
  assert.match(wrong.error, /Cannot use --row_numbers 0: expected 1 or more/);
  const beyond = inspect("--row_numbers", "402");
  assert.equal(beyond.code, 1);
  assert.match(
    beyond.error,
    /^Cannot show row 402 of "dataset\/huanhuan\.jsonl": it has 401 rows, expected/,
  );
});

Deno.test("inspect --help lists its own flags after train's, at most 80 columns wide", () => {
  const { out, code } = inspect("--help");
  assert.equal(code, 0);
  for (const flag of ["--rows", "--row_numbers", "--measure", "--lora_rank"]) {
    assert.ok(out.includes(flag), flag);
  }
  assert.ok(out.includes("usage: deno task inspect"), out.slice(0, 200));
  assert.deepEqual(out.split("\n").filter((line) => line.length > 80), []);
});

Deno.test("inspect --measure times three steps and says the time of an epoch", () => {
  const { out, error, code } = inspect("--rows", "0", "--measure");
  assert.equal(error, "");
  assert.equal(code, 0);
  const [, seconds, speed = ""] =
    /3 steps on cpu took ([\d.]+) s, ([\d,]+) tokens\/s/i.exec(out) ?? [];
  assert.ok(Number(seconds) > 0, out);
  const [, told] = /an epoch takes about ([\d.]+) s/.exec(out) ?? [];
  const wanted = 21543 / Number(speed.replaceAll(",", ""));
  assert.ok(Math.abs(Number(told) - wanted) < 0.1 + wanted / 100, out);
});

Deno.test("inspect --measure names the command that fetches libtorch where there is none", async () => {
  await inFolder((folder) => {
    const { error, code } = run("inspect", ["--rows", "0", "--measure"], {
      LIBTORCH: "",
      LORIKEET_CACHE: folder,
      PATH: folder,
    });
    assert.equal(code, 1);
    assert.equal(
      error,
      "Cannot time steps: libtorch is not on this machine yet, deno task setup " +
        "fetches it\n",
    );
    return Promise.resolve();
  });
});

Deno.test("inspect's memory of a step grows with dropout, shrinks with bf16 and one row at a time, and follows checkpointing", () => {
  const told = (...flags: string[]): { step: number; peaks: number[] } => {
    const { out } = inspect("train.jsonc", "--rows", "0", ...flags);
    const [, step = ""] = /([\d,.]+) MB {2}a step of up to/.exec(out) ?? [];
    const peaks = [...out.matchAll(/about ([\d.]+) GB/g)].map(([, it]) =>
      Number(it)
    );
    return { step: Number(step.replaceAll(",", "")), peaks };
  };
  const plain = told("--lora_dropout", "0");
  assert.ok(told("--lora_dropout", "0.1").step > plain.step);
  assert.ok(told("--lora_dropout", "0", "--bf16").step < plain.step);
  const size = ["--per_device_train_batch_size", "1"];
  assert.ok(told("--lora_dropout", "0", ...size).step < plain.step / 2);
  const padded = told("--lora_dropout", "0", "--shared_prefix", "false");
  assert.ok(padded.step > plain.step);
  const recomputed = told("--lora_dropout", "0", "--gradient_checkpointing");
  assert.notEqual(recomputed.step, plain.step);
  // more than Deno and libtorch take at the least
  assert.ok(plain.peaks[0]! > 0.2, `${plain.peaks}`);
});

Deno.test("inspect tells no memory of activations for CUDA", () => {
  const { out } = inspect("--rows", "0", "--device", "cuda");
  assert.match(out, /only a CPU's memory is estimated/);
});
