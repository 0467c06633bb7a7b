/**
 * Settings that training and chatting share: where the base model lies, in
 * which precision its weights are held, and on which device it runs.
 *
 * @module
 */
import { quoted } from "../input_error.ts";
import type { SettingsTable } from "./setting.ts";

/** Rows that every command with a model has. */
export const MODEL_SETTINGS = {
  model_path: {
    kind: "str",
    default: "models/tiny-atom",
    isPath: true,
    help: "Folder of the base model in Hugging Face format",
  },
  torch_dtype: {
    kind: "choice",
    choices: ["auto", "float32", "bfloat16", "float16"],
    default: "auto",
    aliases: ["dtype"],
    help: "Precision of the base weights; auto keeps the checkpoint's own",
  },
  device: {
    kind: "str",
    default: "auto",
    help: "auto (CUDA where there is one), cpu, cuda or cuda:N",
  },
} as const satisfies SettingsTable;

/** The problem about a `--device` that names no device, if any. */
export function deviceProblems(device: string): string[] {
  if (/^(auto|cpu|cuda(:\d+)?)$/.test(device)) return [];
  return [
    `Cannot use --device "${device}": ` +
    "expected auto, cpu, cuda or cuda:N",
  ];
}

/** What is wrong with paths that no file can have, one sentence each. */
export function pathProblems(
  table: SettingsTable,
  values: Readonly<Record<string, unknown>>,
): string[] {
  return Object.entries(table).flatMap(([name, { isPath }]) => {
    const value = values[name];
    const isFine = isPath === undefined || typeof value !== "string" ||
      (value !== "" && !value.includes("\0"));
    return isFine
      ? []
      : [`Cannot use --${name} ${quoted(value)}: expected a path`];
  });
}
