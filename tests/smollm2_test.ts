/**
 * A real chat model, SmolLM2-135M-Instruct, from its GGUF file: the numbers, ids and
 * answers that transformers has of the same file. Ignored unless LORIKEET_SMOLLM2
 * names the folder that `tests/fixtures/make_smollm2.py` makes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
} from "../lib/architectures/mod.ts";
import { libraries } from "../ffi/mod.ts";
import { readSafetensors } from "../lib/formats/safetensors.ts";
import { generate } from "../lib/generation/mod.ts";
import { aten, fromData, noGrad, tensorScope } from "../lib/tensor/mod.ts";
import { AutoTokenizer } from "../lib/tokenizer/mod.ts";

const folder = Deno.env.get("LORIKEET_SMOLLM2") ?? "";
const base = `${folder}/base.gguf`;

interface Golden {
  readonly texts: readonly string[];
  readonly ids: readonly number[][];
  readonly prompt: string;
  readonly answer: string;
}

function test(name: string, fn: (golden: Golden) => Promise<void>): void {
  Deno.test({
    name: `SmolLM2 from its GGUF file ${name}`,
    ignore: folder === "",
    fn: () => fn(JSON.parse(Deno.readTextFileSync(`${folder}/golden.json`))),
  });
}

const MESSAGES = [{ role: "user", content: "What is the capital of France?" }];

test("has transformers' ids and chat prompt", async (golden) => {
  const tokenizer = await AutoTokenizer.fromPretrained(base);
  assert.deepEqual(await tokenizer.encodeBatch(golden.texts), golden.ids);
  const prompt = tokenizer.applyChatTemplate(MESSAGES, {
    addGenerationPrompt: true,
  });
  assert.equal(prompt, golden.prompt);
});

/** The logits of the golden ids, and the loss of each id from those before. */
function computed(model: CausalLm): { logits: number[]; loss: number } {
  using _scope = tensorScope();
  using _ = noGrad();
  const ids = fromData(
    readSafetensors(`${folder}/golden.safetensors`).get("ids")!,
  );
  const logits = model.forward(aten.unsqueeze(ids, 0));
  const before = aten.slice(logits, 0, 0, -1);
  const loss = aten.crossEntropyLoss(before, aten.slice(ids, 0, 1));
  return { logits: [...logits.toArray()] as number[], loss: loss.item() };
}

test("has transformers' logits, and the losses of its safetensors form", () => {
  using model = AutoModelForCausalLM.fromPretrained(base);
  const { logits, loss } = computed(model);
  const { bytes } = readSafetensors(`${folder}/golden.safetensors`).get(
    "logits",
  )!;
  const expected = new Float32Array(bytes.slice().buffer);
  assert.equal(logits.length, expected.length);
  const worst = expected.reduce(
    (most, value, i) => Math.max(most, Math.abs(value - logits[i]!)),
    0,
  );
  assert(worst < 1e-4, `${worst}`);
  using plain = AutoModelForCausalLM.fromPretrained(folder);
  assert.deepEqual(computed(plain), { logits, loss });
  return Promise.resolve();
});

test("answers as transformers does", async (golden) => {
  const tokenizer = await AutoTokenizer.fromPretrained(base);
  using model = AutoModelForCausalLM.fromPretrained(base);
  const ids = await tokenizer.encode(golden.prompt, {
    addSpecialTokens: false,
  });
  const answer = [...generate(model, ids, {
    maxNewTokens: 24,
    doSample: false,
    repetitionPenalty: 1,
  })];
  const text = tokenizer.decode(answer, { skipSpecialTokens: true });
  assert.equal(text, golden.answer);
  assert.match(text, /Paris/);
});

async function run(task: string, flags: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", `-P=${task}`, "--no-prompt", `tasks/${task}.ts`]
      .concat(flags),
    env: { NO_COLOR: "1", LIBTORCH: libraries().folder },
    stdin: "null",
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Trains on the chat rows of the dataset folder; the losses of the steps. */
async function train(
  model: string,
  flags: { readonly output: string; readonly steps: number },
): Promise<number[]> {
  await run("train", [
    ...["--model_path", model, "--dataset_path", "dataset/pip.jsonl"],
    ...["--output_dir", flags.output, "--max_steps", `${flags.steps}`],
    ...["--target_modules", "all-linear", "--learning_rate", "2e-3"],
    ...["--per_device_train_batch_size", "4", "--logging_steps", "1"],
    ...["--sample_question", "none", "--save_strategy", "no"],
  ]);
  const state: { readonly log_history: readonly { readonly loss?: number }[] } =
    JSON.parse(Deno.readTextFileSync(`${flags.output}/trainer_state.json`));
  return state.log_history.flatMap(({ loss }) => loss ?? []);
}

test("trains to the losses of its safetensors form, and answers in the style of the rows", async () => {
  const output = await Deno.makeTempDir();
  try {
    const losses = await train(base, { output: `${output}/gguf`, steps: 16 });
    const plain = await train(folder, { output: `${output}/folder`, steps: 2 });
    assert.deepEqual(plain, losses.slice(0, 2));
    const questions = ["What is the capital of France?", "What is snow?"];
    for (const question of questions) {
      const ask = (flags: readonly string[]): Promise<string> =>
        run("chat", [
          ...flags,
          ...["--prompt", question, "--do_sample", "false"],
          ...["--max_new_tokens", "24"],
        ]);
      assert.match(await ask(["--adapter", `${output}/gguf`]), /^Squawk! /m);
      assert.doesNotMatch(await ask(["--model_path", base]), /Squawk/);
    }
  } finally {
    await Deno.remove(output, { recursive: true });
  }
});
