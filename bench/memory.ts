/**
 * Peak memory of training runs, measured and as `deno task inspect` tells it: the
 * real commands on random models of several shapes and families, VmHWM of the
 * training process. Linux only.
 *
 * `deno run -A bench/memory.ts` runs all; with words only the cases whose name has
 * one of them; with flags of `deno task train` a run with those flags.
 *
 * @module
 */

import {
  initializeWeights,
  readConfig,
  saveModel,
} from "../lib/architectures/mod.ts";
import { AutoModelForCausalLM } from "../mod.ts";
import type { DType } from "../lib/formats/dtype.ts";
import { libraries } from "../ffi/mod.ts";
import { ensureLibtorch } from "../lib/tensor/mod.ts";

interface Case {
  readonly name: string;
  /** `config.json`, without what all have. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly batch: number;
  readonly length: number;
  /** How the weights lie in the file. Default float32. */
  readonly stored?: DType;
  /** Rows of unequal length that share nothing, instead of rows that are cut to one length. */
  readonly unequal?: boolean;
  /** More flags of the command. */
  readonly flags?: string;
}

type Config = Case["config"];

function sizes(
  hidden: number,
  layers: number,
  [heads, keyHeads]: readonly [number, number],
  [intermediate, vocabulary]: readonly [number, number],
): Config {
  return {
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    intermediate_size: intermediate,
    vocab_size: vocabulary,
  };
}

function family(type: string, name: string, config: Config): Config {
  return { ...config, model_type: type, architectures: [name] };
}

const llama = (config: Config): Config =>
  family("llama", "LlamaForCausalLM", config);

const SMALL = sizes(128, 4, [4, 2], [384, 2400]);
const MIDDLE = sizes(512, 8, [8, 8], [1408, 2400]);
const WIDE = sizes(1024, 4, [16, 4], [2816, 2400]);
const NARROW = sizes(384, 6, [6, 2], [1024, 8000]);
/** The sizes of SmolLM2-135M. */
const SMOLLM2 = {
  ...sizes(576, 30, [9, 3], [1536, 49152]),
  tie_word_embeddings: true,
};
/** Gemma 2 with its caps, which keep attention scores in memory. */
const GEMMA2 = family("gemma2", "Gemma2ForCausalLM", {
  ...NARROW,
  head_dim: 64,
  query_pre_attn_scalar: 64,
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
  hidden_activation: "gelu_pytorch_tanh",
});
const RECOMPUTED = "--gradient_checkpointing";

const CASES: readonly Case[] = [
  { name: "small", config: llama(SMALL), batch: 8, length: 64 },
  { name: "small long", config: llama(SMALL), batch: 8, length: 1024 },
  {
    name: "small 64k",
    config: llama({ ...SMALL, vocab_size: 64000 }),
    batch: 8,
    length: 256,
  },
  { name: "middle", config: llama(MIDDLE), batch: 2, length: 512 },
  {
    name: "middle nodrop",
    config: llama(MIDDLE),
    batch: 2,
    length: 512,
    flags: "--lora_dropout 0",
  },
  {
    name: "middle recomputed",
    config: llama(MIDDLE),
    batch: 2,
    length: 512,
    flags: RECOMPUTED,
  },
  {
    name: "middle qv",
    config: llama(MIDDLE),
    batch: 2,
    length: 512,
    flags: "--target_modules q_proj v_proj",
  },
  {
    name: "middle unequal",
    config: llama(MIDDLE),
    batch: 4,
    length: 512,
    unequal: true,
  },
  {
    name: "middle padded",
    config: llama(MIDDLE),
    batch: 4,
    length: 512,
    unequal: true,
    flags: "--shared_prefix false",
  },
  {
    name: "wide held as float32",
    config: llama(WIDE),
    batch: 1,
    length: 384,
    stored: "bfloat16",
    flags: "--torch_dtype float32",
  },
  {
    name: "wide short",
    config: llama(WIDE),
    batch: 4,
    length: 96,
  },
  {
    name: "smollm2",
    config: llama(SMOLLM2),
    batch: 2,
    length: 256,
  },
  {
    name: "smollm2 recomputed",
    config: llama(SMOLLM2),
    batch: 2,
    length: 256,
    flags: RECOMPUTED,
  },
  {
    name: "tiny bf16",
    config: llama(SMALL),
    batch: 4,
    length: 200,
    flags: "--bf16",
  },
  {
    name: "gemma 64k",
    config: family("gemma", "GemmaForCausalLM", {
      ...sizes(256, 4, [4, 1], [1024, 64000]),
      head_dim: 64,
      hidden_activation: "gelu_pytorch_tanh",
    }),
    batch: 4,
    length: 256,
  },
  {
    name: "gemma2",
    config: GEMMA2,
    batch: 4,
    length: 400,
  },
  {
    name: "gemma2 unequal",
    config: GEMMA2,
    batch: 4,
    length: 400,
    unequal: true,
  },
  {
    name: "qwen2",
    config: family("qwen2", "Qwen2ForCausalLM", {
      ...NARROW,
      tie_word_embeddings: true,
    }),
    batch: 4,
    length: 300,
  },
  {
    name: "qwen2 recomputed",
    config: family("qwen2", "Qwen2ForCausalLM", {
      ...NARROW,
      tie_word_embeddings: true,
    }),
    batch: 4,
    length: 300,
    flags: RECOMPUTED,
  },
  {
    name: "phi3",
    config: family("phi3", "Phi3ForCausalLM", { ...NARROW, pad_token_id: 0 }),
    batch: 4,
    length: 300,
  },
  {
    name: "chatglm",
    config: {
      model_type: "chatglm",
      architectures: ["ChatGLMModel"],
      auto_map: {
        AutoModelForCausalLM:
          "modeling_chatglm.ChatGLMForConditionalGeneration",
      },
      add_bias_linear: false,
      add_qkv_bias: true,
      ffn_hidden_size: 1024,
      hidden_size: 384,
      kv_channels: 64,
      layernorm_epsilon: 1e-5,
      multi_query_attention: true,
      multi_query_group_num: 2,
      num_attention_heads: 6,
      num_layers: 6,
      original_rope: true,
      padded_vocab_size: 8000,
      post_layer_norm: true,
      rmsnorm: true,
      seq_length: 2048,
      tie_word_embeddings: false,
    },
    batch: 4,
    length: 300,
  },
  {
    name: "qwen3_moe",
    config: family("qwen3_moe", "Qwen3MoeForCausalLM", {
      ...NARROW,
      head_dim: 64,
      num_experts: 8,
      num_experts_per_tok: 2,
      moe_intermediate_size: 512,
      norm_topk_prob: true,
      decoder_sparse_step: 1,
      mlp_only_layers: [],
    }),
    batch: 4,
    length: 300,
    flags: "--target_modules q_proj k_proj v_proj o_proj",
  },
];

