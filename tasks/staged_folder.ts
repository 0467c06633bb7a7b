/**
 * An output folder that is there whole or not at all: it is filled beside its place
 * and put there when everything is in it.
 *
 * @module
 */

import { writeFailure } from "../lib/formats/atomic_file.ts";
import { fileInfo } from "../lib/formats/file_info.ts";
import { quoted } from "../lib/input_error.ts";
import { InputError } from "../mod.ts";

/** A folder under another name, until it is committed. */
export class StagedFolder implements Disposable {
  /** Where it is filled. */
  readonly path: string;
  readonly #target: string;
  /** The outermost folder above it that was made for it. */
  readonly #made: string | null;
  #isDone = false;

  /**
   * Makes the folder beside `target`.
   *
   * @throws {InputError} when `target` is in use, or cannot be written.
   */
  constructor(target: string) {
    checkFree(target);
    this.#target = target.replace(/(?<=.)\/+$/, "");
    const slash = this.#target.lastIndexOf("/");
    const parent = this.#target.slice(0, slash + 1);
    const name = this.#target.slice(slash + 1);
    this.path = `${parent}.${name}.lorikeet-${Deno.pid}.tmp`;
    this.#made = outermostMissing(parent);
    try {
      Deno.mkdirSync(this.path, { recursive: true });
    } catch (error) {
      this[Symbol.dispose]();
      throw writeFailure(target, error);
    }
  }

  /**
   * Puts the folder into its place.
   *
   * @throws {InputError} when another program has put something there meanwhile.
   */
  commit(): void {
    checkFree(this.#target);
    try {
      Deno.renameSync(this.path, this.#target);
    } catch (error) {
      throw writeFailure(this.#target, error);
    }
    this.#isDone = true;
  }

  /** Removes what was not committed. */
  [Symbol.dispose](): void {
    if (this.#isDone) return;
    this.#isDone = true;
    for (const path of [this.path, this.#made ?? this.path]) {
      if (fileInfo(path) !== null) Deno.removeSync(path, { recursive: true });
    }
  }
}

/**
 * Checks that `path` is free for an output folder: that nothing is there, or an empty
 * folder.
 *
 * @throws {InputError} saying what is there.
 */
export function checkFree(path: string, flag = "--output_dir"): void {
  const info = fileInfo(path);
  if (info === null) return;
  const isEmpty = info.isDirectory && [...Deno.readDirSync(path)].length === 0;
  if (isEmpty) return;
  throw new InputError(
    `Cannot write into ${quoted(path)}: ${
      info.isDirectory ? "there are files in it" : "it is a file"
    }, expected a new or an empty folder as ${flag}`,
  );
}

function outermostMissing(path: string): string | null {
  const folders = path.split("/").map((_, end, parts) =>
    parts.slice(0, end + 1).join("/")
  ).filter((folder) => folder !== "" && folder !== ".");
  return folders.find((folder) => fileInfo(folder) === null) ?? null;
}
