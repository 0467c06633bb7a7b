/**
 * `deno task bench`: one training step here against the same step in plain PyTorch
 * from Python and through transformers with peft, on this machine, one after the
 * other. Prints ratios; nothing here is a test.
 *
 * @module
 */

import {
  initializeWeights,
  llamaConfig,
  LlamaForCausalLm,
} from "../lib/architectures/mod.ts";
import { trainingArguments } from "../lib/arguments/train_arguments.ts";
import { getPeftModel } from "../lib/peft/mod.ts";
import { ensureLibtorch, setThreads } from "../lib/tensor/mod.ts";
import { StepEngine, traineeOf } from "../lib/training/mod.ts";

/** The size of the model and the batch; the names are the baseline script's. */
interface Shape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly intermediate: number;
  readonly vocab: number;
  readonly batch: number;
  readonly length: number;
  readonly rank: number;
  readonly steps: number;
  readonly threads: number;
}

const ROUNDS = 3;
const WARMUP = 3;

const SHAPES: Readonly<Record<string, Shape>> = {
  "tiny (128 wide, 4 layers)": {
    hidden: 128,
    layers: 4,
    heads: 4,
    kv_heads: 2,
    intermediate: 384,
    vocab: 2400,
    batch: 16,
    length: 64,
    rank: 8,
    steps: 30,
    threads: 2,
  },
  "small (512 wide, 8 layers)": {
    hidden: 512,
    layers: 8,
    heads: 8,
    kv_heads: 8,
    intermediate: 1408,
    vocab: 8192,
    batch: 4,
    length: 128,
    rank: 8,
    steps: 8,
    threads: 2,
  },
};

const PROJECTIONS = ["q", "k", "v", "o", "gate", "up", "down"];

/** Milliseconds of the median step here. */
function measureHere(shape: Shape): number {
  setThreads(shape.threads);
  using model = new LlamaForCausalLm(llamaConfig("bench", {
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kv_heads,
    intermediate_size: shape.intermediate,
    vocab_size: shape.vocab,
    rms_norm_eps: 1e-5,
  }));
  initializeWeights(model, { seed: 0 });
  using peft = getPeftModel(model, {
    r: shape.rank,
    lora_alpha: 32,
    target_modules: PROJECTIONS.map((name) => `${name}_proj`),
  });
  using engine = new StepEngine(
    traineeOf(peft),
    trainingArguments({ weight_decay: 0.01 }),
  );
  const ids = BigInt64Array.from(
    { length: shape.batch * shape.length },
    (_, index) => BigInt((index * 7919) % shape.vocab),
  );
  const batch = {
    inputIds: ids,
    labels: ids,
    shape: [shape.batch, shape.length] as const,
    trainedTokens: shape.batch * (shape.length - 1),
    tokens: ids.length,
  };
  const took: number[] = [];
  for (let step = 0; step < WARMUP + shape.steps; step++) {
    const started = performance.now();
    engine.step([batch], {
      learningRate: () => 1e-4,
      seed: [0, step],
      loss: "tokens",
    });
    took.push(performance.now() - started);
  }
  return median(took.slice(WARMUP));
}

/** Milliseconds of the median step of the Python script. */
function measurePython(shape: Shape, through: "plain" | "peft"): number | null {
  const { success, stdout, stderr } = new Deno.Command("python3", {
    args: [
      "bench/baseline_step.py",
      JSON.stringify(shape),
      "--through",
      through,
    ],
  }).outputSync();
  if (!success) {
    const words = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
    console.error(`The ${through} baseline did not run: ${words}`);
    return null;
  }
  const text = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
  return JSON.parse(text).median_ms;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** The best of the rounds: what else the machine does only ever adds. */
function best(values: readonly (number | null)[]): number | null {
  const known = values.filter((value): value is number => value !== null);
  return known.length === 0 ? null : Math.min(...known);
}

async function main(): Promise<void> {
  const { version, folder } = await ensureLibtorch();
  console.log(`libtorch ${version} in ${folder}`);
  for (const [name, shape] of Object.entries(SHAPES)) {
    const here: number[] = [];
    const plain: (number | null)[] = [];
    const peft: (number | null)[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      plain.push(measurePython(shape, "plain"));
      here.push(measureHere(shape));
      peft.push(measurePython(shape, "peft"));
    }
    report(name, { here: best(here)!, plain: best(plain), peft: best(peft) });
  }
}

function report(
  name: string,
  times: { here: number; plain: number | null; peft: number | null },
): void {
  const against = (other: number | null): string =>
    other === null
      ? "not measured"
      : `${other.toFixed(1)} ms, ratio ${(times.here / other).toFixed(2)}`;
  console.log(`${name}: lorikeet ${times.here.toFixed(1)} ms a step`);
  console.log(`  plain PyTorch:       ${against(times.plain)}`);
  console.log(`  transformers + peft: ${against(times.peft)}`);
}

if (import.meta.main) main();
