/**
 * Peak memory of training runs, measured and as `deno task inspect` tells it: the real
 * commands on random Llamas of several shapes, VmHWM of the training process. Linux only: `deno run -A bench/memory.ts`, with a number for
 * one shape of the list.
 *
 * @module
 */

import {
  initializeWeights,
  llamaConfig,
  LlamaForCausalLm,
  saveModel,
} from "../lib/architectures/mod.ts";
import type { DType } from "../lib/formats/dtype.ts";
import { libraries } from "../ffi/mod.ts";
import { ensureLibtorch } from "../lib/tensor/mod.ts";

interface Shape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kv: number;
  readonly intermediate: number;
  readonly vocab: number;
  readonly batch: number;
  readonly length: number;
  /** How the weights lie in the file. Default float32. */
  readonly stored?: DType;
  /** More flags of the command. */
  readonly flags?: string;
}

const SMALL = { hidden: 128, layers: 4, heads: 4, kv: 2, intermediate: 384 };
const MIDDLE = { hidden: 512, layers: 8, heads: 8, kv: 8, intermediate: 1408 };
const LARGE = { hidden: 1024, layers: 6, heads: 16, kv: 4, intermediate: 2816 };
const RECOMPUTED = "--gradient_checkpointing";

const SHAPES: readonly Shape[] = [
  { ...SMALL, vocab: 2400, batch: 8, length: 64 },
  { ...SMALL, vocab: 2400, batch: 8, length: 1024 },
  { ...SMALL, vocab: 64000, batch: 8, length: 256 },
  { ...SMALL, vocab: 64000, batch: 4, length: 512, flags: RECOMPUTED },
  { ...MIDDLE, vocab: 2400, batch: 4, length: 128 },
  { ...MIDDLE, vocab: 2400, batch: 4, length: 512 },
  { ...MIDDLE, vocab: 2400, batch: 4, length: 512, flags: RECOMPUTED },
  { ...MIDDLE, vocab: 32000, batch: 2, length: 512 },
  { ...MIDDLE, vocab: 32000, batch: 4, length: 256, flags: "--bf16" },
  {
    ...MIDDLE,
    vocab: 32000,
    batch: 4,
    length: 256,
    stored: "bfloat16",
    flags: "--lora_dropout 0.1",
  },
  { ...LARGE, vocab: 2400, batch: 1, length: 64 },
  { ...LARGE, vocab: 32000, batch: 1, length: 1024 },
  { ...LARGE, vocab: 32000, batch: 2, length: 512, flags: RECOMPUTED },
  {
    ...LARGE,
    vocab: 32000,
    batch: 1,
    length: 512,
    stored: "bfloat16",
    flags: `--bf16 ${RECOMPUTED}`,
  },
  {
    ...LARGE,
    vocab: 32000,
    batch: 1,
    length: 512,
    stored: "bfloat16",
    flags: "--torch_dtype float32",
  },
  {
    ...MIDDLE,
    vocab: 32000,
    batch: 4,
    length: 100,
    flags: "--lora_dropout 0.1 --lora_rank 64",
  },
];

const MEGABYTE = 1e6;

/** Writes a random model and rows that fill `shape.length` into `folder`. */
function makeInput(folder: string, shape: Shape): void {
  using model = new LlamaForCausalLm(llamaConfig(folder, {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kv,
    intermediate_size: shape.intermediate,
    vocab_size: shape.vocab,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 2048,
    bos_token_id: 1,
    eos_token_id: 2,
  }));
  initializeWeights(model, { seed: 0, dtype: shape.stored ?? "float32" });
  saveModel(model, folder);
  const beside = ["tokenizer.json", "tokenizer_config.json"];
  for (const name of [...beside, "special_tokens_map.json"]) {
    Deno.copyFileSync(`models/tiny-atom/${name}`, `${folder}/${name}`);
  }
  const text = Deno.readTextFileSync("dataset/huanhuan.jsonl")
    .replace(/[\w\s"\\{}:,.]/g, "").slice(0, 3000);
  const rows = Array.from({ length: 4 * shape.batch }, (_, at) => ({
    instruction: "你是谁？",
    output: text.slice(at),
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

/** Bytes that `deno task inspect` tells for the same flags. */
async function estimateOf(flags: readonly string[]): Promise<number> {
  const { success, stdout, stderr } = await command("inspect", flags).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const text = new TextDecoder().decode(stdout);
  return Number(/about ([\d.]+) GB at the highest point/.exec(text)?.[1]) * 1e9;
}

async function measure(shape: Shape): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    makeInput(folder, shape);
    const flags = [
      ...["--model_path", folder, "--dataset_path", `${folder}/rows.json`],
      ...["--output_dir", `${folder}/output`, "--max_steps", "3"],
      ...["--target_modules", "all-linear", "--device", "cpu"],
      ...["--per_device_train_batch_size", `${shape.batch}`],
      ...["--max_seq_length", `${shape.length}`, "--save_strategy", "no"],
      ...["--sample_question", "none"],
      ...shape.flags?.split(" ") ?? [],
    ];
    const estimate = await estimateOf(flags);
    const measured = await peakOf(command("train", flags));
    const { hidden, layers, vocab, batch, length, stored = "float32" } = shape;
    console.log([
      `hidden ${hidden} x ${layers}, vocabulary ${vocab}, ${batch} x ${length},`,
      `${stored} ${shape.flags ?? ""}: measured`,
      `${Math.round(measured / MEGABYTE)} MB, inspect tells`,
      `${Math.round(estimate / MEGABYTE)} MB, ratio`,
      (estimate / measured).toFixed(2),
    ].join(" "));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function main(): Promise<void> {
  await ensureLibtorch();
  const only = Deno.args[0];
  for (const [at, shape] of SHAPES.entries()) {
    if (only === undefined || Number(only) === at) await measure(shape);
  }
}

if (import.meta.main) main();
