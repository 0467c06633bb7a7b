/**
 * What is fuzzed: a good file, how it is damaged, and what reads it.
 *
 * @module
 */

import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { readSettingsFile } from "../../lib/arguments/settings_file.ts";
import { parseTrainArguments } from "../../lib/arguments/train_arguments.ts";
import { readExamples } from "../../lib/data/read_examples.ts";
import { FileBytes } from "../../lib/formats/file_bytes.ts";
import { readGguf } from "../../lib/formats/gguf.ts";
import { readStored } from "../../lib/formats/stored_tensor.ts";
import { AutoTokenizer } from "../../lib/tokenizer/mod.ts";
import { readJsonFile } from "../../lib/formats/json_file.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { readTorchArchive } from "../../lib/formats/torch_archive.ts";
import { findWeights } from "../../lib/formats/weights.ts";
import { readAdapterConfig } from "../../lib/peft/adapter_files.ts";
import { readTokenizerFiles } from "../../lib/tokenizer/tokenizer_files.ts";
import { tokenizerSpec } from "../../lib/tokenizer/tokenizer_spec.ts";
import { stateFromJson } from "../../lib/training/trainer_state.ts";
import { GOLDEN } from "../formats/temporary.ts";
import { byteMutant, type Draws, jsonMutant, textMutant } from "./mutants.ts";

/** A kind of file and its reader. */
export interface Subject {
  /** The file's name in the folder that `read` is given. */
  readonly file: string;
  /** Good content to start from. */
  readonly good: () => readonly (Uint8Array | string)[];
  /** Damages one of `good`. */
  readonly mutate: (good: Uint8Array | string, draws: Draws) => Uint8Array;
  /** Reads the file in `folder`; an InputError is an answer, any other error a finding. */
  readonly read: (folder: string) => unknown;
  /** Other files that the folder needs. */
  readonly beside?: readonly string[];
}

const MODELS = "tests/fixtures/models";
const ADAPTER = "tests/fixtures/peft/trained";
const text = (path: string): string => Deno.readTextFileSync(path);
const bytes = (path: string): Uint8Array => Deno.readFileSync(path);
const GGUF = "tests/fixtures/gguf";
const PARTS = "tests/fixtures/tokenizers/parts/qwen2";
const PARTS_FILES = [
  "merges.txt",
  "vocab.json",
  "config.json",
  "tokenizer_config.json",
].map((name) => `${PARTS}/${name}`);

const encode = (content: string): Uint8Array =>
  new TextEncoder().encode(content);

const asBytes: Subject["mutate"] = (good, draws) =>
  byteMutant(typeof good === "string" ? encode(good) : good, draws);
const asJson: Subject["mutate"] = (good, draws) =>
  draws.below(8) === 0
    ? asBytes(good, draws)
    : encode(jsonMutant(String(good), draws));
const asText: Subject["mutate"] = (good, draws) =>
  draws.below(8) === 0
    ? asBytes(good, draws)
    : encode(textMutant(String(good), draws));

/** A safetensors file whose header is damaged as JSON, its length made to fit. */
const asHeader: Subject["mutate"] = (good, draws) => {
  const whole = good as Uint8Array;
  const length = Number(new DataView(whole.buffer).getBigUint64(0, true));
  const header = new TextDecoder().decode(whole.subarray(8, 8 + length));
  const mutant = encode(jsonMutant(header, draws));
  const data = whole.subarray(8 + length);
  const file = new Uint8Array(8 + mutant.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(mutant.length), true);
  file.set(mutant, 8);
  file.set(data, 8 + mutant.length);
  return file;
};

const SETTINGS = JSON.stringify({
  model_path: "models/tiny-atom",
  dataset_path: "dataset/huanhuan.jsonl",
  lora_rank: 8,
  learning_rate: 1e-4,
  target_modules: ["q_proj", "v_proj"],
  save_strategy: "no",
  optim_args: null,
  bf16: false,
});

const STATE = JSON.stringify({
  best_metric: null,
  epoch: 1.5,
  global_step: 3,
  max_steps: 6,
  log_history: [
    { epoch: 0.5, loss: 1.25, learning_rate: 1e-4, step: 1 },
    { epoch: 1.0, loss: 1.0, grad_norm: 0.5, step: 2 },
  ],
  total_flos: 1e9,
});

const YAML = `model_path: models/tiny-atom # a comment
dataset_path: &data "dataset/huanhuan.jsonl"
lora_rank: 8
learning_rate: 1e-4
target_modules:
  - q_proj
  - v_proj
more: {a: [1, 2], b: *data}
text: |
  one
  two
`;

const ARCHIVES = [
  "adapter_model.bin",
  "module.bin",
  "views.bin",
  "old_format.bin",
];

const file = (folder: string, name: string): string => `${folder}/${name}`;

/** Loads the tokenizer of a folder and uses it both ways. */
async function useTokenizer(folder: string): Promise<void> {
  const tokenizer = await AutoTokenizer.fromPretrained(folder);
  tokenizer.decode(await tokenizer.encode("Hello world, 你好"));
}

