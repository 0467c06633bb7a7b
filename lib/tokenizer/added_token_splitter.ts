/**
 * Cuts a text at its added tokens, as the tokenizers of transformers do that are
 * written in Python: the leftmost first, the longest of those that begin there.
 *
 * @module
 */

import type { AddedToken } from "./special_tokens.ts";

/** Part of a text: an added token, or what stands between two. */
export type TextPart = string | AddedToken;

// what Python's strip() takes for white space
const SPACES =
  "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const LEADING = new RegExp(`^[${SPACES}]+`);
const TRAILING = new RegExp(`[${SPACES}]+$`);

/** Cuts texts at added tokens. */
export class AddedTokenSplitter {
  readonly #tokens: ReadonlyMap<string, AddedToken>;
  readonly #pattern: RegExp | null;

  /** `onlyAfter` names tokens that count only where another stands before them. */
  constructor(
    tokens: readonly AddedToken[],
    onlyAfter: ReadonlyMap<string, readonly string[]> = new Map(),
  ) {
    this.#tokens = new Map(tokens.map((token) => [token.content, token]));
    const alternatives = [...this.#tokens.keys()]
      .filter((content) => content !== "")
      .sort((a, b) => b.length - a.length)
      .map((content) => {
        const before = onlyAfter.get(content)?.map((it) => RegExp.escape(it));
        const start = before === undefined ? "" : `(?<=${before.join("|")})`;
        return `${start}${RegExp.escape(content)}`;
      });
    this.#pattern = alternatives.length === 0
      ? null
      : new RegExp(alternatives.join("|"), "gu");
  }

  /** The parts of `text` in order, none of them empty. */
  split(text: string): TextPart[] {
    if (this.#pattern === null) return text === "" ? [] : [text];
    const parts: TextPart[] = [];
    let end = 0;
    for (const match of text.matchAll(this.#pattern)) {
      if (match.index > end) parts.push(text.slice(end, match.index));
      parts.push(this.#tokens.get(match[0])!);
      end = match.index + match[0].length;
    }
    if (end < text.length) parts.push(text.slice(end));
    for (let i = 0; i < parts.length; i++) trimAround(parts, i);
    return parts.filter((part) => part !== "");
  }
}

/** Gives the token at `i` the spaces that it takes, or makes it text again. */
function trimAround(parts: TextPart[], i: number): void {
  const token = parts[i]!;
  if (typeof token === "string") return;
  const right = parts[i + 1];
  if (token.rstrip && typeof right === "string") {
    parts[i + 1] = right.replace(LEADING, "");
  }
  const left = parts[i - 1];
  if (token.lstrip && typeof left === "string") {
    parts[i - 1] = left.replace(TRAILING, "");
  }
  if (!token.single_word) return;
  // two such tokens side by side are text, too
  const before = textOf(parts[i - 1]), after = textOf(parts[i + 1]);
  if (before !== "" && !before.endsWith(" ")) {
    parts[i - 1] = before + token.content;
    parts[i] = "";
  } else if (after !== "" && !after.startsWith(" ")) {
    parts[i + 1] = token.content + after;
    parts[i] = "";
  }
}

function textOf(part: TextPart | undefined): string {
  return typeof part === "object" ? part.content : part ?? "";
}
