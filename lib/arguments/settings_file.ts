/**
 * Reads a settings file (`.json` and `.jsonc` with comments and trailing commas,
 * `.yaml` and `.yml` as YAML 1.2, where `1e-4` is a number) into entries with
 * line numbers. What the keys mean is decided elsewhere.
 *
 * @module
 */
import {
  createScanner,
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "npm:jsonc-parser@3.3.1";
import {
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node as YamlNode,
  parseDocument,
} from "npm:yaml@2.9.1";
import { fileInfo } from "../formats/file_info.ts";
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

/** A problem in a line of a file. */
interface LineProblem {
  readonly line: number;
  readonly message: string;
}

interface ParsedFile {
  readonly entries: readonly SettingsEntry[];
  readonly problems: readonly LineProblem[];
}

// YAML's parser needs a second for a file of this size that consists of mistakes
// only
const MAX_BYTES = 64 * 1024;
/** For each alias, the parser searches the whole document. */
const MAX_ALIASES = 100;
// parsers of nested text are recursive, and YAML's takes exponential time
const MAX_DEPTH = 10;
const TOO_DEEP = `it is nested more than ${MAX_DEPTH} levels deep, ` +
  "settings are not nested";
const EMPTY = "it is empty, expected settings";

/** Whether {@linkcode readSettingsFile} reads files of this name. */
export function isSettingsFile(path: string): boolean {
  return /\.(jsonc?|ya?ml)$/i.test(path);
}

/**
 * Reads the entries of the settings file at `path`.
 *
 * @throws {InputError} when it cannot be read, is malformed (all errors, with
 *   their lines), or is not one object.
 */
export function readSettingsFile(path: string): SettingsEntry[] {
  const text = readText(path);
  const parsed = text.trim() === ""
    ? { entries: [], problems: [{ line: 1, message: EMPTY }] }
    : /\.ya?ml$/i.test(path)
    ? parseYaml(text)
    : parseJsonc(text);
  if (parsed.problems.length === 0) return [...parsed.entries];
  const lines = parsed.problems
    // the first mistake in a line often causes others
    .filter((problem, at, all) => problem.line !== all[at - 1]?.line)
    .map(({ line, message }) =>
      `Cannot read ${quoted(path)}: line ${line}: ${message}`
    );
  throw new InputError(lines.join("\n"), { exitCode: 2 });
}

function readText(path: string): string {
  const fail = (reason: string, cause?: unknown): never => {
    throw new InputError(`Cannot read ${quoted(path)}: ${reason}`, {
      exitCode: 2,
      cause,
    });
  };
  try {
    const info = fileInfo(path);
    if (info === null) return fail("no such file");
    if (!info.isFile) return fail("it is not a regular file");
    if (info.size > MAX_BYTES) {
      return fail(`it has ${info.size} bytes, expected at most ${MAX_BYTES}`);
    }
    const bytes = Deno.readFileSync(path);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof TypeError) return fail("it is not UTF-8 text", error);
    const { message } = error as Error;
    return fail(message.replace(/ \(os error.*$/s, ""), error);
  }
}

function parseJsonc(text: string): ParsedFile {
  const lineAt = (offset: number): number =>
    text.slice(0, offset).split("\n").length;
  const deep = tooDeepInJson(text);
  if (deep !== undefined) {
    return {
      entries: [],
      problems: [{ line: lineAt(deep), message: TOO_DEEP }],
    };
  }
  const found: ParseError[] = [];
  const root = parseTree(withSpecialNumbers(text), found, {
    allowTrailingComma: true,
  });
  const problems: LineProblem[] = found.map(({ error, offset, length }) => {
    const name = printParseErrorCode(error)
      .replaceAll(/(?<=.)(?=[A-Z])/g, " ").toLowerCase();
    const symbol = name === "invalid symbol"
      ? ` ${quoted(text.slice(offset, offset + length), 40)}`
      : "";
    return { line: lineAt(offset), message: name + symbol };
  });
  if (problems.length === 0 && root?.type !== "object") {
    problems.push({ line: 1, message: noObject(root?.type ?? "nothing") });
  }
  const entries = (root?.children ?? []).flatMap((property) => {
    const [key, value] = property.children ?? [];
    if (key === undefined || value === undefined) return [];
    return [{
      key: String(key.value),
      value: specialNumber(getNodeValue(value as Node)),
      line: lineAt(property.offset),
    }];
  });
  return { entries, problems };
}

function noObject(found: string): string {
  const article = /^[aeiou]/.test(found) ? "an" : "a";
  const held = found === "nothing" ? found : `${article} ${found}`;
  return `it holds ${held}, expected one object of settings`;
}

/** The place where brackets are nested more than `MAX_DEPTH` deep, if there is one. */
function tooDeepInJson(text: string): number | undefined {
  const scanner = createScanner(text, true);
  const end = text.length;
  let depth = 0;
  // checks the position, because an unclosed comment would move it beyond the end
  // for ever
  while (scanner.getPosition() < end) {
    scanner.scan();
    const token = text[scanner.getTokenOffset()];
    if (token === "{" || token === "[") depth += 1;
    if (token === "}" || token === "]") depth -= 1;
    if (depth > MAX_DEPTH) return Math.min(scanner.getTokenOffset(), end);
  }
  return undefined;
}

const SPECIAL = /"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|(-?Infinity|NaN)\b/g;

/** Replaces numbers that Python writes and JSON does not have by marked strings. */
function withSpecialNumbers(text: string): string {
  return text.replace(
    SPECIAL,
    (all, number?: string) => number === undefined ? all : `"\\u0000${number}"`,
  );
}

function specialNumber(value: unknown): unknown {
  const isMarked = typeof value === "string" &&
    /^\0(-?Infinity|NaN)$/.test(value);
  return isMarked ? Number(value.slice(1)) : value;
}

function parseYaml(text: string): ParsedFile {
  const excess = excessInYaml(text);
  if (excess !== undefined) return { entries: [], problems: [excess] };
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter,
    uniqueKeys: false,
    // the parser must not print warnings; the problems are reported here
    logLevel: "error",
  });
  // the warning is about an unknown tag, without which the value would be another
  // one
  const found = [...document.errors, ...document.warnings];
  const problems: LineProblem[] = found.map((error) => ({
    line: lineCounter.linePos(error.pos[0]).line,
    message: error.code === "MULTIPLE_DOCS"
      ? "expected one document, a second one begins here"
      : plainMessage(error.message),
  }));
  const { contents } = document;
  if (!isMap(contents)) {
    const found = isSeq(contents) ? "list" : "text";
    const message = contents === null ? EMPTY : noObject(found);
    return { entries: [], problems: [...problems, { line: 1, message }] };
  }
  const entries: SettingsEntry[] = [];
  for (const { key, value } of contents.items) {
    const at = isNode(key) && key.range ? key.range[0] : 0;
    const { line } = lineCounter.linePos(at);
    if (!isScalar(key)) {
      problems.push({ line, message: "expected a name before the colon" });
      continue;
    }
    try {
      const plain = isNode(value) ? (value as YamlNode).toJS(document) : value;
      if (isPlain(plain, MAX_DEPTH)) {
        entries.push({ key: String(key.value), value: plain, line });
      } else {
        problems.push({ line, message: "expected plain values in it" });
      }
    } catch (error) {
      // an alias without an anchor, or too many aliases
      problems.push({ line, message: plainMessage((error as Error).message) });
    }
  }
  return { entries, problems };
}

