/**
 * `deno task merge`: every kind of adapter and base, files as transformers splits them,
 * what stands beside the weights, and errors that leave nothing behind.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { isFile } from "../../lib/formats/file_info.ts";
import { readJsonFile } from "../../lib/formats/json_file.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { findWeights } from "../../lib/formats/weights.ts";
import { aten, fromData, liveTensors } from "../../lib/tensor/mod.ts";
import {
  AutoModelForCausalLM,
  AutoTokenizer,
  getPeftModel,
  InputError,
  noGrad,
  PeftModel,
  saveModel,
  tensorScope,
} from "../../mod.ts";
import { type MergeOptions, mergeToFolder } from "../../tasks/merge.ts";
import { assertClose } from "../closeness.ts";
import { inFolder, numbersOf } from "../training/tiny_run.ts";
import { ENVIRONMENT, runOf, taskCommand } from "./task_process.ts";

const GQA = "tests/fixtures/models/llama_gqa";
const TRAINED = "tests/fixtures/peft/trained";

/** Runs `act` without its warnings, and returns them beside its result. */
async function quietly<T>(
  act: () => Promise<T>,
): Promise<{ result: T; warnings: string }> {
  const print = console.error;
  const warnings: string[] = [];
  console.error = (line: string) => warnings.push(line);
  try {
    return { result: await act(), warnings: warnings.join("\n") };
  } finally {
    console.error = print;
  }
}

/** Puts a new adapter of `base` into `folder`, with numbers that change logits. */
function writeAdapter(base: string, folder: string): void {
  using model = AutoModelForCausalLM.fromPretrained(base);
  using peft = getPeftModel(model, {
    r: 2,
    lora_alpha: 4,
    target_modules: "all-linear",
  }, { seed: 1 });
  for (const { path, tensor } of peft.trainedParameters()) {
    if (path.includes("lora_B")) aten.normal_(tensor, 0, 0.05);
  }
  peft.savePretrained(folder);
}

/** Whether lorikeet says of the adapter in `folder` that it is not supported yet. */
function isRefused(folder: string): boolean {
  try {
    PeftModel.readConfig(folder);
    return false;
  } catch (error) {
    if (error instanceof InputError) return true;
    throw error;
  }
}

/** Folders with an adapter of peft, and peft's logits beside it. */
const ADAPTERS = ["tests/fixtures/peft", "tests/fixtures/peft_kinds"]
  .flatMap((parent) =>
    [...Deno.readDirSync(parent)].map(({ name }) => `${parent}/${name}`)
  )
  .filter((folder) => isFile(`${folder}/golden.safetensors`))
  .filter((folder) => !isRefused(folder)).sort();

Deno.test("mergeToFolder() writes models with peft's logits, for every kind of adapter", async () => {
  assert.ok(ADAPTERS.length >= 20, ADAPTERS.join());
  for (const adapter of ADAPTERS) {
    await inFolder(async (folder) => {
      const modelPath = PeftModel.readConfig(adapter).base_model_name_or_path!;
      const to = `${folder}/merged`;
      const live = liveTensors();
      await quietly(() => mergeToFolder(to, { modelPath, adapter }));
      assert.equal(liveTensors(), live);
      const golden = readSafetensors(`${adapter}/golden.safetensors`);
      using _scope = tensorScope();
      using _frozen = noGrad();
      using model = AutoModelForCausalLM.fromPretrained(to);
      assertClose(
        model.forward(fromData(golden.get("ids")!)).toArray(),
        numbersOf(golden.get("logits")!),
        { limit: 2e-5, what: adapter },
      );
    });
  }
});

