/**
 * Which models, adapters and rows a command works with: a name that is nothing here
 * gets an answer that says what to do, and an adapter finds its own base.
 *
 * @module
 */

import { fileInfo, isFile } from "../lib/formats/file_info.ts";
import { ggufFileAt } from "../lib/formats/gguf.ts";
import { quoted } from "../lib/input_error.ts";
import { checkpointsByAge } from "../lib/training/output_folder.ts";
import { InputError, PeftModel } from "../mod.ts";
import { warn } from "./report_error.ts";

/**
 * Checks that `path` is a folder with a model, or a GGUF file.
 *
 * @throws {InputError} saying what is there instead, and how a model gets there.
 */
export function checkModelFolder(path: string): void {
  const start = `Cannot load model ${quoted(path)}: `;
  const info = fileInfo(path);
  if (info === null) {
    const end = looksLikeHubName(path)
      ? notFetched(path)
      : "there is no such folder, expected one with config.json and weights";
    throw new InputError(`${start}${end}, named with --model_path`);
  }
  if (ggufFileAt(path) !== null) return;
  if (!info.isDirectory) {
    throw new InputError(
      `${start}it is a file, expected the folder that holds it as --model_path`,
    );
  }
  if (isFile(`${path}/config.json`)) return;
  const found = isFile(`${path}/adapter_config.json`)
    ? "it holds an adapter and no model, expected the folder of its base model " +
      "as --model_path"
    : "it has no config.json, expected the folder of a model in Hugging Face " +
      "format as --model_path";
  throw new InputError(start + found);
}

/**
 * Checks that `path` is no name of a data set on the Hub; reading says the rest.
 *
 * @throws {InputError} saying how rows get here.
 */
export function checkRowsPath(path: string): void {
  if (fileInfo(path) !== null || !looksLikeHubName(path)) return;
  throw new InputError(
    `Cannot read rows from ${
      quoted(path)
    }: there is no such file, and nothing ` +
      "is fetched from the Hugging Face Hub: download it, expected the path " +
      "of a .jsonl file as --dataset_path",
  );
}

/**
 * Checks that `path` is not taken by a file.
 *
 * @throws {InputError} when it is.
 */
export function checkOutputPath(path: string): void {
  if (fileInfo(path)?.isDirectory ?? true) return;
  throw new InputError(
    `Cannot write into ${quoted(path)}: it is a file, expected a folder as ` +
      "--output_dir",
  );
}

/** True for `owner/name` where no folder `owner` lies here. */
function looksLikeHubName(path: string): boolean {
  const owner = /^([\w-][\w.-]*)\/[\w.-]+$/.exec(path)?.[1];
  if (/\.(jsonl?|csv|parquet|txt)$/.test(path)) return false;
  return owner !== undefined && fileInfo(owner) === null;
}

function notFetched(name: string): string {
  const folder = `models/${name.split("/").at(-1)}`;
  return "there is no such folder, and nothing is fetched from the Hugging " +
    `Face Hub: download it to a folder (hf download ${name} --local-dir ` +
    `${folder}), expected that folder`;
}

/**
 * Checks that `path` is a folder with an adapter.
 *
 * @throws {InputError} naming the newest checkpoint where a run was stopped.
 */
export function checkAdapterFolder(path: string, flag: string): void {
  if (isFile(`${path}/adapter_config.json`)) return;
  const info = fileInfo(path);
  const newest = info?.isDirectory ? checkpointsByAge(path).at(-1) : undefined;
  const reason = newest !== undefined
    ? `its run was stopped and left checkpoints only, expected one of them, ` +
      `the newest is ${flag} ${newest}`
    : info === null
    ? "there is no such folder, expected one with adapter_config.json"
    : info.isDirectory
    ? "it has no adapter_config.json, expected the output folder of a " +
      "training run"
    : "it is a file, expected the folder that holds it";
  throw new InputError(`Cannot load adapter ${quoted(path)}: ${reason}`);
}

/**
 * The folder of the base model that the adapter in `adapter` was trained on: as
 * written in its `adapter_config.json`, or from the adapter's folder.
 *
 * @throws {InputError} when none is written there or it does not lie here.
 */
export function baseModelOf(adapter: string): string {
  const { base_model_name_or_path: base } = PeftModel.readConfig(adapter);
  const start = `Cannot find the base model of adapter ${quoted(adapter)}: `;
  if (!base) {
    throw new InputError(
      `${start}its adapter_config.json names none, expected --model_path`,
    );
  }
  const found = resolved(base, adapter);
  if (found !== undefined) return found;
  const hub = looksLikeHubName(base)
    ? "; a model on the Hugging Face Hub is not fetched: download it to a folder"
    : "";
  throw new InputError(
    `${start}its adapter_config.json names ${quoted(base)}, which is no ` +
      `folder here, expected --model_path with the folder of that model${hub}`,
  );
}

/** `base` as a path from here or from the adapter's folder, where it is a folder or a GGUF file. */
function resolved(base: string, adapter: string): string | undefined {
  return [base, `${adapter}/${base}`].find((path) =>
    fileInfo(path)?.isDirectory === true || ggufFileAt(path) !== null
  );
}

/** Warns when the adapter was trained on another model than the one in `path`. */
export function warnOfOtherBase(adapter: string, path: string): void {
  const { base_model_name_or_path: base } = PeftModel.readConfig(adapter);
  if (!base) return;
  const found = resolved(base, adapter);
  const isSame = found === undefined
    ? lastName(base) === lastName(path)
    : Deno.realPathSync(found) === Deno.realPathSync(path);
  if (isSame) return;
  warn(
    `The adapter in ${quoted(adapter)} was trained on ${quoted(base)}, ` +
      `--model_path is ${quoted(path)}`,
  );
}

function lastName(path: string): string | undefined {
  return path.replace(/\/+$/, "").split("/").at(-1);
}
