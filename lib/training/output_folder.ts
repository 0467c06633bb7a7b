/**
 * The output folder of a run: locked by one run at a time, cleared of what killed
 * runs left behind, its checkpoints listed, found and rotated.
 *
 * @module
 */

import { isTemporary, writeFailure } from "../formats/atomic_file.ts";
import { fileInfo, isFile } from "../formats/file_info.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { InputError, quoted } from "../input_error.ts";

const LOCK_FILE = ".lorikeet.lock";
/** transformers' name of the state file, which is written into a checkpoint last. */
export const TRAINER_STATE = "trainer_state.json";
/** lorikeet's own file, for the state that no file of transformers has a field for. */
export const RESUME_STATE = "resume_state.json";

/**
 * The lock on an output folder. The system releases it when the process ends,
 * however it ends.
 *
 * @example
 * ```ts
 * import { InputError } from "@lorikeet/lorikeet";
 * import { OutputLock } from "@lorikeet/lorikeet/training";
 *
 * const folder = Deno.makeTempDirSync();
 * {
 *   using _lock = new OutputLock(`${folder}/output`);
 *   try {
 *     new OutputLock(`${folder}/output`);
 *     throw new Error("two runs hold one folder");
 *   } catch (error) {
 *     if (!(error instanceof InputError)) throw error;
 *   }
 * }
 * Deno.removeSync(folder, { recursive: true });
 * ```
 */
