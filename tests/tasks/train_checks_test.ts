/**
 * checkRun: what a model folder and a tokenizer that do not belong together give,
 * before any weights are loaded.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { parseTrainArguments } from "../../lib/arguments/train_arguments.ts";
import { checkRun } from "../../tasks/train_checks.ts";

const WEIGHTS = "tests/fixtures/models/llama_gqa";
const TOKENIZER = "tests/fixtures/data/legacy";

/** Checks a run on llama_gqa's 96 tokens with `text` as question and answer. */
async function check(text: string): Promise<string> {
  const folder = Deno.makeTempDirSync();
  try {
    for (const name of ["config.json", "model.safetensors"]) {
      Deno.copyFileSync(`${WEIGHTS}/${name}`, `${folder}/${name}`);
    }
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
      Deno.copyFileSync(`${TOKENIZER}/${name}`, `${folder}/${name}`);
    }
    const row = { instruction: text, output: text };
    Deno.writeTextFileSync(`${folder}/rows.jsonl`, JSON.stringify(row));
    const parsed = parseTrainArguments([
      ...["--model_path", folder, "--dataset_path", `${folder}/rows.jsonl`],
      ...["--target_modules", "q_proj", "--output_dir", `${folder}/output`],
    ]);
    assert(!("help" in parsed));
    const said = await checkRun(parsed).then(() => "", (error) => `${error}`);
    assert.throws(
      () => Deno.statSync(`${folder}/output`),
      Deno.errors.NotFound,
    );
    return said.replaceAll(folder, "F");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("checkRun() refuses a tokenizer with ids that the model has no rows for, and leaves no output folder", async () => {
  assert.match(
    await check("你好"),
    /^InputError: Cannot train "F": its tokenizer gives id \d+, but vocab_size in config.json is 96$/,
  );
});

Deno.test("checkRun() refuses a padding token that the model has no row for, where batches are padded", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const { name, isFile } of Deno.readDirSync("models/tiny-atom")) {
      if (!isFile) continue;
      Deno.copyFileSync(`models/tiny-atom/${name}`, `${folder}/${name}`);
    }
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
      const file = JSON.parse(Deno.readTextFileSync(`${folder}/${name}`));
      if (name === "tokenizer.json") {
        const [first] = file.added_tokens;
        file.added_tokens.push({ ...first, id: 2400, content: "[PAD]" });
      } else {
        file.pad_token = "[PAD]";
      }
      Deno.writeTextFileSync(`${folder}/${name}`, JSON.stringify(file));
    }
    const run = (shared: string) => {
      const parsed = parseTrainArguments([
        ...["train.jsonc", "--model_path", folder, "--shared_prefix", shared],
        ...["--output_dir", `${folder}/output`],
      ]);
      assert(!("help" in parsed));
      return checkRun(parsed);
    };
    await run("true");
    await assert.rejects(run("false"), {
      name: "InputError",
      message: `Cannot train "${folder}": its tokenizer gives id 2400, ` +
        "but vocab_size in config.json is 2400",
    });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("checkRun() refuses rows with an added token that the model has no row for, and takes rows without it", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const { name, isFile } of Deno.readDirSync("models/tiny-atom")) {
      if (!isFile) continue;
      Deno.copyFileSync(`models/tiny-atom/${name}`, `${folder}/${name}`);
    }
    const path = `${folder}/tokenizer.json`;
    const file = JSON.parse(Deno.readTextFileSync(path));
    const [first] = file.added_tokens;
    file.added_tokens.push({ ...first, id: 2400, content: "<new>" });
    Deno.writeTextFileSync(path, JSON.stringify(file));
    const run = (output: string) => {
      const row = { instruction: "q", output };
      Deno.writeTextFileSync(`${folder}/rows.jsonl`, JSON.stringify(row));
      const parsed = parseTrainArguments([
        ...["--model_path", folder, "--dataset_path", `${folder}/rows.jsonl`],
        ...["--output_dir", `${folder}/output`],
      ]);
      assert(!("help" in parsed));
      return checkRun(parsed);
    };
    await run("a");
    await assert.rejects(run("a<new>"), {
      name: "InputError",
      message: `Cannot train "${folder}": its tokenizer gives id 2400, ` +
        "but vocab_size in config.json is 2400",
    });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("checkRun() hands on the model without weights, so that config.json is read once a run, and refuses cut weights", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const { name, isFile } of Deno.readDirSync("models/tiny-atom")) {
      if (!isFile) continue;
      Deno.copyFileSync(`models/tiny-atom/${name}`, `${folder}/${name}`);
    }
    const parsed = parseTrainArguments([
      ...["train.jsonc", "--model_path", folder],
      ...["--output_dir", `${folder}/output`],
    ]);
    assert(!("help" in parsed));
    const { tree } = await checkRun(parsed);
    Deno.removeSync(`${folder}/config.json`);
    using model = AutoModelForCausalLM.fromPretrained(tree);
    assert.equal(model.config.path, folder);
    // what is wrong with the weights is told as early
    Deno.copyFileSync("models/tiny-atom/config.json", `${folder}/config.json`);
    Deno.truncateSync(`${folder}/model.safetensors`, 100_000);
    await assert.rejects(
      checkRun(parsed),
      /"lm_head\.weight" ends at byte .* the file is cut short/,
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
