/**
 * `deno task merge`: an adapter merged into its base model, written as a model folder
 * of its own, then read again and compared with base and adapter.
 *
 * @module
 */

import { parseMergeArguments } from "../lib/arguments/mod.ts";
import { writeConfig } from "../lib/architectures/mod.ts";
import { writeShards } from "../lib/formats/safetensors_shards.ts";
import { printable } from "../lib/input_error.ts";
import { MergedModel } from "../lib/peft/mod.ts";
import type { DType } from "../mod.ts";
import { adaptedModel } from "./base_model.ts";
import {
  compareWritten,
  type Comparison,
  describeComparison,
} from "./compare_logits.ts";
import { besideWeights, writeBeside } from "./merged_folder.ts";
import { openLibtorch } from "./open_libtorch.ts";
import { runCommand } from "./report_error.ts";
import { checkFree, StagedFolder } from "./staged_folder.ts";
import { userFolder } from "./user_folder.ts";

/** What was written. */
export interface MergeReport {
  /** Type of the weights. */
  readonly dtype: DType;
  /** Number of tensors. */
  readonly tensors: number;
  /** Names of the files with weights. */
  readonly files: readonly string[];
  /** How far the logits of what was written are from those of base and adapter. */
  readonly comparison: Comparison;
}

async function main(args: readonly string[]): Promise<void> {
  const folder = userFolder();
  const parsed = parseMergeArguments(args, folder ? { folder } : {});
  if ("help" in parsed) return console.log(parsed.help);
  const { merge, maxShardBytes } = parsed;
  const { adapter, output_dir } = merge;
  checkFree(output_dir);
  const modelPath = adaptedModel(merge);
  await openLibtorch(["run", "sys"]);
  const report = await mergeToFolder(output_dir, {
    modelPath,
    adapter,
    dtype: merge.torch_dtype,
    maxShardBytes,
  });
  const { dtype, tensors, files, comparison } = report;
  console.log(printable(
    `Merged ${adapter} into ${modelPath}: ${tensors} tensors, ${dtype}, ${files.length} ${
      files.length === 1 ? "file" : "files"
    }; ${describeComparison(comparison)}\n` +
      `Try it: deno task chat --model_path ${output_dir}`,
  ));
}

/** What is merged, and how it is stored. */
export interface MergeOptions {
  /** Path of the base model. */
  readonly modelPath: string;
  /** Folder of the adapter. */
  readonly adapter: string;
  /** Type of the weights on disk; `auto` is the base model's. Default `auto`. */
  readonly dtype?: DType | "auto";
  /** Bytes of the largest file of weights. Default: all in one. */
  readonly maxShardBytes?: number;
}

/**
 * Writes the merged model into the folder `path`, reads it again and compares it.
 * Nothing is left where that fails.
 *
 * @throws {InputError} when the folder is in use, adapter and base do not fit, or the
 *   logits differ by more than the rounding of the weights.
 */
export async function mergeToFolder(
  path: string,
  options: MergeOptions,
): Promise<MergeReport> {
  const { modelPath, adapter, maxShardBytes = Infinity } = options;
  const beside = await besideWeights(modelPath, adapter);
  using model = new MergedModel({ modelPath, adapter });
  const { dtype: asked = "auto" } = options;
  const dtype = asked === "auto" ? model.dtype : asked;
  using staged = new StagedFolder(path);
  const files = writeShards(staged.path, model.tensors(dtype), {
    maxBytes: maxShardBytes,
  });
  writeConfig(model.base, staged.path, { dtype, isTied: model.isTied });
  writeBeside(staged.path, beside);
  const { tokenizer } = beside;
  const comparison = await compareWritten(staged.path, model, {
    path,
    tokenizer,
    bits: dtype,
  });
  staged.commit();
  const tensors = model.weights.length;
  return { dtype, tensors, files, comparison };
}

if (import.meta.main) {
  runCommand(() => main(Deno.args), {
    usage:
      "deno task merge --adapter output --output_dir merged [--flag value ...]",
  });
}