Deno.test("mergeToFolder() merges into every family, and the folder is a model of its own", async () => {
  const families = [...Deno.readDirSync("tests/fixtures/families")]
    .map(({ name }) => `tests/fixtures/families/${name}`)
    .filter((path) => isFile(`${path}/config.json`)).sort();
  assert.ok(families.length > 30);
  for (const modelPath of families) {
    await inFolder(async (folder) => {
      const adapter = `${folder}/adapter`;
      writeAdapter(modelPath, adapter);
      const to = `${folder}/merged`;
      const merged = mergeToFolder(to, { modelPath, adapter });
      const { result } = await quietly(() => merged);
      assert.ok(result.comparison.scale > 0, modelPath);
      const code = [...Deno.readDirSync(modelPath)].map(({ name }) => name)
        .filter((name) => name.endsWith(".py"));
      for (const name of code) assert.ok(isFile(`${to}/${name}`), name);
    });
  }
});

/** The type of all weights in `folder`. */
function typesIn(folder: string): string {
  const types = [...findWeights(folder).values()].map(({ dtype }) => dtype);
  return [...new Set(types)].join();
}

Deno.test("mergeToFolder() keeps the base model's type or writes the one asked for, and says so in config.json", async () => {
  await inFolder(async (folder) => {
    const options: MergeOptions = { modelPath: GQA, adapter: TRAINED };
    for (const dtype of ["auto", "bfloat16", "float16"] as const) {
      const to = `${folder}/${dtype}`;
      const { result } = await quietly(() =>
        mergeToFolder(to, { ...options, dtype })
      );
      const expected = dtype === "auto" ? "float32" : dtype;
      assert.equal(typesIn(to), expected);
      assert.equal(readJsonFile(`${to}/config.json`).dtype, expected);
      assert.equal(result.dtype, expected);
      const { largest } = result.comparison;
      assert.ok(dtype === "auto" ? largest < 1e-5 : largest > 1e-5, dtype);
    }
    // a base in bfloat16 stays so, and is computed in float32 in between
    const [to, modelPath] = [`${folder}/again`, `${folder}/bfloat16`];
    await quietly(() => mergeToFolder(to, { ...options, modelPath }));
    assert.equal(typesIn(to), "bfloat16");
    using base = AutoModelForCausalLM.fromPretrained(modelPath);
    const peft = PeftModel.fromPretrained(base, TRAINED);
    saveModel(peft.mergeAndUnload(), `${folder}/whole`);
    assert.deepEqual(
      readSafetensors(`${to}/model.safetensors`),
      readSafetensors(`${folder}/whole/model.safetensors`),
    );
  });
});

Deno.test("mergeToFolder() splits weights as transformers does, and the folder loads", async () => {
  await inFolder(async (folder) => {
    const options = { modelPath: GQA, adapter: TRAINED };
    const whole = `${folder}/whole`;
    await quietly(() => mergeToFolder(whole, options));
    const to = `${folder}/split`;
    const { result } = await quietly(() =>
      mergeToFolder(to, { ...options, maxShardBytes: 30_000 })
    );
    assert.equal(result.files.length, 4);
    assert.equal(result.files[0], "model-00001-of-00004.safetensors");
    const index = readJsonFile(`${to}/model.safetensors.index.json`);
    const { total_size, total_parameters } = index.metadata as Record<
      string,
      number
    >;
    assert.equal(total_size, 4 * total_parameters!);
    for (const name of result.files) {
      assert.ok(Deno.statSync(`${to}/${name}`).size < 30_000 + 4_000, name);
    }
    assert.deepEqual(
      [...findWeights(to).keys()].sort(),
      [...findWeights(whole).keys()].sort(),
    );
  });
});

