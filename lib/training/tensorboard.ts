/**
 * A callback that writes TensorBoard's event files, with the tags of transformers'
 * `TensorBoardCallback`.
 *
 * @module
 */

import { writeFailure } from "../formats/atomic_file.ts";
import { type EventContent, eventRecord } from "../formats/event_file.ts";
import type { LogCallback } from "./log_files.ts";
import type { LogRow } from "./trainer_state.ts";

/** The version that `tensorboard` expects at the start of a file. */
const FILE_VERSION = "brain.Event:2";

/** Options of {@linkcode tensorBoardCallback}. */
export interface TensorBoardOptions {
  /** Texts to show, as Markdown by tag, such as the arguments. Default: none. */
  readonly texts?: Readonly<Record<string, string>>;
  /** The computer's name in the file's name. Default "localhost". */
  readonly host?: string;
  /** The present time in milliseconds since 1970. Default `Date.now`. */
  readonly now?: () => number;
}

/** A callback that also takes texts, such as sample answers. */
export interface TensorBoardCallback extends LogCallback {
  /** Shows `text` under `tag` at `step`. */
  addText(tag: string, text: string, step: number): void;
}

/**
 * Writes each log row into an event file in `folder`: `train/loss`,
 * `train/learning_rate`, …, and `eval/loss`, … for the rows of an evaluation. Every
 * run has a file of its own; when it begins at a step, TensorBoard leaves out what
 * earlier files of the folder say of later steps.
 *
 * @example
 * ```ts
 * import { tensorBoardCallback } from "@lorikeet/lorikeet/training";
 *
 * const folder = Deno.makeTempDirSync();
 * const board = tensorBoardCallback(folder);
 * board.onLog({ loss: 2.5, step: 1 });
 * const [file] = Deno.readDirSync(folder);
 * if (!file?.name.startsWith("events.out.tfevents.")) throw new Error("no file");
 * Deno.removeSync(folder, { recursive: true });
 * ```
 */
export function tensorBoardCallback(
  folder: string,
  { texts = {}, host = "localhost", now = Date.now }: TensorBoardOptions = {},
): TensorBoardCallback {
  let path: string | null = null;
  const write = (content: EventContent, step: number): void => {
    const wallTime = now() / 1000;
    const events = [eventRecord({ ...content, wallTime, step })];
    if (path === null) {
      path = newFile(folder, { host, seconds: Math.floor(wallTime) });
      const version: EventContent = { fileVersion: FILE_VERSION };
      events.unshift(eventRecord({ ...version, wallTime, step: 0 }));
    }
    append(path, events);
  };
  return {
    onTrainBegin(_plan, step): void {
      // a step that is logged again has a higher number than the last one before
      write({ start: true }, step + 1);
      for (const [tag, text] of Object.entries(texts)) {
        write({ texts: { [`${tag}/text_summary`]: text } }, step);
      }
    },
    onLog: (row) => write({ scalars: scalarsOf(row) }, row.step ?? 0),
    addText: (tag, text, step) =>
      write({ texts: { [`${tag}/text_summary`]: text } }, step),
  };
}

/** transformers, `integration_utils.rewrite_logs`; the step is not one of the numbers. */
function scalarsOf({ step: _step, ...row }: LogRow): Record<string, number> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [tagOf(name), value]),
  );
}

function tagOf(name: string): string {
  const part = /^(eval|test)_/.exec(name)?.[1];
  return part === undefined
    ? `train/${name}`
    : `${part}/${name.slice(part.length + 1)}`;
}

/** The path of a file that does not exist, named as TensorBoard looks for them. */
function newFile(
  folder: string,
  { host, seconds }: { readonly host: string; readonly seconds: number },
): string {
  const start = `${folder}/events.out.tfevents.${
    String(seconds).padStart(10, "0")
  }.${host}.${Deno.pid}`;
  try {
    Deno.mkdirSync(folder, { recursive: true });
    for (let count = 0;; count++) {
      const path = `${start}.${count}`;
      try {
        Deno.openSync(path, { createNew: true, write: true }).close();
        return path;
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      }
    }
  } catch (error) {
    throw writeFailure(folder, error);
  }
}

function append(path: string, parts: readonly Uint8Array[]): void {
  try {
    for (const part of parts) Deno.writeFileSync(path, part, { append: true });
  } catch (error) {
    throw writeFailure(path, error);
  }
}
