/**
 * The text of a file of rows: read, unpacked, decoded. What is wrong is told by
 * file and line.
 *
 * @module
 */

import { gunzipSync } from "node:zlib";
import { InputError, quoted } from "../input_error.ts";

/** Something wrong at a line (from 1) and, where known, a column (from 1). */
export interface Problem {
  /** Line in the file. */
  readonly line: number;
  /** Column in the line. */
  readonly column?: number;
  /** What is wrong. */
  readonly what: string;
}

/** A row's value and the line that it begins on. */
export interface Located {
  /** Line in the file, from 1. */
  readonly line: number;
  /** The value, of any kind. */
  readonly value: unknown;
}

const LINE_FEED = 0x0a;
/** The longest text that V8 holds has fewer characters. */
const MOST_UNPACKED = 2 ** 30;

function readBytes(path: string): Uint8Array {
  const start = `Cannot read ${quoted(path)}:`;
  try {
    if (Deno.statSync(path).isDirectory) {
      throw new InputError(
        `${start} it is a folder, the path of a .jsonl file is needed${
          filesIn(path)
        }`,
      );
    }
    const bytes = Deno.readFileSync(path);
    return path.endsWith(".gz") ? unpacked(path, bytes) : bytes;
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof Deno.errors.NotCapable) throw error;
    const reason = error instanceof Deno.errors.NotFound
      ? "it does not exist, the path of a .jsonl file is needed"
      : (error as Error).message.replace(/ \(os error.*$/s, "");
    throw new InputError(`${start} ${reason}`, { cause: error });
  }
}

const MOST_NAMED = 3;

/** The files of rows in a folder, as the end of a sentence. */
function filesIn(folder: string): string {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => /\.(?:jsonl?|csv)(?:\.gz)?$/i.test(name)).sort();
  const rest = names.length > MOST_NAMED ? ", …" : "";
  return names.length === 0
    ? ""
    : `, it has ${
      names.slice(0, MOST_NAMED).map((it) => quoted(it)).join(", ")
    }${rest}`;
}

function unpacked(path: string, bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MOST_UNPACKED });
  } catch (error) {
    const isTooMuch = (error as { code?: unknown }).code ===
      "ERR_BUFFER_TOO_LARGE";
    const reason = isTooMuch
      ? `it unpacks to more than ${MOST_UNPACKED} bytes, split the file`
      : "it is not a whole gzip file, pack it anew";
    throw new InputError(`Cannot read ${quoted(path)}: ${reason}`, {
      cause: error,
    });
  }
}

/**
 * The text of the file at `path`, unpacked where its name ends in `.gz`; "" and a
 * problem for each line that is not UTF-8 where there are such.
 *
 * @throws {InputError} when the file cannot be read.
 */
export function readText(path: string, problems: Problem[]): string {
  const bytes = readBytes(path);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    return decoder.decode(bytes);
  } catch (error) {
    const what = "the line is not UTF-8 text";
    for (const [index, line] of splitLines(bytes).entries()) {
      if (!isUtf8(line)) problems.push({ line: index + 1, what });
    }
    if (problems.length > 0) return "";
    throw new InputError(
      `Cannot read ${
        quoted(path)
      }: ${bytes.length} bytes are more text than fits in memory as one, split the file`,
      { cause: error },
    );
  }
}

function splitLines(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start <= bytes.length;) {
    const found = bytes.indexOf(LINE_FEED, start);
    const end = found < 0 ? bytes.length : found;
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