Deno.test("mergeToFolder() copies tokenizer and generation settings, and puts the adapter's template and its end of answers there", async () => {
  await inFolder(async (folder) => {
    const [base, adapter] = [`${folder}/base`, `${folder}/adapter`];
    for (
      const source of ["models/tiny-atom", "tests/fixtures/data/chat_legacy"]
    ) {
      Deno.mkdirSync(base, { recursive: true });
      for (const { name } of Deno.readDirSync(source)) {
        if (
          /^(config|generation_config|tokenizer.*)\.json$|\.safetensors$/.test(
            name,
          ) && !isFile(`${base}/${name}`)
        ) {
          Deno.copyFileSync(`${source}/${name}`, `${base}/${name}`);
        }
      }
    }
    writeAdapter(base, adapter);
    const template = "{% for m in messages %}{{ m.content }}{% endfor %}</s>";
    Deno.writeTextFileSync(`${adapter}/chat_template.jinja`, template);
    const generation = JSON.parse(
      Deno.readTextFileSync(`${base}/generation_config.json`),
    );
    Deno.writeTextFileSync(
      `${base}/generation_config.json`,
      JSON.stringify({ ...generation, eos_token_id: 0, temperature: 0.5 }),
    );
    const to = `${folder}/merged`;
    await quietly(() => mergeToFolder(to, { modelPath: base, adapter }));
    const tokenizer = await AutoTokenizer.fromPretrained(to);
    assert.equal(tokenizer.chatTemplate, template);
    const before = await AutoTokenizer.fromPretrained(base);
    assert.deepEqual(
      await tokenizer.encode("你好"),
      await before.encode("你好"),
    );
    const settings = readJsonFile(`${to}/generation_config.json`);
    assert.deepEqual(settings.eos_token_id, [0, tokenizer.eosTokenId]);
    assert.equal(settings.temperature, 0.5);
  });
});

/** The command, and what was left in `folder` beside what was there. */
async function refused(
  folder: string,
  flags: Readonly<Record<string, string>>,
): Promise<{ code: number; error: string; left: string[] }> {
  const names = (): string[] =>
    [...Deno.readDirSync(folder)].map(({ name }) => name);
  const before = names();
  const words = Object.entries(flags).flatMap(([name, value]) => [
    `--${name}`,
    value,
  ]);
  const { code, error } = runOf(await taskCommand("merge", words).output());
  return { code, error, left: names().filter((it) => !before.includes(it)) };
}

