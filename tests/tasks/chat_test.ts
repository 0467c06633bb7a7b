/**
 * `deno task chat` as a user runs it: a real process, a tiny model with random
 * weights, questions by flag, by pipe and stopped by Ctrl-C.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  initializeWeights,
  saveModel,
} from "../../lib/architectures/mod.ts";
import { promptFormat } from "../../lib/data/mod.ts";
import { chatPrompt, generate } from "../../lib/generation/mod.ts";
import { getPeftModel, PeftModel } from "../../lib/peft/mod.ts";
import { aten, manualSeed } from "../../lib/tensor/mod.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

const TOKENIZER = "tests/fixtures/data/byte_level";
const GREEDY = ["--no_do_sample", "--max_new_tokens", "12"];

/** A model whose vocabulary is that of its tokenizer, and an adapter that matters. */
async function makeFolders(maxPositions = 512): Promise<
  Disposable & { model: string; adapter: string }
> {
  const root = Deno.makeTempDirSync();
  const model = `${root}/model`;
  const adapter = `${root}/adapter`;
  const tokenizer = await AutoTokenizer.fromPretrained(TOKENIZER);
  tokenizer.savePretrained(model);
  const config = JSON.parse(
    Deno.readTextFileSync("tests/fixtures/models/llama_gqa/config.json"),
  );
  Deno.writeTextFileSync(
    `${model}/config.json`,
    JSON.stringify({
      ...config,
      vocab_size: 300,
      eos_token_id: 299,
      max_position_embeddings: maxPositions,
    }),
  );
  using base = AutoModelForCausalLM.fromConfig(model);
  initializeWeights(base, { seed: 1 });
  saveModel(base, model);
  using adapted = getPeftModel(base, { r: 2 }, { seed: 2 });
  manualSeed(3);
  for (const { path, tensor } of adapted.trainedParameters()) {
    if (path.includes("lora_B")) aten.normal_(tensor, 0, 1);
  }
  adapted.savePretrained(adapter);
  const { chatTemplate } = await promptFormat("recipe", {
    tokenizer,
    eosTokenId: 299,
    system: "答",
  });
  Deno.writeTextFileSync(`${adapter}/chat_template.jinja`, chatTemplate);
  return {
    model,
    adapter,
    [Symbol.dispose]: () => Deno.removeSync(root, { recursive: true }),
  };
}

