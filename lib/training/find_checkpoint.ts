/**
 * Finds the checkpoint to resume from, and sees whether all of it is as it was
 * written.
 *
 * @module
 */

import { checksums } from "../formats/file_bytes.ts";
import { fileInfo, isFile } from "../formats/file_info.ts";
import { readSafetensorsHeader } from "../formats/safetensors_header.ts";
import { TorchArchive } from "../formats/torch_archive.ts";
import { InputError, quoted } from "../input_error.ts";
import { readStates } from "./checkpoint.ts";
import { OPTIMIZER_FILE } from "./optimizer_files.ts";
import {
  checkpointsByAge,
  RESUME_STATE,
  TRAINER_STATE,
} from "./output_folder.ts";

/**
 * The folder that `--resume_from_checkpoint` names: a path, or for `true` the
 * checkpoint in `output` that was written last; `null` for `false` or nothing.
 *
 * @throws {InputError} when there is no checkpoint, or it is damaged or cannot be
 *   resumed from; the message names the newest that can be.
 *
 * @example
 * ```ts
 * import { InputError } from "@lorikeet/lorikeet";
 * import { resolveCheckpoint } from "@lorikeet/lorikeet/training";
 *
 * const folder = Deno.makeTempDirSync();
 * try {
 *   resolveCheckpoint(folder, "true");
 *   throw new Error("an empty folder has no checkpoint");
 * } catch (error) {
 *   if (!(error instanceof InputError)) throw error;
 * }
 * Deno.removeSync(folder);
 * ```
 */
export function resolveCheckpoint(
  output: string,
  asked: string | boolean | null,
): string | null {
  const word = String(asked ?? false);
  if (/^(false|no|n|f|0)$/i.test(word)) return null;
  if (/^(true|yes|y|t|1)$/i.test(word)) return newestCheckpoint(output);
  const folder = word.replace(/\/+$/, "");
  const problem = resumeProblem(folder);
  if (problem !== null) throw new InputError(problem);
  return folder;
}

function newestCheckpoint(output: string): string {
  const [newest, ...older] = checkpointsByAge(output, { damaged: true })
    .reverse();
  if (newest === undefined) {
    throw new InputError(
      `Cannot resume from the newest checkpoint: no valid checkpoint found in output directory ${
        quoted(output)
      }`,
    );
  }
  const problem = resumeProblem(newest);
  if (problem === null) return newest;
  const whole = older.find((each) => resumeProblem(each) === null);
  throw new InputError(
    whole === undefined
      ? problem
      : `${problem}; an earlier one is complete, use --resume_from_checkpoint ${whole}`,
  );
}

/**
 * Why `folder` cannot be resumed from, or `null`; checks the files, not every
 * number in them.
 */
function resumeProblem(folder: string): string | null {
  const start = `Cannot resume from ${quoted(folder)}: `;
  if (fileInfo(folder) === null) {
    return `${start}it does not exist, the path of a checkpoint-N folder or true is needed`;
  }
  const missing = [TRAINER_STATE, RESUME_STATE, OPTIMIZER_FILE]
    .filter((name) => !isFile(`${folder}/${name}`));
  if (missing.length > 0) {
    return `${start}it has no ${missing.join(", no ")}, ` +
      "a checkpoint-N folder that lorikeet wrote without --save_only_model is needed";
  }
  try {
    const { resume } = readStates(folder);
    const weights = [...Deno.readDirSync(folder)].map(({ name }) => name)
      .filter((name) => name.endsWith(".safetensors"));
    if (weights.length === 0) return `${start}it has no .safetensors file`;
    for (const name of weights) readSafetensorsHeader(`${folder}/${name}`);
    new TorchArchive(`${folder}/${OPTIMIZER_FILE}`)[Symbol.dispose]();
    return damageOf(folder, resume.crc32 ?? {});
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

/** A file of `folder` whose bytes are not those that were written, as a sentence. */
function damageOf(
  folder: string,
  written: Readonly<Record<string, number>>,
): string | null {
  const found = checksums(folder, (name) => Object.hasOwn(written, name));
  const damaged = Object.keys(written)
    .find((name) => found[name] !== written[name]);
  if (damaged === undefined) return null;
  const state = found[damaged] === undefined
    ? "there is no such file, it was part of the checkpoint"
    : "its bytes are not those that were written, the file is damaged";
  return `Cannot resume from ${quoted(`${folder}/${damaged}`)}: ${state}`;
}
