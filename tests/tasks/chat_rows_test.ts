/**
 * Rows of each shape by the real commands, on a tiny model with a chat template:
 * trained two steps, the sample question, then `chat` with the adapter.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { gzipSync } from "node:zlib";
import { libraries } from "../../ffi/mod.ts";
import {
  AutoModelForCausalLM,
  initializeWeights,
  saveModel,
} from "../../lib/architectures/mod.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

const TEMPLATES = "tests/fixtures/chat_templates";

/** A model with random weights and the chat template `name`. */
async function makeModel(folder: string, name: string): Promise<void> {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/chat_byte_level",
  );
  tokenizer.savePretrained(folder);
  const settings = `${folder}/tokenizer_config.json`;
  const tokens = JSON.parse(Deno.readTextFileSync(settings));
  Deno.writeTextFileSync(
    settings,
    JSON.stringify({ ...tokens, pad_token: tokens.eos_token }),
  );
  const config = JSON.parse(
    Deno.readTextFileSync("tests/fixtures/models/llama_gqa/config.json"),
  );
  Deno.writeTextFileSync(
    `${folder}/config.json`,
    JSON.stringify({
      ...config,
      vocab_size: 320,
      eos_token_id: tokenizer.eosTokenId,
      max_position_embeddings: 512,
    }),
  );
  Deno.copyFileSync(
    `${TEMPLATES}/${name}.jinja`,
    `${folder}/chat_template.jinja`,
  );
  using model = AutoModelForCausalLM.fromConfig(folder);
  initializeWeights(model, { seed: 1 });
  saveModel(model, folder);
}

async function inFolder(
  name: string,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await makeModel(`${folder}/model`, name);
    await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

async function run(
  task: "train" | "chat",
  args: readonly string[],
  input = "",
): Promise<Ended> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", `-P=${task}`, "--no-prompt", `tasks/${task}.ts`],
      ...args,
    ],
    env: { NO_COLOR: "1", LIBTORCH: libraries().folder },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), error: decoder.decode(stderr) };
}

function trainFlags(folder: string, rows: string, output: string): string[] {
  return [
    ...["--model_path", `${folder}/model`, "--dataset_path", rows],
    ...["--output_dir", output, "--max_steps", "2", "--logging_steps", "1"],
    ...["--target_modules", "q_proj", "v_proj", "--use_cpu", "true"],
    ...["--learning_rate", "0.01", "--max_seq_length", "256"],
    ...["--per_device_train_batch_size", "2"],
  ];
}

async function trained(
  folder: string,
  rows: string,
  more: readonly string[] = [],
): Promise<string> {
  const output = `${folder}/output`;
  const flags = trainFlags(folder, `${folder}/${rows}`, output);
  const { code, out, error } = await run("train", [
    ...flags,
    ...["--overwrite_output_dir", "true"],
    ...more,
  ]);
  assert.equal(code, 0, error);
  return out + error;
}

function lossOf(printed: string): string {
  const [, loss] = printed.match(/loss\W+([\d.]+)/i) ??
    assert.fail(printed);
  return loss!;
}

const TURNS = [
  { role: "user", content: "who?" },
  { role: "assistant", content: "me." },
  { role: "user", content: "why?" },
  { role: "assistant", content: "so be it." },
];

