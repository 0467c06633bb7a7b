/**
 * `deno task pretrain`: makes `models/tiny-atom` from the texts in this repository
 * alone: learns a tokenizer, initialises a Llama, and trains it. It documents where
 * the shipped weights come from.
 *
 * @module
 */

import {
  initializeWeights,
  llamaConfig,
  LlamaForCausalLm,
  saveModel,
} from "../lib/architectures/mod.ts";
import { HfArgumentParser } from "../lib/arguments/hf_argument_parser.ts";
import type { SettingsOf, SettingsTable } from "../lib/arguments/setting.ts";
import { TRAINING, type TrainingArguments } from "../lib/arguments/settings.ts";
import { writePythonJson } from "../lib/formats/python_json.ts";
import { setThreads } from "../lib/tensor/mod.ts";
import { AutoTokenizer } from "../lib/tokenizer/auto_tokenizer.ts";
import { trainBpe } from "./pretrain/bpe_trainer.ts";
import { writeLlamaTokenizer } from "./pretrain/llama_tokenizer_files.ts";
import { Trainer, type TrainerCallback } from "../lib/training/mod.ts";
import {
  type Corpus,
  corpusFeatures,
  readRows,
  tokenizerTexts,
} from "./pretrain/corpus.ts";
import { openLibtorch } from "./open_libtorch.ts";
import { runCommand } from "./report_error.ts";

/** The settings of the command. */
export const PRETRAIN = {
  plain_path: {
    kind: "str",
    default: "models/tiny-atom/corpus/plain.jsonl",
    help: "JSONL file of questions with plain answers",
  },
  voice_path: {
    kind: "str",
    default: "dataset/huanhuan.jsonl",
    help: "JSONL file of the rows that adapters are trained on later",
  },
  output_dir: {
    kind: "str",
    default: "models/tiny-atom",
    help: "Folder for the model",
  },
  max_steps: { kind: "int", default: 1500, help: "Optimizer steps" },
  batch_size: { kind: "int", default: 32, help: "Rows per step" },
  learning_rate: {
    kind: "float",
    default: 2e-3,
    help: "Highest learning rate",
  },
  vocab_size: { kind: "int", default: 2400, help: "Tokens of the vocabulary" },
  seed: {
    kind: "int",
    default: 42,
    help: "The same seed gives the same weights",
  },
} as const satisfies SettingsTable;

type PretrainArguments = SettingsOf<typeof PRETRAIN>;

const LONGEST_HAN = 4;

async function main(): Promise<void> {
  const parser = new HfArgumentParser(
    [{ title: "pretrain arguments", table: PRETRAIN }],
    { prog: "deno task pretrain" },
  );
  const parsed = parser.parseArgsIntoDataclasses(Deno.args);
  if ("help" in parsed) console.log(parsed.help);
  else await pretrain(parsed[0]);
}

async function pretrain(args: PretrainArguments): Promise<void> {
  const corpus: Corpus = {
    plain: readRows(args.plain_path),
    voice: readRows(args.voice_path),
  };
  const tokenizer = await makeTokenizer(corpus, args);
  const features = await corpusFeatures(corpus, tokenizer);
  console.log(`${features.length} rows, ${tokenizer.vocabSize} tokens`);
  await openLibtorch(["run", "sys"]);
  // With one thread, sums are the same on any number of cores.
  setThreads(1);
  using model = new LlamaForCausalLm(
    llamaConfig(args.output_dir, modelConfig(tokenizer)),
  );
  initializeWeights(model, { seed: args.seed });
  using trainer = new Trainer({
    model,
    tokenizer,
    trainDataset: features,
    args: trainingArguments(args),
    callbacks: [printProgress()],
  });
  await trainer.train();
  saveModel(model, args.output_dir, { dtype: "bfloat16" });
  writePythonJson(
    `${args.output_dir}/generation_config.json`,
    { bos_token_id: 1, eos_token_id: 2, do_sample: false },
    { trailingNewline: true },
  );
  console.log(`The model is in ${args.output_dir}`);
}

async function makeTokenizer(
  corpus: Corpus,
  args: PretrainArguments,
): Promise<AutoTokenizer> {
  const vocabulary = trainBpe(tokenizerTexts(corpus), {
    vocabularySize: args.vocab_size,
    longestHan: LONGEST_HAN,
  });
  writeLlamaTokenizer(args.output_dir, vocabulary);
  return await AutoTokenizer.fromPretrained(args.output_dir);
}

/** Atom's architecture with small sizes. */
function modelConfig(tokenizer: AutoTokenizer): Record<string, unknown> {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: tokenizer.vocabSize,
    hidden_size: 128,
    intermediate_size: 384,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 512,
    hidden_act: "silu",
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    initializer_range: 0.02,
    tie_word_embeddings: false,
    bos_token_id: tokenizer.bosTokenId,
    eos_token_id: tokenizer.eosTokenId,
  };
}

function trainingArguments(args: PretrainArguments): TrainingArguments {
  const parser = new HfArgumentParser([{ title: "training", table: TRAINING }]);
  const [training] = parser.parseDict({
    output_dir: args.output_dir,
    per_device_train_batch_size: args.batch_size,
    max_steps: args.max_steps,
    learning_rate: args.learning_rate,
    lr_scheduler_type: "cosine",
    warmup_steps: 0.05,
    weight_decay: 0.1,
    logging_steps: 50,
    save_strategy: "no",
    seed: args.seed,
  });
  return training;
}

function printProgress(): TrainerCallback {
  const started = performance.now();
  return {
    onLog({ step, epoch, loss }): void {
      if (loss === undefined) return;
      const seconds = Math.round((performance.now() - started) / 1000);
      console.log(
        `step ${step}, epoch ${epoch!.toFixed(2)}, loss ${
          loss.toFixed(4)
        }, ${seconds} s`,
      );
    },
  };
}

if (import.meta.main) runCommand(main);
