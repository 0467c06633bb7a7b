/**
 * Reads JSON text as strictly as Python, which accepts `NaN` and `Infinity`.
 * Finds the place where a text is not JSON, and keys that an object has twice.
 *
 * @module
 */

import { quoted } from "../input_error.ts";

/** A token and its position. */
interface Token {
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /"[^"\\]*(?:\\[^][^"\\]*)*"|-?Infinity\b|NaN\b|-?\d[\d.eE+-]*|(?:true|false|null)\b|[{}[\]:,]/y;
const SPACE = /[ \t\n\r]*/y;
const NAN_MARK = "\u{f0000}NaN";

/**
 * The tokens of `text`. Where the text does not go on with a valid token, the
 * last one is "".
 */
function* tokens(text: string): Generator<Token> {
  for (let at = 0;;) {
    SPACE.lastIndex = at;
    at += SPACE.exec(text)?.[0].length ?? 0;
    if (at >= text.length) return;
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text)?.[0] ?? "";
    yield { text: found, at };
    if (found === "") return;
    at += found.length;
  }
}

/** More levels than any file needs, and few enough for a recursive walk of the value. */
const MAX_DEPTH = 500;

/**
 * Reads JSON text.
 *
 * @throws {SyntaxError} naming the place and what is wrong there: `line 2, column
 *   5 has "abc"`; also when values are nested more than 500 levels deep.
 */
export function parseJson(text: string): unknown {
  checkDepth(text);
  try {
    return JSON.parse(text);
  } catch (cause) {
    const fault = firstFault(text);
    if (fault === undefined && /NaN|Infinity/.test(text)) {
      return parseNonFinite(text);
    }
    throw new SyntaxError(describe(text, fault ?? text.length), { cause });
  }
}

function checkDepth(text: string): void {
  // a text this deep has at least as many brackets, each opened and closed
  if (text.length < 2 * MAX_DEPTH) return;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x22) at = endOfString(text, at);
    else if (unit === 0x7b || unit === 0x5b) depth++;
    else if (unit === 0x7d || unit === 0x5d) depth--;
    if (depth <= MAX_DEPTH) continue;
    throw new SyntaxError(
      `${place(text, at)} is nested more than ${MAX_DEPTH} levels deep`,
    );
  }
}

/**
 * The position where the string that begins at `start` ends; the end of the
 * text when it does not.
 */
function endOfString(text: string, start: number): number {
  for (let at = start + 1;;) {
    const end = text.indexOf('"', at);
    if (end < 0) return text.length;
    let backslashes = 0;
    while (text[end - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 0) return end;
    at = end + 1;
  }
}

/** The first key that occurs twice in one object of the JSON text `text`. */
export function duplicateKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  let last = "";
  for (const token of tokens(text)) {
    if (token.text === "{" || token.text === "[") open.push(new Set());
    else if (token.text === "}" || token.text === "]") open.pop();
    else if (token.text === ":") {
      const key = String(JSON.parse(last));
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
    last = token.text;
  }
  return undefined;
}

/**
 * JSON has no words for these numbers; they are replaced by a string that the
 * text does not contain.
 */
function parseNonFinite(text: string): unknown {
  const parts: string[] = [];
  for (const token of tokens(text)) {
    if (token.text === "NaN") parts.push(JSON.stringify(NAN_MARK));
    else if (token.text === "Infinity") parts.push("1e999");
    else if (token.text === "-Infinity") parts.push("-1e999");
    else parts.push(token.text);
  }
  try {
    return JSON.parse(
      parts.join(" "),
      (_key, value: unknown) => value === NAN_MARK ? NaN : value,
    );
  } catch (cause) {
    throw new SyntaxError((cause as Error).message, { cause });
  }
}

type Expected = "value" | "value or ]" | "key" | "key or }" | ":" | ", or end";

/**
 * The position of the first token that breaks the grammar; undefined when only
 * a token itself is malformed.
 */
function firstFault(text: string): number | undefined {
  const open: string[] = [];
  let expected: Expected = "value";
  for (const token of tokens(text)) {
    const next = follow(token.text, { expected, open });
    if (next === undefined) return token.at;
    expected = next;
  }
  return expected === ", or end" && open.length === 0 ? undefined : text.length;
}

/** What may follow `token`; undefined when it is not allowed here. Updates `open`. */
function follow(
  token: string,
  state: { readonly expected: Expected; readonly open: string[] },
): Expected | undefined {
  const { expected, open } = state;
  if (expected.startsWith("key") && token.startsWith('"')) return ":";
  if (expected === ":") return token === ":" ? "value" : undefined;
  const mayClose = expected.includes(" or ");
  if (token === "}" || token === "]") {
    const isClosing = mayClose && !(expected === "value or ]" && token === "}");
    return isClosing && open.pop() === token ? ", or end" : undefined;
  }
  if (expected === ", or end") {
    if (token !== "," || open.length === 0) return undefined;
    return open.at(-1) === "}" ? "key" : "value";
  }
  if (expected.startsWith("key") || /^[,:]?$/.test(token)) return undefined;
  if (token === "{" || token === "[") open.push(token === "{" ? "}" : "]");
  if (token === "{") return "key or }";
  return token === "[" ? "value or ]" : ", or end";
}

/** Describes a place in `text`. */
function describe(text: string, at: number): string {
  if (at >= text.length) {
    return text.trim() === "" ? "it is empty" : "it ends too early";
  }
  const word = /^[\w.+-]+|^[^]/u.exec(text.slice(at, at + 40))?.[0] ?? "";
  return `${place(text, at)} has ${quoted(word)}`;
}

function place(text: string, at: number): string {
  const before = text.slice(0, at).split("\n");
  const column = (before.at(-1) ?? "").length + 1;
  return `line ${before.length}, column ${column}`;
}
