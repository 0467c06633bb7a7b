/**
 * Cuts a text at its added tokens, as the tokenizers of transformers do that are
 * written in Python: the leftmost first, the longest of those that begin there.
 *
 * @module
 */

import type { AddedToken } from "./special_tokens.ts";

/** Part of a text: an added token, or what stands between two. */
export type TextPart = string | AddedToken;

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
      parts.push(text.slice(end, match.index), this.#tokens.get(match[0])!);
      end = match.index + match[0].length;
    }
    parts.push(text.slice(end));
    for (let i = 1; i < parts.length; i += 2) trimAround(parts, i);
    return parts.filter((part) => part !== "");
  }
}

/** Gives the token at `i` the spaces that it takes, or makes it text again. */
function trimAround(parts: TextPart[], i: number): void {
  const token = parts[i] as AddedToken;
  const left = parts[i - 1] as string, right = parts[i + 1] as string;
  if (token.rstrip) parts[i + 1] = right.trimStart();
  if (token.lstrip) parts[i - 1] = left.trimEnd();
  if (!token.single_word) return;
  if (left !== "" && !left.endsWith(" ")) {
    parts[i - 1] = left + token.content;
    parts[i] = "";
  } else if (right !== "" && !right.startsWith(" ")) {
    parts[i + 1] = token.content + right;
    parts[i] = "";
  }
}
