/**
 * `deno task train` as a user runs it: the real command in a process of its own.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { loadDataset } from "../../lib/data/mod.ts";
import { chatPrompt } from "../../lib/generation/mod.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { readSafetensorsHeader } from "../../lib/formats/safetensors_header.ts";
import { ENVIRONMENT, type Run, runOf, taskCommand } from "./task_process.ts";

const SMALL = "train.jsonc --per_device_train_batch_size 4 --logging_steps 1 " +
  "--sample_question none";

async function train(...flags: string[]): Promise<Run> {
  return runOf(await taskCommand("train", flags).output());
}

/** Runs a training and calls `act` when its output matches for the first time. */
async function whenShown(
  flags: readonly string[],
  on: {
    readonly shows: RegExp;
    readonly act: (process: Deno.ChildProcess) => Promise<void> | void;
  },
): Promise<{ code: number; out: string }> {
  const process = taskCommand("train", flags).spawn();
  const decoder = new TextDecoder();
  let out = "";
  let done = false;
  for await (const chunk of process.stdout) {
    out += decoder.decode(chunk, { stream: true });
    if (done || !on.shows.test(out)) continue;
    done = true;
    await on.act(process);
  }
  await new Response(process.stderr).text();
  return { code: (await process.status).code, out };
}

/** Runs a training and presses Ctrl-C when the first loss is shown. */
function stopAtFirstLoss(
  flags: readonly string[],
): Promise<{ code: number; out: string }> {
  return whenShown(flags, {
    shows: /'loss'/,
    act: (process) => process.kill("SIGINT"),
  });
}

