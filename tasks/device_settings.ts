/**
 * Settings whose meaning depends on the device: one that needs a CUDA device is
 * ignored elsewhere with a warning, and one that is accepted on a CPU, but would
 * change results on a CUDA device, is refused there.
 *
 * @module
 */

import {
  type Device,
  deviceName,
  InputError,
  type TrainArguments,
  type TrainingArguments,
} from "../mod.ts";
import { allowTf32 } from "../lib/tensor/mod.ts";
import { warn } from "./report_error.ts";

/**
 * The training settings for `device`: `fp16` needs a CUDA device and is turned off on
 * others, with a warning; `tf32` changes how float32 products are computed on CUDA
 * devices.
 *
 * @throws {InputError} for flags that were accepted because a CPU is exact and
 *   deterministic anyway, when the device is another one.
 */
export function suitedTo(
  device: Device,
  { training, onlyOnCpu }: Pick<TrainArguments, "training" | "onlyOnCpu">,
): TrainingArguments {
  if (device.type === "cuda") {
    refuse(onlyOnCpu.filter((name) => name in WHY), deviceName(device));
    allowTf32(onlyOnCpu.includes("tf32"));
    return training;
  }
  if (!training.fp16) return training;
  warn(
    "--fp16 needs a CUDA device; training in float32 (--bf16 works on a CPU)",
  );
  return { ...training, fp16: false };
}

const WHY: Readonly<Record<string, string>> = {
  full_determinism: "some of the device's sums have no fixed order",
};

function refuse(names: readonly string[], device: string): void {
  if (names.length === 0) return;
  const sentences = names.map((name) =>
    `Cannot use --${name} on ${device}: not supported yet, ${WHY[name]}`
  );
  throw new InputError(sentences.join("\n"), { exitCode: 2 });
}
