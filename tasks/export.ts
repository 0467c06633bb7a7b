/**
 * `deno task export`: a model, with an adapter merged into it or without one, as a GGUF
 * file for llama.cpp and Ollama.
 *
 * @module
 */

import {
  type ExportArguments,
  parseExportArguments,
} from "../lib/arguments/mod.ts";
import { GgufWording, readConfig } from "../lib/architectures/mod.ts";
import { writeFileAtomic } from "../lib/formats/atomic_file.ts";
import { ollamaModelfile } from "../lib/generation/mod.ts";
import { printable } from "../lib/input_error.ts";
import { MergedModel } from "../lib/peft/mod.ts";
import { adaptedModel, checkModelFolder } from "./base_model.ts";
import { type Comparison, describeComparison } from "./compare_logits.ts";
import { fileStem, type OutType, writeModelGguf } from "./gguf_file.ts";
import { besideWeights } from "./merged_folder.ts";
import { openLibtorch } from "./open_libtorch.ts";
import { runCommand, warn } from "./report_error.ts";
import { checkFree, StagedFolder } from "./staged_folder.ts";
import { userFolder } from "./user_folder.ts";

/** What was written. */
export interface ExportReport {
  /** Name of the GGUF file. */
  readonly file: string;
  /** How its matrices are stored. */
  readonly outType: OutType;
  /** How far its logits are from those of what was exported. */
  readonly comparison: Comparison;
}

async function main(args: readonly string[]): Promise<void> {
  const folder = userFolder();
  const parsed = parseExportArguments(args, folder ? { folder } : {});
  if ("help" in parsed) return console.log(parsed.help);
  const { adapter, model_path, output_dir } = parsed;
  checkFree(output_dir);
  if (adapter === null) checkModelFolder(model_path!);
  const modelPath = adapter === null
    ? model_path!
    : adaptedModel({ adapter, model_path });
  new GgufWording(readConfig(modelPath));
  await openLibtorch(["run", "sys"]);
  const { file, outType, comparison } = await exportGguf(output_dir, {
    modelPath,
    adapter,
    outType: parsed.outtype,
  });
  console.log(printable(
    `Wrote ${output_dir}/${file}, ${outType}; ${
      describeComparison(comparison)
    }\n` +
      `Try it: ollama create my-model -f ${output_dir}/Modelfile`,
  ));
}

/** What is exported. */
export interface ExportOptions {
  /** Path of the base model. */
  readonly modelPath: string;
  /** Folder of the adapter that is merged; `null`: none. */
  readonly adapter: string | null;
  /** How matrices are stored. Default `auto`. */
  readonly outType?: ExportArguments["outtype"];
}

/**
 * Writes the GGUF file and Ollama's Modelfile into the folder `path`. Nothing is left
 * where that fails.
 *
 * @throws {InputError} when the folder is in use, the family or its tokenizer has no
 *   place in the format, or what is read again computes something else.
 */
export async function exportGguf(
  path: string,
  options: ExportOptions,
): Promise<ExportReport> {
  const { modelPath, adapter, outType: asked = "auto" } = options;
  const beside = await besideWeights(modelPath, adapter);
  using model = new MergedModel({ modelPath, adapter });
  const own = model.dtype === "bfloat16" ? "bf16" : "f16";
  const outType = asked === "auto" ? own : asked;
  using staged = new StagedFolder(path);
  const file = `${fileStem(modelPath)}-${outType}.gguf`;
  const comparison = await writeModelGguf(`${staged.path}/${file}`, {
    model,
    beside,
    outType,
  });
  const { text, warning } = await ollamaModelfile({ file, ...beside });
  writeFileAtomic(`${staged.path}/Modelfile`, text);
  staged.commit();
  if (warning !== null) warn(warning);
  return { file, outType, comparison };
}

if (import.meta.main) {
  runCommand(() => main(Deno.args), {
    usage:
      "deno task export --adapter output --output_dir gguf [--flag value ...]",
  });
}
