/**
 * What `deno task inspect` says of the model: the modules that an adapter would
 * wrap, the number of parameters, and the memory of the run. From names and shapes
 * only; no weights are read.
 *
 * @module
 */

import { tiedName } from "../lib/architectures/weights.ts";
import { printable } from "../lib/input_error.ts";
import { describeTargets, trainedCount } from "../lib/peft/mod.ts";
import { lastName } from "../lib/peft/target_names.ts";
import type { CausalLm, TrainArguments } from "../mod.ts";
import { runMemory } from "./inspect_memory.ts";
import { counted } from "./inspect_rows.ts";
import type { CheckedRun } from "./train_checks.ts";

/** Targets by name with their number, and the counts that peft prints. */
export function describeParameters(
  { tree, adapter }: Pick<CheckedRun, "tree" | "adapter">,
): string[] {
  const counts = new Map<string, number>();
  const { targeted, parameters } = adapter.report;
  for (const path of [...targeted, ...parameters]) {
    const name = lastName(path);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const trainable = trainedCount(tree, adapter);
  const all = baseCount(tree) + trainable;
  return [
    ...describeTargets(adapter.report).map(printable),
    [...counts].map(([name, count]) => `${count} x ${printable(name)}`)
      .join(", "),
    `trainable params: ${counted(trainable)} || all params: ${
      counted(all)
    } || trainable%: ${(100 * trainable / all).toFixed(4)}`,
  ];
}

/** Parameters of the base model; a head that is the embedding counts once. */
function baseCount(tree: CausalLm): number {
  const tied = tiedName(tree);
  return [...tree.namedParameterSpecs()]
    .filter(({ path }) => path !== tied)
    .reduce(
      (sum, { spec }) => sum + spec.shape.reduce((a, b) => a * b, 1),
      0,
    );
}

const MEGABYTE = 1e6;
const GIGABYTE = 1e9;

/** The memory of the run, what it is made of, and what checkpointing changes. */
export function describeMemory(
  checked: CheckedRun,
  run: Pick<TrainArguments, "finetune" | "training">,
): string[] {
  const { tree, adapter } = checked;
  const { finetune, training } = run;
  const memory = runMemory(checked, run, {
    base: baseCount(tree),
    trainable: trainedCount(tree, adapter),
  });
  const { tokens, trained } = memory.batch;
  const moments = training.optim.startsWith("adamw")
    ? "its gradients and AdamW's moments"
    : "its gradients and moments";
  const weights: [number, string][] = [
    [
      memory.base,
      `base model in ${memory.held}${
        memory.converted ? ", and its files" : ""
      }`,
    ],
    [memory.adapter, `adapter in float32, ${moments}`],
  ];
  if (finetune.device.startsWith("cuda")) {
    return [
      ...columns(weights),
      "activations come on top: only a CPU's memory is estimated",
    ];
  }
  const recomputes = training.gradient_checkpointing;
  return [
    `about ${gigabytes(memory.peak)} at the highest point on a CPU:`,
    ...columns([
      [memory.program, "Deno, libtorch, tokenizer and rows"],
      ...weights,
      [
        memory.step,
        `a step of up to ${counted(tokens)} tokens, ${
          counted(trained)
        } of them trained`,
      ],
    ]).map((line) => `  ${line}`),
    `about ${gigabytes(memory.otherPeak)} ${
      recomputes ? "without" : "with"
    } --gradient_checkpointing`,
  ];
}

/** Sizes and names, one below the other. */
function columns(parts: readonly (readonly [number, string])[]): string[] {
  const sizes = parts.map(([bytes]) => megabytes(bytes));
  const width = Math.max(...sizes.map(({ length }) => length));
  return parts.map(([, name], at) =>
    `${sizes[at]!.padStart(width)} MB  ${name}`
  );
}

function megabytes(bytes: number): string {
  return fixed(bytes / MEGABYTE, 1);
}

function gigabytes(bytes: number): string {
  return `${fixed(bytes / GIGABYTE, 2)} GB`;
}

function fixed(value: number, digits: number): string {
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}