/** Kinds of files by name. */
export const SUBJECTS: Readonly<Record<string, Subject>> = {
  "safetensors bytes": {
    file: "x.safetensors",
    good: () => [bytes(`${GOLDEN}/types.safetensors`)],
    mutate: asBytes,
    read: (folder) => readSafetensors(file(folder, "x.safetensors")),
  },
  "safetensors header": {
    file: "model.safetensors",
    good: () => [
      bytes(`${GOLDEN}/types.safetensors`),
      bytes(`${MODELS}/llama_gqa/model.safetensors`),
    ],
    mutate: asHeader,
    read: findWeights,
  },
  "shard index": {
    file: "model.safetensors.index.json",
    good: () => [text(`${MODELS}/llama_sharded/model.safetensors.index.json`)],
    mutate: asJson,
    read: findWeights,
    beside: [1, 2, 3].map((shard) =>
      `${MODELS}/llama_sharded/model-0000${shard}-of-00003.safetensors`
    ),
  },
  "torch archive": {
    file: "x.bin",
    good: () => ARCHIVES.map((name) => bytes(`${GOLDEN}/${name}`)),
    mutate: asBytes,
    read: (folder) => readTorchArchive(file(folder, "x.bin")),
  },
  "GGUF tensors": {
    file: "x.gguf",
    good: () => [bytes(`${GGUF}/types.gguf`)],
    mutate: asBytes,
    read: (folder) => {
      const path = file(folder, "x.gguf");
      using opened = new FileBytes(path);
      for (const tensor of readGguf(path).tensors.values()) {
        readStored(opened, tensor);
      }
    },
  },
  "GGUF model": {
    file: "x.gguf",
    good: () =>
      ["llama", "llama_head", "models/gemma3", "models/phi3_long"]
        .map((name) => bytes(`${GGUF}/${name}.gguf`)),
    mutate: asBytes,
    read: (folder) =>
      AutoModelForCausalLM.fromPretrained(folder)[Symbol.dispose](),
  },
  "GGUF tokenizer": {
    file: "x.gguf",
    good: () =>
      ["llama", "tokenizers/bpe", "tokenizers/bpe_symbols"]
        .map((name) => bytes(`${GGUF}/${name}.gguf`)),
    mutate: asBytes,
    read: useTokenizer,
  },
  "JSON file": {
    file: "x.json",
    good: () => [text(`${MODELS}/rope_yarn/config.json`), STATE],
    mutate: asJson,
    read: (folder) => readJsonFile(file(folder, "x.json")),
  },
  "YAML settings": {
    file: "x.yaml",
    good: () => [YAML, SETTINGS],
    mutate: asText,
    read: (folder) => readSettingsFile(file(folder, "x.yaml")),
  },
  "JSON settings": {
    file: "x.jsonc",
    good: () => [SETTINGS, text("train.jsonc")],
    mutate: (good, draws) =>
      String(good).startsWith('{"') ? asJson(good, draws) : asText(good, draws),
    read: (folder) => readSettingsFile(file(folder, "x.jsonc")),
  },
  "training settings": {
    file: "x.json",
    good: () => [SETTINGS],
    mutate: asJson,
    read: (folder) => parseTrainArguments([file(folder, "x.json")]),
  },
  "trainer state": {
    file: "trainer_state.json",
    good: () => [STATE],
    mutate: asJson,
    read: (folder) => stateFromJson(file(folder, "trainer_state.json")),
  },
  "model config": {
    file: "config.json",
    good: () =>
      ["rope_yarn", "rope_longrope", "rope_llama3", "llama_tied"]
        .map((name) => text(`${MODELS}/${name}/config.json`)),
    mutate: asJson,
    read: (folder) => AutoModelForCausalLM.fromConfig(folder)[Symbol.dispose](),
  },
  "adapter config": {
    file: "adapter_config.json",
    good: () => [
      text(`${ADAPTER}/adapter_config.json`),
      text("tests/fixtures/peft/patterns/adapter_config.json"),
    ],
    mutate: asJson,
    read: readAdapterConfig,
  },
  "rows": {
    file: "x.jsonl",
    good: () => [text("dataset/huanhuan.jsonl").slice(0, 1500)],
    mutate: asText,
    read: (folder) => readExamples(file(folder, "x.jsonl")),
  },
  "tokenizer": {
    file: "tokenizer.json",
    good: () => [text("models/tiny-atom/tokenizer.json")],
    mutate: asJson,
    read: (folder) => tokenizerSpec(readTokenizerFiles(folder)),
    beside: ["models/tiny-atom/tokenizer_config.json"],
  },
  "merges.txt": {
    file: "merges.txt",
    good: () => [text(`${PARTS}/merges.txt`)],
    mutate: asText,
    read: useTokenizer,
    beside: PARTS_FILES.filter((path) => !path.endsWith("merges.txt")),
  },
  "vocab.json": {
    file: "vocab.json",
    good: () => [text(`${PARTS}/vocab.json`)],
    mutate: asJson,
    read: useTokenizer,
    beside: PARTS_FILES.filter((path) => !path.endsWith("vocab.json")),
  },
};