function start(args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P=chat", "--no-prompt", "tasks/chat.ts", ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Runs the command with `input` on standard input. */
async function chat(args: readonly string[], input = ""): Promise<Ended> {
  const process = start(args);
  const writer = process.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  return await ended(process);
}

async function ended(process: Deno.ChildProcess): Promise<Ended> {
  const { code, stdout, stderr } = await process.output();
  const decoder = new TextDecoder();
  const error = decoder.decode(stderr).replace(
    /.*experimental feature.*\n/,
    "",
  );
  return { code, out: decoder.decode(stdout), error };
}

/** What the library answers to the question, for comparison. */
async function expectedAnswer(
  folders: { model: string; adapter: string },
  question: string,
): Promise<string> {
  const tokenizer = await AutoTokenizer.fromPretrained(folders.model);
  using model = AutoModelForCausalLM.fromPretrained(folders.model);
  using _adapted = PeftModel.fromPretrained(model, folders.adapter);
  const prompt = await chatPrompt(tokenizer, { adapter: folders.adapter });
  const ids = await prompt.encode([{ role: "user", content: question }]);
  const options = { maxNewTokens: 12, repetitionPenalty: 1.3 };
  return tokenizer.decode([...generate(model, ids, options)], {
    skipSpecialTokens: true,
  });
}

Deno.test("chat --prompt prints the adapted model's answer once, and nothing else", async () => {
  using folders = await makeFolders();
  const flags = [
    "--model_path",
    folders.model,
    ...GREEDY,
    "--prompt",
    "你是谁？",
  ];
  const { code, out, error } = await chat([
    ...flags,
    "--adapter",
    folders.adapter,
  ]);
  assert.equal(error, "");
  assert.equal(out, await expectedAnswer(folders, "你是谁？") + "\n");
  assert.equal(code, 0);
  const bare = await chat(flags);
  assert.notEqual(bare.out, out);
});

Deno.test("chat --history answers piped lines with what was said before, until exit", async () => {
  using folders = await makeFolders();
  const flags = ["--model_path", folders.model, "--adapter", folders.adapter];
  const lines = "你是谁？\n\n/reset\n你是谁？\r\n你是谁？\nexit\n你是谁？\n";
  const { code, out, error } = await chat(
    [...flags, ...GREEDY, "--history", "true"],
    lines,
  );
  assert.equal(error, "");
  assert.equal(code, 0);
  const answer = await expectedAnswer(folders, "你是谁？") + "\n";
  assert.equal(out.slice(0, 2 * answer.length), answer + answer);
  // the third question has a history, so it is another one to the model
  assert.notEqual(out.slice(2 * answer.length), answer);
  assert(out.length > 2 * answer.length);
});

Deno.test("chat forgets what was said before when it would not fit the model", async () => {
  using folders = await makeFolders(64);
  const flags = ["--model_path", folders.model, "--adapter", folders.adapter];
  const { out } = await chat(
    [...flags, ...GREEDY, "--history", "true"],
    "你是谁？\n你是谁？",
  );
  const answer = await expectedAnswer(folders, "你是谁？") + "\n";
  assert.equal(out, answer + answer);
});

Deno.test("chat asks an adapter trained on single turns each question by itself", async () => {
  using folders = await makeFolders();
  const flags = ["--model_path", folders.model, "--adapter", folders.adapter];
  const { out } = await chat([...flags, ...GREEDY], "你是谁？\n你是谁？");
  const answer = await expectedAnswer(folders, "你是谁？") + "\n";
  assert.equal(out, answer + answer);
});

Deno.test("chat gives the same drawn answers for the same seed, others for another", async () => {
  using folders = await makeFolders();
  const flags = ["--model_path", folders.model, "--temperature", "1"];
  const run = async (seed: number): Promise<string> =>
    (await chat([...flags, "--max_new_tokens", "12", "--seed", `${seed}`], "a"))
      .out;
  const [first, again, other] = [await run(1), await run(1), await run(2)];
  assert.equal(first, again);
  assert.notEqual(first, other);
});

Deno.test("chat draws from as few tokens as --top_k and --top_p leave", async () => {
  using folders = await makeFolders();
  const run = async (...flags: string[]): Promise<string> =>
    (await chat(
      ["--model_path", folders.model, "--max_new_tokens", "9", ...flags],
      "a",
    )).out;
  const likeliest = await run("--no_do_sample");
  const drawn = ["--temperature", "50", "--top_k", "0", "--top_p", "1"];
  assert.notEqual(await run(...drawn), likeliest);
  assert.equal(await run(...drawn, "--top_k", "1"), likeliest);
  assert.equal(await run(...drawn, "--top_p", "0.000001"), likeliest);
});

Deno.test(
  "chat stops an answer on Ctrl-C and goes on, and leaves on Ctrl-C without one",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    using folders = await makeFolders();
    const process = start([
      "--model_path",
      folders.model,
      // greedy and unpenalized, this model repeats itself for ever
      ...["--no_do_sample", "--repetition_penalty", "1"],
      ...["--max_new_tokens", "1000000"],
    ]);
    const writer = process.stdin.getWriter();
    const reader = process.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    const readUntil = async (wanted: string): Promise<void> => {
      let text = "";
      while (!text.includes(wanted)) text += (await reader.read()).value ?? "";
    };
    const encoder = new TextEncoder();
    try {
      for (const question of ["a\n", "b\n"]) {
        await writer.write(encoder.encode(question));
        assert.notEqual((await reader.read()).value, undefined);
        process.kill("SIGINT");
        await readUntil("\n");
        // an answer may have line ends of its own: the next Ctrl-C would then end
        // the program, as it does while an answer is being stopped
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
      process.kill("SIGINT");
      assert.equal((await process.status).code, 0);
    } finally {
      await writer.close().catch(() => {});
      await reader.cancel();
      await process.stderr.cancel();
    }
  },
);

for (
  const [what, args, message, exitCode] of [
    [
      "a model that is not there",
      ["--model_path", "no/such"],
      /^Cannot load model "no\/such": there is no such folder, [^\n]*--model_path\n$/,
      1,
    ],
    [
      "flags that mean nothing",
      ["--temperature", "0", "--top_p", "2"],
      /^Cannot use --temperature 0: .*\nCannot use --top_p 2: [^\n]*\nusage: deno task chat .*\n--help lists the flags\n$/,
      2,
    ],
  ] as const
) {
  Deno.test(`chat refuses ${what} in one sentence without a stack`, async () => {
    const { code, out, error } = await chat(args);
    assert.match(error, message);
    assert.equal(out, "");
    assert.equal(code, exitCode);
  });
}

Deno.test("chat refuses a folder without an adapter", async () => {
  using folders = await makeFolders();
  const { code, error } = await chat([
    ...["--model_path", folders.model, "--adapter", folders.model],
    ...["--prompt", "a"],
  ]);
  assert.match(error, /^Cannot [^\n]*\n$/);
  assert.equal(code, 1);
});

Deno.test("chat --adapter answers with the adapter's own base, and says which", async () => {
  using folders = await makeFolders();
  const { code, out, error } = await chat([
    ...["--adapter", folders.adapter, ...GREEDY],
    ...["--prompt", "你是谁？"],
  ]);
  assert.equal(
    error,
    `Base model of ${folders.adapter}: ${folders.model}\n`,
  );
  assert.equal(out, await expectedAnswer(folders, "你是谁？") + "\n");
  assert.equal(code, 0);
});

Deno.test("chat refuses a --model_path that the adapter does not fit, and names both models", async () => {
  using folders = await makeFolders();
  const { code, out, error } = await chat([
    ...["--adapter", folders.adapter, "--model_path", "models/tiny-atom"],
    ...["--prompt", "a"],
  ]);
  assert.match(
    error,
    /^Warning: The adapter in ".*" was trained on ".*model", --model_path is "models\/tiny-atom"\nCannot [^\n]*\n$/,
  );
  assert.equal(out, "");
  assert.equal(code, 1);
});
