/**
 * The prompt format of an adapter that is trained further: by its name, by its chat
 * template, and what a run says of it.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries } from "../../ffi/mod.ts";
import { parseTrainArguments } from "../../lib/arguments/train_arguments.ts";
import { checkRun } from "../../tasks/train_checks.ts";
import { readStoredFormat } from "../../tasks/stored_format.ts";

const TEMPLATE =
  "{% for m in messages %}{{ m.role + m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant' }}{% endif %}";

const ADAPTER = {
  peft_type: "LORA",
  r: 8,
  lora_alpha: 32,
  lora_dropout: 0.1,
  target_modules: ["q_proj"],
  base_model_name_or_path: "",
};

/** A model with a chat template, rows, and an adapter with `files`. */
async function inFolder(
  files: Readonly<Record<string, string>>,
  use: (folder: string) => Promise<void> | void,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.mkdirSync(`${folder}/model`);
    for (const { name, isFile } of Deno.readDirSync("models/tiny-atom")) {
      if (!isFile) continue;
      Deno.copyFileSync(`models/tiny-atom/${name}`, `${folder}/model/${name}`);
    }
    Deno.writeTextFileSync(`${folder}/model/chat_template.jinja`, TEMPLATE);
    const row = { instruction: "你是谁？", output: "不知道。" };
    Deno.writeTextFileSync(`${folder}/rows.jsonl`, JSON.stringify(row));
    Deno.mkdirSync(`${folder}/adapter`);
    for (
      const [name, text] of Object.entries({
        "adapter_config.json": JSON.stringify(ADAPTER),
        ...files,
      })
    ) Deno.writeTextFileSync(`${folder}/adapter/${name}`, text);
    await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function train(...flags: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "-P=train", "--no-prompt", "tasks/train.ts"],
      ...[...flags, "--sample_question", "none"],
    ],
    env: { NO_COLOR: "1", LIBTORCH: libraries().folder },
  }).output();
  assert(success, new TextDecoder().decode(stderr));
}

Deno.test("readStoredFormat() reads the name in training_args.json, else what the chat template beside the weights is", async () => {
  const template = { "chat_template.jinja": TEMPLATE };
  const named = (prompt_format: unknown): Record<string, string> => ({
    ...template,
    "training_args.json": JSON.stringify({ prompt_format }),
  });
  const found = async (files: Record<string, string>): Promise<unknown> => {
    let format: unknown;
    await inFolder(files, (folder) => {
      format = readStoredFormat(`${folder}/adapter`);
      if (format) format = { ...format, folder: undefined };
    });
    return format;
  };
  const folder = undefined;
  const own = { name: "chat", chatTemplate: TEMPLATE, folder };
  assert.deepEqual(await found(named("llama3")), { name: "llama3", folder });
  assert.deepEqual(await found(named("auto")), own);
  assert.deepEqual(await found(named(undefined)), own);
  assert.deepEqual(await found(template), own);
  assert.deepEqual(
    await found({ ...template, "training_args.json": "no JSON" }),
    own,
  );
  assert.deepEqual(
    await found({ "chat_template.jinja": "Human: {{ x }} Assistant:" }),
    { name: "recipe", folder },
  );
  assert.equal(await found({}), null);
  assert.equal(readStoredFormat(null), null);
});

Deno.test("checkRun() trains an adapter further in its own prompt format, and warns where another is asked for", async () => {
  await inFolder({}, async (folder) => {
    const flags = [
      ...["--model_path", `${folder}/model`, "--target_modules", "q_proj"],
      ...["--dataset_path", `${folder}/rows.jsonl`],
      ...["--output_dir", `${folder}/output`],
    ];
    const described = async (...more: string[]): Promise<string> => {
      const parsed = parseTrainArguments([...flags, ...more]);
      assert(!("help" in parsed));
      const { dataset } = await checkRun(parsed);
      return dataset.description.replaceAll(folder, "F")
        .replace(/^.*prompt format /, "");
    };
    assert.equal(await described(), "chat (the model has a chat template)");
    await train(...flags, "--max_steps", "1", "--prompt_format", "recipe");
    const further = [
      "--continue_training",
      ...["--checkpoint", `${folder}/output`],
    ];
    assert.equal(await described(...further), "recipe (stored with F/output)");
    const resumed = "--resume_from_checkpoint=true";
    assert.equal(
      await described(resumed),
      "recipe (stored with F/output/checkpoint-1)",
    );
    const warned: string[] = [];
    const usual = console.error;
    console.error = (line: string) => warned.push(line.replaceAll(folder, "F"));
    try {
      assert.equal(
        await described(...further, "--prompt_format", "chat"),
        "chat (as asked for)",
      );
    } finally {
      console.error = usual;
    }
    assert.match(
      warned.join("\n"),
      /The adapter in "F\/output" was trained in prompt format recipe, this run trains in chat/,
    );
  });
});
