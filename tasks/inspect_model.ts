/**
 * What `deno task inspect` says of the model: the modules that an adapter would
 * wrap, the number of parameters, and the memory that weights, gradients and
 * moments take. From names and shapes only; no weights are read.
 *
 * @module
 */

import { tiedName } from "../lib/architectures/weights.ts";
import { type DType, DTYPE_BYTES } from "../lib/formats/mod.ts";
import { printable } from "../lib/input_error.ts";
import { rankAt } from "../lib/peft/lora_config.ts";
import { describeTargets, targetTree } from "../lib/peft/mod.ts";
import { lastName } from "../lib/peft/target_names.ts";
import type { CausalLm, TrainArguments } from "../mod.ts";
import type { CheckedAdapter } from "./adapter_checks.ts";
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
  const trainable = trainableCount(tree, adapter);
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

/** A and B of every target: `r · (in + out)`, of experts for each of them. */
function trainableCount(
  tree: CausalLm,
  { report, config }: CheckedAdapter,
): number {
  const { widths, parameters } = targetTree(tree);
  const ofModules = report.targeted.reduce((sum, path) => {
    const [inputs, outputs] = widths!.get(path)!;
    return sum + rankAt(config, path) * (inputs + outputs);
  }, 0);
  return report.parameters.reduce((sum, path) => {
    const { count, inFeatures, outFeatures } = parameters!.get(path)!;
    return sum + count * rankAt(config, path) * (inFeatures + outFeatures);
  }, ofModules);
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

/**
 * The memory of what stays the same in all steps. Activations come on top: they
 * depend on libtorch's allocator too, so no number is told for them.
 */
export function describeMemory(
  { tree, adapter }: Pick<CheckedRun, "tree" | "adapter">,
  { finetune, training }: Pick<TrainArguments, "finetune" | "training">,
): string[] {
  const held = heldType(tree, finetune.torch_dtype);
  const float = DTYPE_BYTES.float32;
  const trainable = trainableCount(tree, adapter) * float;
  const parts: [string, number][] = [
    [`base model in ${held}`, baseCount(tree) * DTYPE_BYTES[held]],
    ["adapter in float32", trainable],
    ["its gradients", trainable],
    ...training.optim.startsWith("adamw")
      ? [["AdamW's two moments", 2 * trainable] as [string, number]]
      : [],
  ];
  const width = Math.max(
    ...parts.map(([, bytes]) => inMegabytes(bytes).length),
  );
  return [
    ...parts.map(([name, bytes]) =>
      `${inMegabytes(bytes).padStart(width)} MB ${name}`
    ),
    "activations of a step and libtorch itself come on top",
  ];
}

function inMegabytes(bytes: number): string {
  return (bytes / MEGABYTE).toLocaleString("en-US", {
    minimumFractionDigits: 1,
    maximumFractionDigits: 1,
  });
}

const HALF_OR_SINGLE = ["float32", "bfloat16", "float16"] as const;

/** How the base is held: as asked, or as config.json says. */
function heldType(tree: CausalLm, asked: DType | "auto"): DType {
  if (asked !== "auto") return asked;
  const { source } = tree.config;
  const named = source.dtype ?? source.torch_dtype;
  return HALF_OR_SINGLE.find((dtype) => dtype === named) ?? "float32";
}