Deno.test("train and chat speak messages rows in the model's own template, with turns before the question", async () => {
  await inFolder("qwen25", async (folder) => {
    const row = JSON.stringify({ messages: TURNS });
    Deno.writeTextFileSync(`${folder}/rows.jsonl`, `${row}\n${row}\n`);
    const losses = new Set<string>();
    let printed = "";
    for (const what of ["last", "everything", "all"]) {
      printed = await trained(folder, "rows.jsonl", ["--train_on", what]);
      losses.add(lossOf(printed));
    }
    assert.equal(losses.size, 3, [...losses].join());
    assert.match(
      printed,
      /prompt format chat \(the model has a chat template\)/,
    );
    assert.match(printed, /Question: /);
    const output = `${folder}/output`;
    const args = JSON.parse(
      Deno.readTextFileSync(`${output}/training_args.json`),
    );
    assert.equal(args.prompt_format, "chat");
    assert.match(
      Deno.readTextFileSync(`${output}/chat_template.jinja`),
      /You are a kind helper/,
    );
    const chat = [
      ...["--adapter", output, "--do_sample", "false"],
      ...["--max_new_tokens", "8", "--repetition_penalty", "1"],
    ];
    const lines = "who?\nwho?\n";
    const remembered = await run("chat", [...chat, "--history", "true"], lines);
    assert.equal(remembered.code, 0, remembered.error);
    assert.doesNotMatch(remembered.error, /no effect/);
    const alone = await run("chat", [...chat, "--history", "false"], lines);
    assert.equal(alone.code, 0, alone.error);
    assert.notEqual(remembered.out, alone.out);
    const usual = await run("chat", chat, lines);
    assert.equal(usual.out, remembered.out);
  });
});

Deno.test("train takes conversations, prompts, texts, CSV and packed rows of a chat model", async () => {
  await inFolder("smollm2", async (folder) => {
    const write = (name: string, text: string): void =>
      name.endsWith(".gz")
        ? Deno.writeFileSync(`${folder}/${name}`, gzipSync(text))
        : Deno.writeTextFileSync(`${folder}/${name}`, text);
    const conversations = [
      { from: "human", value: "who?" },
      { from: "gpt", value: "me." },
    ];
    write("a.jsonl", JSON.stringify({ conversations }));
    write("b.jsonl", JSON.stringify({ prompt: "1+1=", completion: "2" }));
    write("c.jsonl", JSON.stringify({ text: "once there was a bird" }));
    write("d.csv", "instruction,output\nwho?,me.\n");
    write("e.jsonl.gz", JSON.stringify({ messages: TURNS }));
    const wanted = {
      "a.jsonl": "chat",
      "b.jsonl": "chat",
      "c.jsonl": "text",
      "d.csv": "chat",
      "e.jsonl.gz": "chat",
    };
    for (const [name, format] of Object.entries(wanted)) {
      const printed = await trained(folder, name, [
        "--sample_question",
        "none",
      ]);
      assert.match(printed, new RegExp(`prompt format ${format} `), name);
      assert(Number(lossOf(printed)) > 0, name);
    }
  });
});

Deno.test("train makes a sequence of each answer where a template spells earlier ones otherwise, and says so", async () => {
  await inFolder("qwen3", async (folder) => {
    Deno.writeTextFileSync(
      `${folder}/rows.jsonl`,
      JSON.stringify({ messages: TURNS }),
    );
    const all = await trained(folder, "rows.jsonl", []);
    assert.match(all, /1 messages rows as 2 sequences, one for each answer/);
    const last = await trained(folder, "rows.jsonl", ["--train_on", "last"]);
    assert.match(last, /rows\.jsonl: messages rows, prompt format chat/);
    assert.notEqual(lossOf(all), lossOf(last));
  });
});

Deno.test("train refuses rows in which a template never spells an answer where it asks for it, and names the turn", async () => {
  await inFolder("deepseek_r1", async (folder) => {
    Deno.writeTextFileSync(
      `${folder}/rows.jsonl`,
      JSON.stringify({ messages: TURNS }),
    );
    const flags = trainFlags(
      folder,
      `${folder}/rows.jsonl`,
      `${folder}/refused`,
    );
    const { code, error } = await run("train", flags);
    assert.equal(code, 1);
    assert.match(
      error,
      /rows\.jsonl:1.*: turn 2 \(assistant\) does not begin where the chat template asks for it, a template with/,
    );
    assert.throws(() => Deno.statSync(`${folder}/refused/adapter_config.json`));
  });
});
