/**
 * Reading a settings file (`.json` and `.jsonc` with comments and trailing
 * commas, `.yaml` and `.yml` as YAML 1.2, where `1e-4` is a number) into
 * entries that know their line. What the keys mean is not decided here.
 *
 * @module
 */
import {
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "npm:jsonc-parser@3.3.1";
import { isMap, isNode, LineCounter, parseDocument } from "npm:yaml@2.9.1";
import { InputError, quoted } from "../input_error.ts";

/** One `key: value` of a settings file. */
export interface SettingsEntry {
  /** The key as written. */
  readonly key: string;
  /** The value as plain data. */
  readonly value: unknown;
  /** Line of the key, from 1, where it is known. */
  readonly line?: number;
}

/** True for a file name that {@linkcode readSettingsFile} reads. */
export function isSettingsFile(path: string): boolean {
  return /\.(jsonc?|ya?ml)$/i.test(path);
}

/**
 * Reads the entries of the settings file at `path`.
 *
 * @throws {InputError} when it cannot be read, is malformed (every error with
 * its line), or is not one object.
 */
export function readSettingsFile(path: string): SettingsEntry[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path).replace(/^\uFEFF/, "");
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound
      ? "no such file"
      : error instanceof Error
      ? error.message
      : String(error);
    throw new InputError(`Cannot read ${quoted(path)}: ${reason}`, {
      exitCode: 2,
      cause: error,
    });
  }
  const parsed = /\.ya?ml$/i.test(path) ? parseYaml(text) : parseJsonc(text);
  if (parsed.errors.length > 0) {
    const lines = parsed.errors
      // the first mistake in a line brings about the others
      .filter((error, at, all) => error.line !== all[at - 1]?.line)
      .map((error) =>
        `Cannot read ${quoted(path)}: line ${error.line}: ${error.message}`
      );
    throw new InputError(lines.join("\n"), { exitCode: 2 });
  }
  if (parsed.entries === undefined) {
    throw new InputError(
      `Cannot read ${quoted(path)}: expected one object of settings`,
      { exitCode: 2 },
    );
  }
  return parsed.entries;
}

interface ParsedFile {
  readonly entries: SettingsEntry[] | undefined;
  readonly errors: readonly {
    readonly line: number;
    readonly message: string;
  }[];
}

function parseJsonc(text: string): ParsedFile {
  const lineAt = (offset: number): number =>
    text.slice(0, offset).split("\n").length;
  const found: ParseError[] = [];
  const root = parseTree(text, found, { allowTrailingComma: true });
  const errors = found.map(({ error, offset }) => ({
    line: lineAt(offset),
    message: words(printParseErrorCode(error)),
  }));
  if (root?.type !== "object") return { entries: undefined, errors };
  const entries = (root.children ?? []).flatMap((property) => {
    const [key, value] = property.children ?? [];
    if (key === undefined || value === undefined) return [];
    return [{
      key: String(key.value),
      value: getNodeValue(value as Node) as unknown,
      line: lineAt(property.offset),
    }];
  });
  return { entries, errors };
}

/** "CommaExpected" as "comma expected". */
function words(code: string): string {
  return code.replaceAll(/(?<=.)(?=[A-Z])/g, " ").toLowerCase();
}

function parseYaml(text: string): ParsedFile {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, uniqueKeys: false });
  const errors = document.errors.map((error) => ({
    line: lineCounter.linePos(error.pos[0]).line,
    message: error.message.split("\n")[0]?.replace(/:$/, "") ?? "",
  }));
  if (!isMap(document.contents)) {
    const isEmpty = document.contents === null;
    return { entries: isEmpty ? [] : undefined, errors };
  }
  const entries = document.contents.items.map(({ key, value }) => ({
    key: String(isNode(key) ? key.toJS(document) : key),
    value: (isNode(value) ? value.toJS(document) : value) as unknown,
    line: isNode(key) && key.range ? lineCounter.linePos(key.range[0]).line : 1,
  }));
  return { entries, errors };
}