/** The first line of the parser's message, without the position in it. */
function plainMessage(message: string): string {
  return message.split("\n")[0]
    ?.replace(/( at line \d+, column \d+)?:?$/, "") ?? "";
}

/** Whether JSON can hold `value`, in at most `depth` levels; so it is not circular. */
function isPlain(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  const isKnown = prototype === Object.prototype || Array.isArray(value);
  return depth > 0 && isKnown &&
    Object.values(value).every((each) => isPlain(each, depth - 1));
}

/**
 * The line in which collections are nested more than `MAX_DEPTH` deep, or in
 * which there are that many `? ` keys, which are as expensive to parse; or the
 * line of the first alias that is too many.
 */
function excessInYaml(text: string): LineProblem | undefined {
  let line = 1;
  let inBrackets = 0;
  let explicitKeys = 0;
  let inLine = 0;
  let aliases = 0;
  const indents: number[] = [];
  for (const token of new Lexer().lex(text)) {
    if (token === "[" || token === "{") inBrackets += 1;
    else if (token === "]" || token === "}") inBrackets -= 1;
    else if (token === "?") explicitKeys += 1;
    else if (token === "-") inLine += 1;
    else if (token.startsWith("*")) aliases += 1;
    else if (token.includes("\n")) {
      line += token.split("\n").length - 1;
      inLine = 0;
    } else if (inLine === 0 && /^ +$/.test(token)) {
      while ((indents.at(-1) ?? -1) >= token.length) indents.pop();
      indents.push(token.length);
    }
    const depth = inBrackets + explicitKeys + inLine + indents.length;
    if (depth > MAX_DEPTH) return { line, message: TOO_DEEP };
    if (aliases > MAX_ALIASES) {
      return { line, message: `expected at most ${MAX_ALIASES} aliases` };
    }
  }
  return undefined;
}
