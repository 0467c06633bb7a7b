/**
 * Callbacks that write the log rows of a run into a file while it runs: JSON
 * lines or CSV. A resumed run continues the file, without the rows of later steps.
 *
 * @module
 */

import { writeFailure, writeFileAtomic } from "../formats/atomic_file.ts";
import { isFile } from "../formats/file_info.ts";
import type { TrainerCallback } from "./trainer_options.ts";
import type { LogRow } from "./trainer_state.ts";

/** A callback that writes log rows. */
export interface LogCallback extends TrainerCallback {
  /** Writes a row. */
  onLog(row: LogRow): void;
}

/** A callback that also takes rows which are not of numbers alone. */
export interface JsonLinesCallback extends LogCallback {
  /** Adds a row. */
  add(row: Readonly<Record<string, unknown>>): void;
}

/**
 * Writes each log row as one line of JSON to `path`; a number that is not finite is
 * `null`.
 *
 * @example
 * ```ts
 * import { jsonLinesCallback } from "@lorikeet/lorikeet/training";
 *
 * const path = Deno.makeTempFileSync();
 * const log = jsonLinesCallback(path);
 * log.add({ loss: 2.5, step: 1 });
 * if (Deno.readTextFileSync(path) !== '{"loss":2.5,"step":1}\n') {
 *   throw new Error("unexpected line");
 * }
 * Deno.removeSync(path);
 * ```
 */
export function jsonLinesCallback(path: string): JsonLinesCallback {
  const add = (row: Readonly<Record<string, unknown>>): void =>
    append(path, `${JSON.stringify(row)}\n`);
  return {
    onTrainBegin(_plan, step): void {
      const kept = linesOf(path).filter((line) => stepOfJson(line) <= step);
      writeFileAtomic(path, kept.map((line) => `${line}\n`).join(""));
    },
    onLog: add,
    add,
  };
}

function stepOfJson(line: string): number {
  try {
    const { step } = JSON.parse(line);
    return typeof step === "number" ? step : Infinity;
  } catch {
    return Infinity; // no line of ours
  }
}

/**
 * Writes each log row as one line of CSV to `path`, under a line of names. Every
 * name has one column, which is empty where a row has no such number.
 *
 * @example
 * ```ts
 * import { csvCallback } from "@lorikeet/lorikeet/training";
 *
 * const path = Deno.makeTempFileSync();
 * const log = csvCallback(path);
 * log.onLog({ loss: 2.5, step: 1 });
 * log.onLog({ eval_loss: 2.25, step: 1 });
 * if (Deno.readTextFileSync(path) !== "step,loss,eval_loss\n1,2.5,\n1,,2.25\n") {
 *   throw new Error("unexpected lines");
 * }
 * Deno.removeSync(path);
 * ```
 */
export function csvCallback(path: string): LogCallback {
  let names: string[] = [];
  /** The lines under the names; commas at their ends may lack. */
  let lines: string[] = [];
  const rewrite = (): void =>
    writeFileAtomic(
      path,
      [names.map(csvName).join(","), ...lines.map(filled(names.length))]
        .map((line) => `${line}\n`).join(""),
    );
  return {
    onTrainBegin(_plan, step): void {
      const [head = "", ...rest] = linesOf(path);
      const isOurs = head.split(",")[0] === "step";
      lines = (isOurs ? rest : [])
        .filter((line) => Number(line.split(",")[0] || NaN) <= step);
      names = lines.length > 0 ? csvNames(head) : [];
      if (names.length > 0) rewrite();
      else writeFileAtomic(path, "");
    },
    onLog(row): void {
      const added = ["step", ...Object.keys(row)]
        .filter((name) => !names.includes(name));
      names = [...new Set([...names, ...added])];
      const line = names.map((name) => row[name] ?? "").join(",");
      lines.push(line);
      if (added.length > 0) rewrite();
      else append(path, `${line}\n`);
    },
  };
}

/** Lines with as many cells as there are names. */
function filled(columns: number): (line: string) => string {
  return (line) => line + ",".repeat(columns - line.split(",").length);
}

/** Only names may hold commas or quotes; numbers never do. */
function csvName(name: string): string {
  return /[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}

function csvNames(head: string): string[] {
  return [...head.matchAll(/"((?:[^"]|"")*)"(?:,|$)|([^,]+)(?:,|$)/g)]
    .map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? "");
}

function linesOf(path: string): string[] {
  if (!isFile(path)) return [];
  // what follows the last line end is the half line of a killed run
  return Deno.readTextFileSync(path).split("\n").slice(0, -1);
}

function append(path: string, text: string): void {
  try {
    Deno.writeTextFileSync(path, text, { append: true });
  } catch (error) {
    throw writeFailure(path, error);
  }
}
