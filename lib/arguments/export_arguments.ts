/**
 * The arguments of `deno task export`: what is written for llama.cpp and Ollama, and
 * how its numbers are stored.
 *
 * @module
 */
import type { HelpSection } from "./help_layout.ts";
import {
  type HelpRequest,
  HfArgumentParser,
  throwProblems,
} from "./hf_argument_parser.ts";
import type { ParseMergeOptions } from "./merge_arguments.ts";
import { pathProblems } from "./model_settings.ts";
import { OTHER_MERGE_NAMES } from "./other_names.ts";
import type { SettingsOf, SettingsTable } from "./setting.ts";

/** Settings of `deno task export`. */
export const EXPORT = {
  format: {
    kind: "choice",
    choices: ["gguf"],
    default: "gguf",
    help: "File format: gguf, which llama.cpp, Ollama and LM Studio read",
  },
  model_path: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder of the model in Hugging Face format, or a GGUF file; " +
      "none: the one that the adapter was trained on",
  },
  adapter: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder of the adapter, which is merged; none: the model alone",
  },
  output_dir: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder for the GGUF file and Ollama's Modelfile, a new or an " +
      "empty one",
  },
  outtype: {
    kind: "choice",
    choices: ["auto", "f32", "f16", "bf16", "q8_0"],
    default: "auto",
    help: "How matrices are stored; auto: bf16 where the model's are, else f16",
  },
} as const satisfies SettingsTable;

/** The settings of `deno task export`. */
export type ExportArguments = SettingsOf<typeof EXPORT>;

const SECTIONS: readonly HelpSection[] = [
  {
    title: "What is written, and where to",
    names: ["adapter", "model_path", "output_dir"],
  },
  { title: "How it is stored", names: ["format", "outtype"] },
];

/**
 * Parses the arguments of an export, by the rules of {@linkcode HfArgumentParser}.
 *
 * @throws {InputError} with all problems and exit code 2.
 *
 * @example
 * ```ts
 * import { parseExportArguments } from "@lorikeet/lorikeet/arguments";
 *
 * const parsed = parseExportArguments(
 *   "--adapter output --output_dir gguf --outtype q8_0".split(" "),
 * );
 * if ("help" in parsed) throw new Error("no help was asked for");
 * if (parsed.outtype !== "q8_0") throw new Error("unexpected type");
 * ```
 */
export function parseExportArguments(
  args: readonly string[],
  options: ParseMergeOptions = {},
): (ExportArguments & { readonly output_dir: string }) | HelpRequest {
  const { outtype: _, ...otherNames } = OTHER_MERGE_NAMES;
  const parser = new HfArgumentParser(
    [{ title: "Other settings", table: EXPORT }],
    { prog: "deno task export", otherNames, sections: SECTIONS, ...options },
  );
  const reading = parser.read(args);
  if ("help" in reading) return reading;
  const [settings] = reading.dataclasses;
  const { adapter, model_path, output_dir } = settings;
  throwProblems([
    ...reading.problems,
    ...pathProblems(EXPORT, settings),
    ...adapter === null && model_path === null
      ? [
        "Cannot export: --adapter and --model_path are missing, expected one of them",
      ]
      : [],
    ...output_dir === null
      ? ["Cannot export: --output_dir is missing, expected a new folder"]
      : [],
  ]);
  return { ...settings, output_dir: output_dir! };
}
