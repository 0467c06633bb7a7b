/**
 * Settings that training and chatting share: the base model's folder, the
 * precision of its weights, and the device.
 *
 * @module
 */
import { quoted } from "../input_error.ts";
import type { SettingsTable } from "./setting.ts";

/** The settings of every command that loads a model. */
export const MODEL_SETTINGS = {
  model_path: {
    kind: "str",
    default: "models/tiny-atom",
    isPath: true,
    help: "Folder of the base model in Hugging Face format, or a GGUF file",
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
    help: "auto (CUDA where available, else the CPU), cpu, cuda or cuda:N",
  },
} as const satisfies SettingsTable;

/** The problem of a `--device` that names no device, if any. */
export function deviceProblems(device: string): string[] {
  if (/^(auto|cpu|cuda(:\d+)?)$/.test(device)) return [];
  return [
    `Cannot use --device "${device}": ` +
    "expected auto, cpu, cuda or cuda:N",
  ];
}

/** The problems of paths that no file can have, one sentence each. */
export function pathProblems(
  table: SettingsTable,
  values: Readonly<Record<string, unknown>>,
): string[] {
  return Object.entries(table).flatMap(([name, { isPath }]) => {
    if (isPath === undefined) return [];
    const isWrong = (path: unknown): boolean =>
      typeof path === "string" && (path === "" || path.includes("\0"));
    return [values[name]].flat().filter(isWrong)
      .map((path) => `Cannot use --${name} ${quoted(path)}: expected a path`);
  });
}
