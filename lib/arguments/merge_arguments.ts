/**
 * The arguments of `deno task merge`: which adapter is merged into which model, and how
 * the result is stored.
 *
 * @module
 */
import type { HelpSection } from "./help_layout.ts";
import {
  type HelpRequest,
  HfArgumentParser,
  throwProblems,
} from "./hf_argument_parser.ts";
import { pathProblems } from "./model_settings.ts";
import { OTHER_MERGE_NAMES } from "./other_names.ts";
import type { SettingsOf, SettingsTable } from "./setting.ts";

/** Settings of `deno task merge`. */
export const MERGE = {
  model_path: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder of the base model in Hugging Face format, or a GGUF file; " +
      "none: the one that the adapter was trained on",
  },
  adapter: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder of the adapter",
  },
  output_dir: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder for the merged model, a new or an empty one",
  },
  torch_dtype: {
    kind: "choice",
    choices: ["auto", "float32", "bfloat16", "float16"],
    default: "auto",
    aliases: ["dtype"],
    help: "Precision of the merged weights; auto keeps the base model's own",
  },
  max_shard_size: {
    kind: "str",
    default: "50GB",
    help: "Largest file of weights, such as 500MB or 5GB; a model that is " +
      "larger is split into several",
  },
} as const satisfies SettingsTable;

/** The settings of `deno task merge`. */
export type MergeArguments = SettingsOf<typeof MERGE>;

/** The result of {@linkcode parseMergeArguments}. */
export interface MergeReading {
  /** Every setting, given or default. */
  readonly merge: MergeArguments & {
    /** Folder of the adapter. */
    readonly adapter: string;
    /** Folder for the merged model. */
    readonly output_dir: string;
  };
  /** `max_shard_size` in bytes. */
  readonly maxShardBytes: number;
}

const SECTIONS: readonly HelpSection[] = [
  {
    title: "What is merged, and where to",
    names: ["adapter", "model_path", "output_dir"],
  },
  { title: "How it is stored", names: ["torch_dtype", "max_shard_size"] },
];

/** Options of {@linkcode parseMergeArguments}. */
export interface ParseMergeOptions {
  /** Columns of the help text. Default 80. */
  readonly columns?: number;
  /**
   * The folder that relative paths in flags are relative to. Default: the working
   * directory.
   */
  readonly folder?: string;
}

/**
 * Parses the arguments of a merge, by the rules of {@linkcode HfArgumentParser}.
 *
 * @throws {InputError} with all problems and exit code 2.
 *
 * @example
 * ```ts
 * import { parseMergeArguments } from "@lorikeet/lorikeet/arguments";
 *
 * const parsed = parseMergeArguments(
 *   "--adapter output --output_dir merged --max_shard_size 5GB".split(" "),
 * );
 * if ("help" in parsed) throw new Error("no help was asked for");
 * if (parsed.maxShardBytes !== 5e9) throw new Error("unexpected size");
 * ```
 */
export function parseMergeArguments(
  args: readonly string[],
  options: ParseMergeOptions = {},
): MergeReading | HelpRequest {
  const parser = new HfArgumentParser(
    [{ title: "Other settings", table: MERGE }],
    {
      prog: "deno task merge",
      otherNames: OTHER_MERGE_NAMES,
      sections: SECTIONS,
      ...options,
    },
  );
  const reading = parser.read(args);
  if ("help" in reading) return reading;
  const [merge] = reading.dataclasses;
  const { adapter, output_dir } = merge;
  const maxShardBytes = bytesOfSize(merge.max_shard_size);
  throwProblems([
    ...reading.problems,
    ...pathProblems(MERGE, merge),
    ...adapter === null
      ? [
        "Cannot merge: --adapter is missing, expected the folder of an adapter",
      ]
      : [],
    ...output_dir === null
      ? ["Cannot merge: --output_dir is missing, expected a new folder"]
      : [],
    ...Number.isNaN(maxShardBytes)
      ? [
        `Cannot use --max_shard_size ${
          JSON.stringify(merge.max_shard_size)
        }: expected a size such as 500MB or 5GB`,
      ]
      : [],
  ]);
  return {
    merge: { ...merge, adapter: adapter!, output_dir: output_dir! },
    maxShardBytes,
  };
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/** The bytes of a size such as 5GB; NaN where it is none. */
function bytesOfSize(text: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?) *([KMGT]I?B)?$/i.exec(
    text.trim(),
  ) ?? [];
  const bytes = Math.floor(Number(number) * (UNITS[unit.toUpperCase()] ?? NaN));
  return number !== "" && bytes >= 1 ? bytes : NaN;
}