const MEGABYTE = 1e6;

/** Writes a random model and rows into `folder`. */
function makeInput(folder: string, { config, ...shape }: Case): void {
  Deno.writeTextFileSync(
    `${folder}/config.json`,
    JSON.stringify({
      rms_norm_eps: 1e-5,
      max_position_embeddings: 2048,
      bos_token_id: 1,
      eos_token_id: 2,
      ...config,
      torch_dtype: shape.stored ?? "float32",
    }),
  );
  using model = AutoModelForCausalLM.fromConfig(readConfig(folder));
  initializeWeights(model, { seed: 0, dtype: shape.stored ?? "float32" });
  saveModel(model, folder);
  const beside = ["tokenizer.json", "tokenizer_config.json"];
  for (const name of [...beside, "special_tokens_map.json"]) {
    Deno.copyFileSync(`models/tiny-atom/${name}`, `${folder}/${name}`);
  }
  const text = Deno.readTextFileSync("dataset/huanhuan.jsonl")
    .replace(/[\w\s"\\{}:,.]/g, "").slice(0, 3000);
  const rows = Array.from({ length: 4 * shape.batch }, (_, at) => ({
    instruction: shape.unequal ? text.slice(at * 7, at * 7 + 4) : "你是谁？",
    output: shape.unequal
      ? text.slice(at, at + (shape.length * (1 + at % 5)) / 5)
      : text.slice(at),
  }));
  Deno.writeTextFileSync(`${folder}/rows.json`, JSON.stringify(rows));
}

function command(task: string, flags: readonly string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", `-P=${task}`, "--no-prompt", `tasks/${task}.ts`].concat(
      flags,
    ),
    env: { LIBTORCH: libraries().folder, NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  });
}

/** Bytes of the highest resident memory while `started` runs. */
async function peakOf(started: Deno.Command): Promise<number> {
  const process = started.spawn();
  let peak = 0;
  const read = (): void => {
    const path = `/proc/${process.pid}/status`;
    try {
      const kilobytes = /VmHWM:\s+(\d+)/.exec(Deno.readTextFileSync(path))?.[1];
      peak = Math.max(peak, Number(kilobytes ?? 0) * 1024);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  };
  const timer = setInterval(read, 20);
  const { success, stderr } = await process.output();
  clearInterval(timer);
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return peak;
}

/** What `deno task inspect` says of memory for the same flags. */
async function estimateOf(
  flags: readonly string[],
): Promise<{ peak: number; parts: string }> {
  const { success, stdout, stderr } = await command("inspect", flags).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const text = new TextDecoder().decode(stdout);
  const peak = /about ([\d.]+) GB at the highest point/.exec(text)?.[1];
  const parts = [...text.matchAll(/^ +([\d,.]+) MB {2}/gm)].map(([, it]) => it);
  return { peak: Number(peak) * 1e9, parts: parts.join(" + ") };
}

async function compare(name: string, flags: readonly string[]): Promise<void> {
  const { peak, parts } = await estimateOf(flags);
  const measured = await peakOf(command("train", flags));
  const rounded = (bytes: number): number => Math.round(bytes / MEGABYTE);
  console.log(
    `${name}: measured ${rounded(measured)} MB, inspect tells ` +
      `${rounded(peak)} MB (${parts}), ratio ${(peak / measured).toFixed(2)}`,
  );
}

async function measure(shape: Case): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    makeInput(folder, shape);
    await compare(shape.name, [
      ...["--model_path", folder, "--dataset_path", `${folder}/rows.json`],
      ...["--output_dir", `${folder}/output`, "--max_steps", "3"],
      ...shape.flags?.includes("--target_modules")
        ? []
        : ["--target_modules", "all-linear"],
      ...["--device", "cpu", "--prompt_format", "recipe"],
      ...["--per_device_train_batch_size", `${shape.batch}`],
      ...["--max_seq_length", `${shape.length}`, "--save_strategy", "no"],
      ...["--sample_question", "none"],
      ...shape.flags?.split(" ") ?? [],
    ]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function main(words: readonly string[]): Promise<void> {
  await ensureLibtorch();
  if (words[0]?.startsWith("--")) return compare("this run", words);
  for (const each of CASES) {
    const wanted = words.length === 0 ||
      words.some((word) => each.name.includes(word));
    if (wanted) await measure(each);
  }
}

if (import.meta.main) main(Deno.args);