export class OutputLock implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  /** Folders that were made for this run, outermost first. */
  readonly #made: readonly string[];

  /**
   * Makes the folder `path` if it does not exist, locks it, and removes what
   * killed runs left behind.
   *
   * @throws {InputError} when another run has locked it, or it cannot be written.
   */
  constructor(path: string) {
    this.#path = path;
    this.#made = missingFolders(path);
    try {
      Deno.mkdirSync(path, { recursive: true });
      this.#file = lockedFile(path);
      sweep(path);
    } catch (error) {
      removeEmpty(this.#made);
      throw writeFailure(path, error);
    }
  }

  /**
   * Releases the lock; removes the folder when it was made here and nothing has
   * been written into it.
   */
  [Symbol.dispose](): void {
    // before it is unlocked, so that the file another run has locked is never
    // removed
    remove(`${this.#path}/${LOCK_FILE}`);
    this.#file.close();
    removeEmpty(this.#made);
  }
}

/**
 * Checks whether a run could write into `path`, and leaves nothing there.
 *
 * @throws {InputError} when another run has locked it, or it cannot be written.
 */
export function checkOutputFolder(path: string): void {
  new OutputLock(path)[Symbol.dispose]();
}

function lockedFile(path: string): Deno.FsFile {
  const name = `${path}/${LOCK_FILE}`;
  for (;;) {
    const file = Deno.openSync(name, { create: true, read: true, write: true });
    if (!tryLock(file)) {
      file.close();
      throw new InputError(
        `Cannot write into output_dir ${
          quoted(path)
        }: another run is writing there, wait until it ends or give another --output_dir`,
      );
    }
    // the previous run may have removed the file after we opened it and before we
    // locked it
    if (fileInfo(name)?.ino === file.statSync().ino) return file;
    file.close();
  }
}

/** Whether `file` could be locked; true also where the file system has no locks. */
function tryLock(file: Deno.FsFile): boolean {
  try {
    return file.tryLockSync(true);
  } catch (error) {
    const isUnknown = error instanceof Deno.errors.NotSupported ||
      /os error (37|38|95)\b/.test(String(error));
    if (isUnknown) return true;
    throw error;
  }
}

function missingFolders(path: string): string[] {
  const missing: string[] = [];
  for (let at = path; at !== "" && fileInfo(at) === null;) {
    missing.unshift(at);
    at = at.replace(/\/*[^/]*\/*$/, "");
  }
  return missing;
}

function removeEmpty(folders: readonly string[]): void {
  for (const folder of folders.toReversed()) {
    try {
      Deno.removeSync(folder);
    } catch {
      return; // not empty, so the folders around it are not empty either
    }
  }
}

/** Removes a file, or a folder with everything in it, if it exists. */
export function remove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

const PARTIAL = "tmp-checkpoint-";
const RETIRED = "old-checkpoint-";

/** Where checkpoint `step` is written until it is complete. */
export function partialFolder(output: string, step: number): string {
  return `${output}/${PARTIAL}${step}`;
}

/**
 * Gives a complete checkpoint its final name. A checkpoint that had the name
 * before is renamed first, so that a killed process leaves one of the two, or a
 * complete one that {@linkcode OutputLock} renames later.
 */
export function placeCheckpoint(output: string, step: number): string {
  const final = `${output}/checkpoint-${step}`;
  const retired = retire(final);
  try {
    Deno.renameSync(partialFolder(output, step), final);
  } catch (error) {
    if (retired !== null) Deno.renameSync(retired, final);
    throw error;
  }
  if (retired !== null) remove(retired);
  return final;
}

/**
 * Renames a checkpoint out of the way and returns its new path; `null` when
 * there is none.
 */
function retire(checkpoint: string): string | null {
  if (fileInfo(checkpoint) === null) return null;
  const retired = checkpoint.replace(/checkpoint-(\d+)$/, `${RETIRED}$1`);
  remove(retired);
  Deno.renameSync(checkpoint, retired);
  return retired;
}

/**
 * Removes what killed runs left behind; a complete checkpoint without its final
 * name gets it.
 */
function sweep(output: string): void {
  for (const { name } of readFolder(output)) {
    const path = `${output}/${name}`;
    const step = new RegExp(`^${PARTIAL}(\\d+)$`).exec(name)?.[1];
    if (step !== undefined && isFile(`${path}/${TRAINER_STATE}`)) {
      placeCheckpoint(output, Number(step));
    } else if (
      step !== undefined || new RegExp(`^${RETIRED}\\d+$`).test(name) ||
      isTemporary(name)
    ) {
      remove(path);
    }
  }
}

/** The checkpoints in `output` that have all their files, oldest step first. */
export function listCheckpoints(output: string): string[] {
  return checkpointFolders(output)
    .filter((path) => isFile(`${path}/${TRAINER_STATE}`));
}

/** All folders that are named as checkpoints, oldest step first. */
function checkpointFolders(output: string): string[] {
  const found: [number, string][] = [];
  for (const { name, isFile: isNoFolder } of readFolder(output)) {
    const step = /^checkpoint-(\d+)$/.exec(name)?.[1];
    if (step === undefined || isNoFolder) continue;
    found.push([Number(step), `${output}/${name}`]);
  }
  return found.sort(([a], [b]) => a - b).map(([, path]) => path);
}

function readFolder(path: string): Iterable<Deno.DirEntry> {
  try {
    return [...Deno.readDirSync(path)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/**
 * The checkpoints in `output`, the one written first in front: steps do not tell,
 * because an earlier run may have left higher ones. The time of writing is read
 * from the checkpoint, because copied folders have other times. With `damaged` also
 * those that lack files.
 */
export function checkpointsByAge(
  output: string,
  { damaged = false }: { readonly damaged?: boolean } = {},
): string[] {
  return (damaged ? checkpointFolders(output) : listCheckpoints(output))
    .map((path) => ({ path, time: writtenAt(path) }))
    .sort((a, b) => a.time - b.time)
    .map(({ path }) => path);
}

function writtenAt(checkpoint: string): number {
  try {
    const { savedAt } = readJsonFile(`${checkpoint}/${RESUME_STATE}`);
    const time = typeof savedAt === "string" ? Date.parse(savedAt) : NaN;
    if (!Number.isNaN(time)) return time;
  } catch {
    // damaged, or saved without the state for resuming
  }
  const info = fileInfo(`${checkpoint}/${TRAINER_STATE}`) ??
    fileInfo(checkpoint);
  return info?.mtime?.getTime() ?? 0;
}

/**
 * Removes the oldest checkpoints until `limit` are left; `null` or 0 keeps all.
 * Those in `staying` stay: the one just written, also where the clock has been put
 * back since an earlier run, and the best.
 */
export function rotateCheckpoints(
  output: string,
  limit: number | null,
  staying: readonly string[] = [],
): void {
  if (limit === null || limit <= 0) return;
  const old = checkpointsByAge(output).filter((path) =>
    !staying.includes(path)
  );
  const kept = limit - new Set(staying).size;
  for (
    const path of old.slice(0, Math.max(old.length - Math.max(kept, 0), 0))
  ) {
    const retired = retire(path);
    if (retired !== null) remove(retired);
  }
}
