/**
 * Checks the paths of models, adapters and rows that a command is given, with errors
 * that say what to do, and finds the base model of an adapter.
 *
 * @module
 */

import { fileInfo, isFile } from "../lib/formats/file_info.ts";
import { ggufFileAt } from "../lib/formats/gguf.ts";
import { printable, quoted } from "../lib/input_error.ts";
import { checkpointsByAge } from "../lib/training/output_folder.ts";
import { InputError, PeftModel } from "../mod.ts";
import { warn } from "./report_error.ts";

/**
 * Checks that `path` is a folder with a model, or a GGUF file.
 *
 * @throws {InputError} saying what is there instead, and how to get a model.
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
 * Checks that `path` is not the name of a dataset on the Hub; other errors are found
 * when the file is read.
 *
 * @throws {InputError} saying how to get rows.
 */
export function checkRowsPath(path: string): void {
  if (fileInfo(path) !== null || !looksLikeHubName(path)) return;
  throw new InputError(
    `Cannot read rows from ${
      quoted(path)
    }: there is no such file, and nothing ` +
      "is downloaded from the Hugging Face Hub: download it yourself, expected the path " +
      "of a .jsonl file as --dataset_path",
  );
}

/**
 * Checks that `path` is not a file.
 *
 * @throws {InputError} when it is one.
 */
export function checkOutputPath(path: string): void {
  if (fileInfo(path)?.isDirectory ?? true) return;
  throw new InputError(
    `Cannot write into ${quoted(path)}: it is a file, expected a folder as ` +
      "--output_dir",
  );
}

const WEB = /^https?:\/\/[^/]+\//;

/** Whether `path` has the form `owner/name` and there is no folder `owner`, or is a web address. */
function looksLikeHubName(path: string): boolean {
  if (WEB.test(path)) return true;
  const owner = /^([\w-][\w.-]*)\/[\w.-]+$/.exec(path)?.[1];
  if (/\.(jsonl?|csv|parquet|txt)$/.test(path)) return false;
  return owner !== undefined && fileInfo(owner) === null;
}

function notFetched(path: string): string {
  const name = path.replace(WEB, "").split("/").slice(0, 2).join("/");
  const folder = `models/${name.split("/").at(-1)}`;
  return "there is no such folder, and nothing is downloaded from the Hugging " +
    `Face Hub: download it yourself (hf download ${name} --local-dir ` +
    `${folder}) and give that folder`;
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
    ? `its run was interrupted and has only checkpoints, expected one of them, ` +
      `the newest is ${flag} ${newest}`
    : info === null
    ? looksLikeHubName(path)
      ? notFetched(path)
      : "there is no such folder, expected one with adapter_config.json"
    : info.isDirectory
    ? "it has no adapter_config.json, expected the output folder of a " +
      "training run"
    : "it is a file, expected the folder that holds it";
  throw new InputError(`Cannot load adapter ${quoted(path)}: ${reason}`);
}

/**
 * The folder of the base model that the adapter in `adapter` was trained on. The path
 * in its `adapter_config.json` may be relative to the adapter's folder.
 *
 * @throws {InputError} when the file names no base model, or the folder does not exist.
 */
export function baseModelOf(adapter: string): string {
  const { base_model_name_or_path: base } = PeftModel.readConfig(adapter);
  const start = `Cannot find the base model of adapter ${quoted(adapter)}: `;
  if (!base) {
    throw new InputError(
      `${start}its adapter_config.json names no base model, expected --model_path`,
    );
  }
  const found = resolved(base, adapter);
  if (found !== undefined) return found;
  const hub = looksLikeHubName(base)
    ? "; models on the Hugging Face Hub are not downloaded: download it to a folder"
    : "";
  throw new InputError(
    `${start}its adapter_config.json names ${quoted(base)}, which is not ` +
      `a folder on this machine, expected --model_path with the folder of that model${hub}`,
  );
}

/** The folder or GGUF file `base`, relative to the working directory or to the adapter's folder. */
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

/**
 * The path of the base model: `--model_path`, or the one that the adapter names.
 *
 * @throws {InputError} when one of the folders is not what it should be.
 */
export function adaptedModel(
  paths: { readonly adapter: string; readonly model_path: string | null },
): string {
  const { adapter, model_path } = paths;
  checkAdapterFolder(adapter, "--adapter");
  if (model_path !== null) {
    checkModelFolder(model_path);
    warnOfOtherBase(adapter, model_path);
    return model_path;
  }
  const base = baseModelOf(adapter);
  checkModelFolder(base);
  console.error(printable(`Base model of ${adapter}: ${base}`));
  return base;
}