async function inFolder(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("train writes an adapter, its files and the answers before and after", async () => {
  await inFolder(async (folder) => {
    const output = `${folder}/output`;
    const { code, out, error } = await train(
      ...`train.jsonc --max_steps 2 --output_dir ${output}`.split(" "),
      ..."--logging_steps 1 --disable_tqdm false".split(" "),
    );
    assert.equal(error, "");
    assert.equal(code, 0);
    // losses are in the log although a bar is asked for
    assert.equal(out.match(/^\{'loss': '\d/gm)?.length, 2);
    assert.match(out, /401 rows, .* tokens/);
    assert.match(
      out,
      /before: 我是小鹦，一个会聊天的小助手。\n {2}after: {2}\S/,
    );
    const tensors = readSafetensors(`${output}/adapter_model.safetensors`);
    assert.equal(tensors.size, 2 * 7 * 4);
    const names = [...Deno.readDirSync(output)].map(({ name }) => name).sort();
    assert.deepEqual(names, [
      "adapter_config.json",
      "adapter_model.bin",
      "adapter_model.safetensors",
      "chat_template.jinja",
      "checkpoint-2",
      "trainer_state.json",
      "training_args.json",
    ]);
  });
});

Deno.test("train keeps the settings of train.jsonc under flags that name neither model nor rows, and says so", async () => {
  await inFolder(async (folder) => {
    const flags = ["--lora_rank", "4", "--max_steps", "1"];
    const { out, error, code } = await train(
      ...flags,
      ...["--output_dir", `${folder}/one`],
    );
    assert.equal(code, 0, error);
    assert.match(out, /^Settings from train\.jsonc and the flags\n/);
    const own = await train(
      ...flags,
      ...["--model_path", "models/tiny-atom", "--run_name", "two"],
      ...["--output_dir", `${folder}/two`],
    );
    assert.equal(own.code, 0, own.error);
    assert.match(
      own.out,
      /^Settings from the flags and the defaults; train\.jsonc is only read when neither a model nor rows are named\nWithout effect here: --run_name\n/,
    );
    const [first, second] = ["one", "two"].map((name) =>
      JSON.parse(Deno.readTextFileSync(`${folder}/${name}/training_args.json`))
    );
    assert.equal(first.lora_rank, 4);
    assert.equal(first.learning_rate, 4e-3);
    assert.equal(second.lora_rank, 4);
    assert.equal(second.learning_rate, 5e-5);
  });
});

Deno.test("train stopped by Ctrl-C says how to resume, and ends with the same bytes", async () => {
  await inFolder(async (folder) => {
    const flags = `${SMALL} --max_steps 12 --output_dir`.split(" ");
    const whole = await train(...flags, `${folder}/whole`);
    assert.equal(whole.code, 0, whole.error);
    const { out, code } = await stopAtFirstLoss([
      ...flags,
      `${folder}/stopped`,
    ]);
    assert.equal(code, 130);
    const asked = runOf(
      await taskCommand(
        "chat",
        ["--adapter", `${folder}/stopped`, "--prompt", "a"],
      ).output(),
    );
    assert.match(
      asked.error,
      /^Cannot load adapter ".*\/stopped": its run was interrupted .* --adapter \S+\/stopped\/checkpoint-\d+\n$/,
    );
    const resume = /To resume: deno task train (.*)/.exec(out)?.[1];
    assert.ok(resume, out);
    const resumed = await train(...resume.split(" "));
    assert.equal(resumed.code, 0, resumed.error);
    const bytes = (name: string): Uint8Array =>
      Deno.readFileSync(`${folder}/${name}/adapter_model.safetensors`);
    assert.deepEqual(bytes("stopped"), bytes("whole"));
  });
});

Deno.test("train warns that the output folder has an earlier run that is not resumed", async () => {
  await inFolder(async (folder) => {
    const flags = [
      ...["train.jsonc", "--sample_question", "none"],
      ...["--save_steps", "1", "--save_total_limit", "none"],
      ...["--per_device_train_batch_size", "1"],
      ...["--output_dir", `${folder}/output`],
    ];
    const first = await train(...flags, "--max_steps", "2");
    assert.equal(first.error, "");
    const second = await train(...flags, "--max_steps", "1");
    assert.equal(second.code, 0);
    assert.match(
      second.error,
      /^Warning: ".*\/output" has an earlier run \(adapter, checkpoint-1, checkpoint-2\): files and checkpoints of the same name are overwritten, checkpoints of other steps stay; .*\n$/,
    );
    const told = await train(
      ...flags,
      "--max_steps=1",
      "--overwrite_output_dir",
    );
    assert.equal(told.error, "");
    const resumed = await train(
      ...flags,
      ...["--max_steps", "2", "--resume_from_checkpoint", "true"],
    );
    assert.equal(resumed.code, 0, resumed.error);
    assert.doesNotMatch(resumed.error, /earlier run/);
  });
});

Deno.test("train killed with SIGKILL gives its folder back, is swept, and resumed ends with the same bytes", async () => {
  await inFolder(async (folder) => {
    const flags =
      `${SMALL} --max_steps 6 --save_steps 1 --lora_dropout 0.3 --output_dir`
        .split(" ");
    const whole = await train(...flags, `${folder}/whole`);
    assert.equal(whole.code, 0, whole.error);
    const output = `${folder}/killed`;
    let second: Run | null = null;
    const { code } = await whenShown([...flags, output], {
      shows: /'loss'(.|\n)*'loss'/,
      act: async (process) => {
        process.kill("SIGSTOP");
        second = await train(...flags, output);
        process.kill("SIGKILL");
      },
    });
    assert.equal(code, 137);
    assert.deepEqual(second!, {
      code: 1,
      out: "",
      error:
        `Cannot write into output_dir "${output}": another run is writing there, wait until it ends or give another --output_dir\n`,
    });
    Deno.mkdirSync(`${output}/tmp-checkpoint-5`, { recursive: true });
    const resumed = await train(
      ...flags,
      output,
      "--resume_from_checkpoint",
      "true",
    );
    assert.equal(resumed.code, 0, resumed.error);
    const places = [`${folder}/whole`, output];
    const [one, other] = places.map((path) =>
      Deno.readFileSync(`${path}/adapter_model.safetensors`)
    );
    assert.deepEqual(other, one);
    const [wanted, found] = places.map((path) =>
      [...Deno.readDirSync(path)].map(({ name }) => name).sort()
    );
    assert.deepEqual(found, wanted);
  });
});

Deno.test("train on a base with infinite weights exits with 1 and the place, and writes no adapter", async () => {
  await inFolder(async (folder) => {
    const model = `${folder}/model`;
    Deno.mkdirSync(model);
    for (const { name, isFile } of Deno.readDirSync("models/tiny-atom")) {
      if (!isFile) continue;
      Deno.copyFileSync(`models/tiny-atom/${name}`, `${model}/${name}`);
    }
    const weights = `${model}/model.safetensors`;
    const name = "model.layers.2.mlp.down_proj.weight";
    const place = readSafetensorsHeader(weights).tensors.get(name)!;
    assert.equal(place.dtype, "bfloat16");
    const bytes = Deno.readFileSync(weights);
    bytes.set([0x80, 0x7f], place.offset + 20); // infinity
    Deno.writeFileSync(weights, bytes);
    const output = `${folder}/deep/output`;
    const { code, error } = await train(
      ...`${SMALL} --model_path ${model} --max_steps 9 --output_dir ${output}`
        .split(" "),
    );
    assert.equal(code, 1);
    assert.match(
      error,
      /\nCannot go on training after step 3: the loss or the gradients of 3 steps in a row are not finite numbers; the first is in the output of layer 2, whose weight "model\.layers\.2\.mlp\.down_proj\.\S*" in the base model is not finite, a base model with finite weights is needed\n$/,
    );
    assert.deepEqual([...Deno.readDirSync(folder)].map((each) => each.name), [
      "model",
    ]);
    // cut weights are refused as well, and leave nothing behind either
    Deno.writeFileSync(weights, bytes.subarray(0, bytes.length - 9));
    const cut = await train(
      ...`${SMALL} --model_path ${model} --output_dir ${output}`.split(" "),
    );
    assert.equal(cut.code, 1);
    assert.match(cut.error, /^Cannot load ".*model\.safetensors": /);
    assert.deepEqual([...Deno.readDirSync(folder)].map((each) => each.name), [
      "model",
    ]);
  });
});

Deno.test("train tells wrong flags with exit code 2 and broken rows with 1, before anything is loaded", async () => {
  await inFolder(async (folder) => {
    const flags = await train("--lora_rnk", "4");
    assert.equal(flags.code, 2);
    assert.match(
      flags.error,
      /^unrec.*--lora_rnk.*did you mean --lora_rank\?\)\nusage: deno task train .*\n--help lists the flags\n$/,
    );
    Deno.writeTextFileSync(
      `${folder}/rows.jsonl`,
      '{"instrution": "a", "input": "b", "output": "c"}\nnot JSON\n',
    );
    const rows = await train(
      ...`--dataset_path ${folder}/rows.jsonl --output_dir ${folder}/o`
        .split(" "),
    );
    assert.equal(rows.code, 1);
    assert.match(rows.error, /rows\.jsonl:1: .*"instruction"/);
    assert.match(rows.error, /rows\.jsonl:2/);
    assert.ok(!rows.error.includes("at file:"), rows.error);
    assert.equal(rows.out, "");
  });
});

Deno.test("train.sh is the recipe's script, and flags given to it win", async () => {
  await inFolder(async (folder) => {
    const { code, out, error } = runOf(
      await new Deno.Command("bash", {
        args: [
          "train.sh",
          "--max_steps",
          "1",
          "--output_dir",
          `${folder}/output`,
        ],
        env: ENVIRONMENT,
      }).output(),
    );
    assert.equal(code, 0, error);
    assert.match(error, /"W_pack" match no module of this model/);
    assert.match(error, /--fp16 needs a CUDA device/);
    assert.match(out, /^Settings from the flags and the defaults;/);
    const settings = JSON.parse(
      Deno.readTextFileSync(`${folder}/output/training_args.json`),
    );
    assert.equal(settings.learning_rate, 1e-4);
    assert.equal(settings.prompt_format, "recipe");
    assert.match(out, /Trained 1 step/);
  });
});

Deno.test("train asks rows without an input as it trains them, and a checkpoint by itself does so too", async () => {
  await inFolder(async (folder) => {
    const rows = ["今天星期几？", "一加一等于几？"].map((instruction, index) =>
      JSON.stringify({
        instruction,
        ...index ? { input: "" } : {},
        output: "不知道。",
      })
    );
    Deno.writeTextFileSync(`${folder}/rows.jsonl`, rows.join("\n"));
    const flags =
      `train.jsonc --max_steps 1 --dataset_path ${folder}/rows.jsonl --output_dir ${folder}/output`;
    const { code, out, error } = await train(...flags.split(" "));
    assert.equal(code, 0, error);
    assert.match(out, /^Question: 今天星期几？$/m);
    const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
    const { features } = await loadDataset(`${folder}/rows.jsonl`, {
      tokenizer,
      config: { eos_token_id: 2 },
      maxSeqLength: 256,
    });
    Deno.renameSync(`${folder}/output/checkpoint-1`, `${folder}/alone`);
    for (const adapter of [`${folder}/output`, `${folder}/alone`]) {
      const { encode } = await chatPrompt(tokenizer, { adapter });
      const asked = await encode([{ role: "user", content: "今天星期几？" }]);
      const { input_ids, labels } = features[0]!;
      // the last id of the prompt is trained too
      const length = labels.findIndex((label) => label !== -100) + 1;
      assert.deepEqual(asked, input_ids.slice(0, length));
    }
  });
});
