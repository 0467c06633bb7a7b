/**
 * `deno task bench --profile step`: times a single training step of lorikeet, of
 * plain PyTorch in Python, and of transformers with peft, without padding, dropout
 * or a shared prefix, on this machine, one after the other. Prints ratios; it
 * checks nothing.
 *
 * @module
 */

import { deviceName, deviceNamed } from "../lib/tensor/mod.ts";
import { measureStep, type Shape } from "./step.ts";

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
    steps: 20,
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
    steps: 5,
    threads: 2,
  },
};

/** The sizes of Llama-2-7B with Atom's vocabulary. */
const SEVEN_BILLION: Shape = {
  hidden: 4096,
  layers: 32,
  heads: 32,
  kv_heads: 32,
  intermediate: 11008,
  vocab: 65000,
  batch: 4,
  length: 512,
  rank: 8,
  steps: 10,
  threads: 8,
};

/** Duration of the Python script's median step in milliseconds. */
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

/** The best of all rounds: other work on the machine can only add time. */
function best(values: readonly (number | null)[]): number | null {
  const known = values.filter((value): value is number => value !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** Measures both shapes so often, and the 7B on a GPU, and prints the results. */
export function comparePlainSteps(rounds: number): void {
  for (const [name, shape] of Object.entries(SHAPES)) {
    const here: number[] = [];
    const plain: (number | null)[] = [];
    const peft: (number | null)[] = [];
    for (let round = 0; round < rounds; round++) {
      plain.push(measurePython(shape, "plain"));
      here.push(measureStep(shape));
      peft.push(measurePython(shape, "peft"));
    }
    report(name, { here: best(here)!, plain: best(plain), peft: best(peft) });
  }
  benchDevice();
}

/** A step of a model with the sizes of a 7B in bfloat16, if there is a CUDA device. */
function benchDevice(): void {
  const device = deviceNamed("auto");
  if (device.type === "cpu") {
    console.log("7B: not measured, there is no CUDA device");
    return;
  }
  for (const checkpointing of [false, true]) {
    let memory = "";
    const milliseconds = measureStep(SEVEN_BILLION, {
      device,
      checkpointing,
      dtype: "bfloat16",
      onDone: () => memory = deviceMemory(),
    });
    const { batch, length } = SEVEN_BILLION;
    const speed = Math.round(batch * length / milliseconds * 1000);
    console.log(
      `7B in bfloat16 on ${
        deviceName(device)
      }, checkpointing ${checkpointing}: ` +
        `${
          milliseconds.toFixed(0)
        } ms a step, ${speed} tokens/s, memory ${memory}`,
    );
  }
}

/**
 * GPU memory in use by all processes, as the driver reports it; libtorch's
 * cache keeps the peak.
 */
function deviceMemory(): string {
  const { stdout } = new Deno.Command("nvidia-smi", {
    args: ["--query-gpu=memory.used", "--format=csv,noheader"],
  }).outputSync();
  return new TextDecoder().decode(stdout).trim();
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