/** Merges a model of 136 MiB in a process of its own: the MiB by which its memory grew. */
async function growthWhenMerging(dtype: string): Promise<number> {
  const root = new URL("../../", import.meta.url).href;
  const code = `
    import { llamaConfig, LlamaForCausalLm, initializeWeights, saveModel } from "${root}lib/architectures/mod.ts";
    import { MergedModel } from "${root}lib/peft/mod.ts";
    import { writeShards } from "${root}lib/formats/safetensors_shards.ts";
    import { AutoModelForCausalLM, getPeftModel } from "${root}mod.ts";
    import { logitsOf } from "${root}tasks/compare_logits.ts";
    const [folder, dtype] = Deno.args;
    if (dtype === "make") {
      using model = new LlamaForCausalLm(llamaConfig("F", {
        model_type: "llama", hidden_size: 512, num_attention_heads: 8, num_hidden_layers: 10,
        intermediate_size: 1344, vocab_size: 4096,
      }));
      initializeWeights(model, { seed: 1 });
      saveModel(model, folder);
      using base = AutoModelForCausalLM.fromPretrained(folder);
      using peft = getPeftModel(base, { r: 2, target_modules: "all-linear" });
      peft.savePretrained(folder + "/adapter");
      Deno.exit();
    }
    const peak = () =>
      Number(/VmHWM:\\s+(\\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))[1]);
    {
      using small = new MergedModel({ modelPath: "${GQA}", adapter: "${TRAINED}" });
      logitsOf(small.base, [1, 2, 3]);
    }
    const before = peak();
    using model = new MergedModel({ modelPath: folder, adapter: folder + "/adapter" });
    Deno.mkdirSync(folder + "/" + dtype);
    writeShards(folder + "/" + dtype, model.tensors(dtype), { maxBytes: 2 ** 40 });
    logitsOf(model.base, [1, 2, 3, 4]);
    console.log((peak() - before) / 1024);`;
  return await inFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/merge.ts`, code);
    const run = async (what: string): Promise<string> => {
      const { code, out, error } = runOf(
        await new Deno.Command(Deno.execPath(), {
          args: [
            ...["run", "-q", "-A", "--no-check", `${folder}/merge.ts`],
            folder,
            what,
          ],
          cwd: new URL("../../", import.meta.url),
          env: ENVIRONMENT,
        }).output(),
      );
      assert.equal(code, 0, error);
      return out;
    };
    await run("make");
    return Number(await run(dtype));
  });
}

for (const dtype of ["float32", "bfloat16"]) {
  Deno.test(`MergedModel.tensors() need memory for a few weights, not for the model, in ${dtype}`, async () => {
    const growth = await growthWhenMerging(dtype);
    assert.ok(growth < 130, `it grew by ${growth} MiB`);
  });
}

Deno.test("merge refuses in one sentence, and leaves nothing behind", async () => {
  await inFolder(async (folder) => {
    const to = `${folder}/made/out`;
    const other = await refused(folder, {
      adapter: TRAINED,
      model_path: "tests/fixtures/families/gemma",
      output_dir: to,
    });
    assert.equal(other.code, 1);
    assert.match(
      other.error,
      /\nCannot load adapter "tests\/fixtures\/peft\/trained" into this model: /,
    );
    assert.deepEqual(other.left, []);
    const used = await refused(folder, { adapter: TRAINED, output_dir: GQA });
    assert.equal(
      used.error,
      `Cannot write into "${GQA}": there are files in it, expected a new or an empty folder as --output_dir\n`,
    );
    const none = await refused(folder, { max_shard_size: "5 apples" });
    assert.equal(none.code, 2);
    assert.match(
      none.error,
      /--adapter is missing[^]*--output_dir is missing[^]*--max_shard_size "5 apples": expected a size such as 500MB or 5GB/,
    );
  });
});

Deno.test("merge leaves nothing behind where a file cannot be written to its end", async () => {
  await inFolder(async (folder) => {
    const to = `${folder}/out`;
    const words = "run -q -P=merge --no-prompt tasks/merge.ts --adapter";
    // files longer than 40 KiB fail as on a full disk
    const { code, stderr } = await new Deno.Command("bash", {
      args: [
        "-c",
        `trap '' XFSZ; ulimit -f 40; "$0" ${words} ${TRAINED} --output_dir ${to}`,
        Deno.execPath(),
      ],
      env: ENVIRONMENT,
    }).output();
    assert.equal(code, 1);
    assert.match(
      new TextDecoder().decode(stderr),
      /\nCannot write ".*model\.safetensors": file too large\n$/,
    );
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("merge leaves nothing behind where a weight is too large for the type", async () => {
  await inFolder(async (folder) => {
    const adapter = `${folder}/adapter`;
    Deno.mkdirSync(adapter);
    Deno.copyFileSync(
      `${TRAINED}/adapter_config.json`,
      `${adapter}/adapter_config.json`,
    );
    const tensors = readSafetensors(`${TRAINED}/adapter_model.safetensors`);
    const [name] = [...tensors.keys()].filter((it) => it.includes("lora_B"));
    const { shape } = tensors.get(name!)!;
    const bytes = new Uint8Array(
      new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1e6).buffer,
    );
    tensors.set(name!, { dtype: "float32", shape, bytes });
    writeSafetensors(`${adapter}/adapter_model.safetensors`, tensors);
    const { code, error, left } = await refused(folder, {
      adapter,
      model_path: GQA,
      output_dir: `${folder}/out`,
      torch_dtype: "float16",
    });
    assert.equal(code, 1);
    assert.match(
      error,
      /Cannot merge "model\.layers\.0\.\S+weight" of .*: it would have numbers that are not finite in float16\n$/,
    );
    assert.deepEqual(left, []);
  });
});
