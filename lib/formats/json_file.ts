/**
 * Reads a JSON file that contains one object, as all configuration files in
 * Hugging Face format do.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { FileBytes } from "./file_bytes.ts";
import { parseJson } from "./json_text.ts";

const MAX_BYTES = 256 * 2 ** 20;

/**
 * Reads the JSON object in the file at `path`. A byte order mark is skipped;
 * `NaN` and `Infinity` are accepted, because Python writes them.
 *
 * @throws {InputError} when the file is missing, not UTF-8, not JSON, not an
 *   object, larger than 256 MiB, or nested more than 500 levels deep.
 */
export function readJsonFile(path: string): Record<string, unknown> {
  using file = new FileBytes(path);
  if (file.size > MAX_BYTES) {
    throw new InputError(
      `Cannot load ${
        quoted(path)
      }: it has ${file.size} bytes, a JSON file of at most ${MAX_BYTES} is read`,
    );
  }
  const bytes = file.read(0, file.size);
  const value = parse(path, decode(path, bytes));
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  const found = Array.isArray(value) ? "an array" : quoted(value);
  throw new InputError(
    `Cannot load ${quoted(path)}: it holds ${found}, a JSON object is needed`,
  );
}

function decode(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new InputError(
      `Cannot load ${quoted(path)}: it is not UTF-8 text, save it as UTF-8`,
      { cause },
    );
  }
}

function parse(path: string, text: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    throw new InputError(
      `Cannot load ${quoted(path)}: it is not JSON, ${
        (cause as Error).message
      }`,
      { cause },
    );
  }
}
