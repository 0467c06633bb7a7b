/**
 * The text of a file of rows, piece by piece: read, unpacked, decoded, so that no
 * more of it is in memory than is looked at. What is wrong is told by file and line.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { unpacked } from "./gzip_chunks.ts";

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

/** A longer row is refused before it fills the memory. */
export const LONGEST_ROW = 2 ** 26;

const MOST_KEPT = 1000;
const MOST_COUNTED = 100_000;

/** What is wrong in a file: all is counted, the first problems are kept. */
export class Problems {
  readonly #kept: Problem[] = [];
  #count = 0;

  /** Number of problems so far. */
  get count(): number {
    return this.#count;
  }

  /** Whether there are so many that no more of the file need be read. */
  get areEnough(): boolean {
    return this.#count >= MOST_COUNTED;
  }

  /** Notes a problem. */
  add(problem: Problem): void {
    this.#count++;
    if (this.#kept.length < MOST_KEPT) this.#kept.push(problem);
  }

  /** The first `most` problems by line. */
  first(most: number): Problem[] {
    return this.#kept.toSorted((a, b) => a.line - b.line).slice(0, most);
  }
}

const CHUNK_BYTES = 2 ** 15;
const LINE_FEED = 0x0a;

/** The bytes of the file at `path`, unpacked; a chunk is valid until the next is asked for. */
function* chunks(path: string): Generator<Uint8Array> {
  const start = `Cannot read ${quoted(path)}:`;
  try {
    const { isDirectory, size } = Deno.statSync(path);
    if (isDirectory) {
      throw new InputError(
        `${start} it is a folder, the path of a .jsonl file is needed${
          filesIn(path)
        }`,
      );
    }
    using file = Deno.openSync(path);
    const read = fileChunks(file);
    yield* /\.gz$/i.test(path) ? unpacked(path, { read, size }) : read;
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof Deno.errors.NotCapable) throw error;
    const reason = error instanceof Deno.errors.NotFound
      ? "it does not exist, the path of a .jsonl file is needed"
      : (error as Error).message.replace(/ \(os error.*$/s, "");
    throw new InputError(`${start} ${reason}`, { cause: error });
  }
}

function* fileChunks(file: Deno.FsFile): Generator<Uint8Array> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    const count = file.readSync(buffer);
    if (count === null) return;
    yield buffer.subarray(0, count);
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

/** The file has bytes that are not UTF-8. */
export class NotUtf8 extends Error {}

/**
 * The text of the file at `path` in pieces, unpacked where its name ends in `.gz`,
 * without a byte order mark.
 *
 * @throws {InputError} when the file cannot be read.
 * @throws {NotUtf8} at bytes that are not UTF-8; {@linkcode notUtf8Lines} finds them.
 */
export function* textPieces(path: string): Generator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decoded = (chunk?: Uint8Array): string => {
    try {
      return chunk === undefined
        ? decoder.decode()
        : decoder.decode(chunk as Uint8Array<ArrayBuffer>, { stream: true });
    } catch (error) {
      throw new NotUtf8("not UTF-8", { cause: error });
    }
  };
  for (const chunk of chunks(path)) yield decoded(chunk);
  yield decoded();
}

/** A problem for each line of the file at `path` that is not UTF-8. */
export function notUtf8Lines(path: string): Problems {
  const problems = new Problems();
  let line = 1;
  let decoder = new TextDecoder("utf-8", { fatal: true });
  let isWrong = false;
  const decode = (bytes?: Uint8Array): void => {
    if (isWrong) return;
    try {
      decoder.decode(bytes as Uint8Array<ArrayBuffer> | undefined, {
        stream: bytes !== undefined,
      });
    } catch {
      isWrong = true;
      problems.add({ line, what: "the line is not UTF-8 text" });
    }
  };
  for (const chunk of chunks(path)) {
    for (let start = 0; start < chunk.length;) {
      const found = chunk.indexOf(LINE_FEED, start);
      decode(chunk.subarray(start, found < 0 ? chunk.length : found));
      if (found < 0) break;
      decode();
      if (problems.areEnough) return problems;
      if (isWrong) decoder = new TextDecoder("utf-8", { fatal: true });
      isWrong = false;
      line++;
      start = found + 1;
    }
  }
  decode();
  return problems;
}

/** Some lines of a file that follow each other. */
export interface LineBlock {
  /** Number of the first one, from 1. */
  readonly line: number;
  /** The lines, without what ends them. */
  readonly lines: readonly string[];
}

/**
 * The lines of a text that comes in pieces, ended by `\n`, `\r\n` or `\r`; many at a
 * time. A line that is too long to be a row ends them with a problem.
 */
export function* lineBlocks(
  pieces: Iterable<string>,
  problems: Problems,
): Generator<LineBlock> {
  let line = 1;
  let [rest, length]: [string[], number] = [[], 0];
  for (const piece of pieces) {
    const end = lastLineEnd(piece);
    rest.push(end === 0 ? piece : piece.slice(0, end));
    length += rest.at(-1)!.length;
    if (length > LONGEST_ROW) return problems.add(tooLong(line));
    if (end === 0) continue;
    const lines = rest.join("").split(/\r\n?|\n/);
    // the last one is what comes next
    rest = [lines.pop()! + piece.slice(end)];
    length = rest[0]!.length;
    yield { line, lines };
    line += lines.length;
  }
  yield { line, lines: rest.join("").split(/\r\n?|\n/) };
}

/** The place after the last line end of `piece`, 0 where there is none; `\r` at the very end may be half of one. */
function lastLineEnd(piece: string): number {
  const feed = piece.lastIndexOf("\n") + 1;
  return feed > 0 || piece.length < 2
    ? feed
    : piece.lastIndexOf("\r", piece.length - 2) + 1;
}

/** The problem of a row that is longer than {@linkcode LONGEST_ROW}. */
export function tooLong(line: number): Problem {
  return {
    line,
    what: `the row has more than ${LONGEST_ROW} characters, split it`,
  };
}
