/**
 * `deno task export`: files of llama.cpp's converter are written again to the same
 * settings, tokens and logits; what the format does not hold is refused.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readGguf } from "../../lib/formats/gguf.ts";
import { packQ8 } from "../../lib/formats/gguf_writer.ts";
import { GgufWording, readConfig } from "../../lib/architectures/mod.ts";
import { ollamaTemplate } from "../../lib/generation/ollama.ts";
import { ggufTokenizerPairs } from "../../lib/tokenizer/mod.ts";
import { AutoModelForCausalLM, AutoTokenizer, saveModel } from "../../mod.ts";
import { logitsOf } from "../../tasks/compare_logits.ts";
import { exportGguf } from "../../tasks/export.ts";
import { mergeToFolder } from "../../tasks/merge.ts";
import { errorOf } from "../formats/temporary.ts";
import { inFolder } from "../training/tiny_run.ts";
import { runOf, taskCommand } from "./task_process.ts";

const GQA = "tests/fixtures/models/llama_gqa";
const TRAINED = "tests/fixtures/peft/trained";
const GGUF = "tests/fixtures/gguf";

async function quietly<T>(act: () => Promise<T>): Promise<T> {
  const print = console.error;
  console.error = () => {};
  try {
    return await act();
  } finally {
    console.error = print;
  }
}

const IDS = [1, 5, 9, 2, 17, 30, 3];

function logitsAt(path: string): Float64Array {
  using model = AutoModelForCausalLM.fromPretrained(path);
  return logitsOf(model, IDS);
}

const FILES = [...Deno.readDirSync(`${GGUF}/models`)]
  .map(({ name }) => `${GGUF}/models/${name}`)
  .filter((path) => path.endsWith(".gguf")).concat(
    `${GGUF}/llama.gguf`,
    `${GGUF}/llama_head.gguf`,
  ).sort();

for (const path of FILES) {
  Deno.test(`exportGguf() writes what llama.cpp's converter wrote: ${path.split("/").at(-1)}`, async () => {
    await inFolder(async (folder) => {
      const { base, out } = { base: `${folder}/base`, out: `${folder}/out` };
      {
        using model = AutoModelForCausalLM.fromPretrained(path, {
          torchDtype: "float32",
        });
        saveModel(model, base);
      }
      const { file } = await quietly(() =>
        exportGguf(out, { modelPath: base, adapter: null, outType: "f32" })
      );
      const [own, theirs] = [readGguf(`${out}/${file}`), readGguf(path)];
      const architecture = theirs.metadata.get("general.architecture");
      assert.equal(own.metadata.get("general.architecture"), architecture);
      for (const [name, value] of theirs.metadata) {
        if (!name.startsWith(`${architecture}.`)) continue;
        assert.deepEqual(own.metadata.get(name), value, name);
      }
      assert.deepEqual(
        [...own.tensors].map(([name, { shape }]) => `${name} ${shape}`).sort(),
        [...theirs.tensors].map(([name, { shape }]) => `${name} ${shape}`)
          .sort(),
      );
      assert.deepEqual(logitsAt(`${out}/${file}`), logitsAt(base));
    });
  });
}

Deno.test("exportGguf() keeps the logits of the merged model to the bit in f16 and bf16, to the rounding in q8_0", async () => {
  await inFolder(async (folder) => {
    const options = { modelPath: GQA, adapter: TRAINED };
    for (
      const [outType, dtype] of [["f16", "float16"], [
        "bf16",
        "bfloat16",
      ]] as const
    ) {
      const [merged, out] = [`${folder}/${dtype}`, `${folder}/${outType}`];
      await quietly(() => mergeToFolder(merged, { ...options, dtype }));
      const { file } = await quietly(() =>
        exportGguf(out, { ...options, outType })
      );
      assert.deepEqual(logitsAt(`${out}/${file}`), logitsAt(merged));
    }
    const { comparison } = await quietly(() =>
      exportGguf(`${folder}/q8`, { ...options, outType: "q8_0" })
    );
    assert.ok(comparison.largest > 0);
    assert.ok(comparison.largest < 0.1 * comparison.scale);
  });
});

Deno.test("packQ8() rounds halves away from zero, to a scale of a 127th of the largest", () => {
  const numbers = new Float32Array(32);
  numbers.set([127, -127, 0.5, -0.5, 1.5, 2.49, -2.5]);
  const bytes = packQ8(numbers);
  assert.equal(new DataView(bytes.buffer).getFloat16(0, true), 1);
  assert.deepEqual(
    [...new Int8Array(bytes.buffer, 2, 8)],
    [127, -127, 1, -1, 2, 2, -3, 0],
  );
  assert.deepEqual(packQ8(new Float32Array(32)), new Uint8Array(34));
});

for (const name of ["bpe", "gpt-2", "llama-bpe", "qwen2", "smollm", "tekken"]) {
  Deno.test(`ggufTokenizerPairs() writes the tokenizer of ${name}.gguf again`, async () => {
    const path = `${GGUF}/tokenizers/${name}.gguf`;
    const { metadata } = readGguf(path);
    const tokens = metadata.get("tokenizer.ggml.tokens") as readonly string[];
    await inFolder(async (folder) => {
      const first = await AutoTokenizer.fromPretrained(path);
      first.savePretrained(folder);
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      const pairs = await ggufTokenizerPairs(folder, {
        tokenizer,
        vocabSize: tokens.length,
        turnEndId: null,
        chatTemplate: null,
      });
      const written = new Map<string, unknown>(
        pairs.map(([key, value]) => [key, Object.values(value)[0]]),
      );
      for (const part of ["tokens", "merges", "pre", "model"]) {
        const key = `tokenizer.ggml.${part}`;
        if (part === "pre" && name === "bpe") continue;
        assert.deepEqual(written.get(key), metadata.get(key), key);
      }
      const id = "tokenizer.ggml.eos_token_id";
      assert.deepEqual(written.get(id), metadata.get(id));
    });
  });
}

Deno.test("ollamaTemplate() says the same as a chat template, or nothing", () => {
  const chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n" +
    "{{ m.content }}<|im_end|>\n{% endfor %}" +
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  assert.equal(
    ollamaTemplate(chatml, {}),
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n" +
      "<|im_start|>user\n{{ else }}<|im_start|>user\n{{ end }}{{ .Prompt }}" +
      "<|im_end|>\n<|im_start|>assistant\n{{ .Response }}<|im_end|>\n",
  );
  const counted = "{% for m in messages %}{{ loop.index }}{{ m.content }}" +
    "{% endfor %}{% if add_generation_prompt %}:{% endif %}";
  assert.equal(ollamaTemplate(counted, {}), null);
});

Deno.test("GgufWording refuses families that llama.cpp names otherwise, by name", () => {
  assert.match(
    errorOf(() =>
      new GgufWording(readConfig("tests/fixtures/families/cohere"))
    ),
    /models of type "cohere" are not written, known are "mistral", "llama"/,
  );
});

Deno.test("export refuses what the format does not hold, and leaves nothing behind", async () => {
  await inFolder(async (folder) => {
    const words =
      `--model_path tests/fixtures/models/rope_dynamic --output_dir ${folder}/out`;
    const { code, error } = runOf(
      await taskCommand("export", words.split(" ")).output(),
    );
    assert.equal(code, 1);
    assert.match(error, /as GGUF: llama\.cpp's "llama" does not hold its rope/);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("export writes the shipped model with its tokenizer and a Modelfile", async () => {
  await inFolder(async (folder) => {
    const out = `${folder}/out`;
    const words = `--model_path models/tiny-atom --output_dir ${out}`;
    const { code, error } = runOf(
      await taskCommand("export", words.split(" ")).output(),
    );
    assert.equal(code, 0, error);
    const text = Deno.readTextFileSync(`${out}/Modelfile`);
    assert.match(text, /^FROM \.\/tiny-atom-bf16\.gguf\n/);
    const tokenizer = await AutoTokenizer.fromPretrained(
      `${out}/tiny-atom-bf16.gguf`,
    );
    const before = await AutoTokenizer.fromPretrained("models/tiny-atom");
    for (const question of ["你好！", "Hello 123  x\n"]) {
      assert.deepEqual(
        await tokenizer.encode(question),
        await before.encode(question),
      );
    }
  });
});
