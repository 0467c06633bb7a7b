/**
 * The arguments of `deno task convert`: which adapter is written for which program.
 *
 * @module
 */
import {
  type HelpRequest,
  HfArgumentParser,
  throwProblems,
} from "./hf_argument_parser.ts";
import { pathProblems } from "./model_settings.ts";
import type { SettingsOf, SettingsTable } from "./setting.ts";

/** Settings of `deno task convert`. */
export const CONVERT = {
  adapter: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder of an adapter of peft, mlx-lm or torchtune",
  },
  output_dir: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder for the other files, a new or an empty one",
  },
  to: {
    kind: "choice",
    choices: ["peft", "mlx", "torchtune"],
    default: "peft",
    help: "The program that reads them",
  },
  model_path: {
    kind: "str",
    default: null,
    isPath: true,
    help:
      "Folder of the base model, which torchtune's files depend on; none: " +
      "the one that the adapter names",
  },
} as const satisfies SettingsTable;

/** The settings of `deno task convert`. */
export type ConvertArguments = SettingsOf<typeof CONVERT> & {
  /** Folder of the adapter. */
  readonly adapter: string;
  /** Folder that is written. */
  readonly output_dir: string;
};

/**
 * Parses the arguments of a conversion, by the rules of {@linkcode HfArgumentParser}.
 *
 * @throws {InputError} with all problems and exit code 2.
 *
 * @example
 * ```ts
 * import { parseConvertArguments } from "@lorikeet/lorikeet/arguments";
 *
 * const parsed = parseConvertArguments(
 *   "--adapter output --output_dir mlx --to mlx".split(" "),
 * );
 * if ("help" in parsed || parsed.to !== "mlx") throw new Error("unexpected");
 * ```
 */
export function parseConvertArguments(
  args: readonly string[],
  options: {
    /** Columns of the help text. Default 80. */
    readonly columns?: number;
    /** The folder that relative paths are relative to. Default: the working directory. */
    readonly folder?: string;
  } = {},
): ConvertArguments | HelpRequest {
  const parser = new HfArgumentParser(
    [{ title: "What is converted, and where to", table: CONVERT }],
    { prog: "deno task convert", ...options },
  );
  const reading = parser.read(args);
  if ("help" in reading) return reading;
  const [convert] = reading.dataclasses;
  const { adapter, output_dir } = convert;
  const missing = ([["adapter", adapter], ["output_dir", output_dir]] as const)
    .filter(([, value]) => value === null)
    .map(([name]) => `Cannot convert: --${name} is missing, expected a folder`);
  throwProblems([
    ...reading.problems,
    ...pathProblems(CONVERT, convert),
    ...missing,
  ]);
  return { ...convert, adapter: adapter!, output_dir: output_dir! };
}
