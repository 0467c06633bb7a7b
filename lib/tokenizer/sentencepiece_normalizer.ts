/**
 * What SentencePiece does to a text before it cuts it: characters are replaced by
 * the model's map, spaces dropped and written as U+2581, one put in front
 * (`Normalizer::Normalize` of `normalizer.cc`).
 *
 * @module
 */

import type { PieceTrie } from "./piece_trie.ts";
import type { SentencePieceModel } from "./sentencepiece_model.ts";

/** The character that stands for a space in pieces. */
export const SPACE = "\u2581";

/** What of a model the normalizer needs. */
export type NormalizerSettings = Pick<
  SentencePieceModel,
  | "characterMap"
  | "addDummyPrefix"
  | "removeExtraSpaces"
  | "escapeSpaces"
  | "spaceAsSuffix"
>;

/**
 * `text` as it is cut. What begins with a text of `symbols`, the ones that users
 * defined, is taken from there as it stands.
 */
export function normalized(
  text: string,
  settings: NormalizerSettings,
  symbols: PieceTrie,
): string {
  const { removeExtraSpaces, addDummyPrefix, spaceAsSuffix } = settings;
  const space = settings.escapeSpaces ? SPACE : " ";
  if (settings.characterMap === null && !removeExtraSpaces) {
    // nothing is replaced or dropped, as in Llama's models
    const all = settings.escapeSpaces ? text.replaceAll(" ", SPACE) : text;
    if (all === "" || !addDummyPrefix) return all;
    return spaceAsSuffix ? all + space : space + all;
  }
  const parts = replacedParts(text, settings, symbols);
  let start = 0;
  if (removeExtraSpaces) { while (parts[start] === " ") start++; }
  if (start === parts.length) return "";
  let result = addDummyPrefix && !spaceAsSuffix ? space : "";
  let afterSpace = removeExtraSpaces;
  for (let i = start; i < parts.length; i++) {
    let part = parts[i]!;
    if (afterSpace) part = part.replace(/^ +/, "");
    if (part !== "") {
      result += settings.escapeSpaces ? part.replaceAll(" ", SPACE) : part;
      afterSpace = part.endsWith(" ");
    }
    if (!removeExtraSpaces) afterSpace = false;
  }
  if (removeExtraSpaces) {
    let end = result.length;
    while (end > 0 && result[end - 1] === space) end--;
    result = result.slice(0, end);
  }
  return addDummyPrefix && spaceAsSuffix ? result + space : result;
}

/** The text in the parts that rules, symbols and characters make of it. */
function replacedParts(
  text: string,
  { characterMap }: NormalizerSettings,
  symbols: PieceTrie,
): string[] {
  const bytes = characterMap === null ? null : new TextEncoder().encode(text);
  const parts: string[] = [];
  let byte = 0;
  for (let at = 0; at < text.length;) {
    const symbol = symbols.longestAt(text, at);
    const rule = symbol > 0 || bytes === null
      ? null
      : characterMap!.longestRule(bytes, byte);
    let length = symbol || (text.codePointAt(at)! > 0xffff ? 2 : 1);
    // a rule ends where a character ends; one that does not is not a rule
    const replaced = rule === null ? 0 : unitsOf(text, at, rule.length);
    if (replaced > 0) length = replaced;
    const source = text.slice(at, at + length);
    parts.push(replaced > 0 ? rule!.replacement : source);
    if (bytes !== null) byte += utf8Length(source);
    at += length;
  }
  return parts;
}

/** How many code units from `at` on are `bytes` in UTF-8, 0 when none are. */
function unitsOf(text: string, at: number, bytes: number): number {
  let units = 0;
  while (bytes > 0 && at + units < text.length) {
    const code = text.codePointAt(at + units)!;
    units += code > 0xffff ? 2 : 1;
    bytes -= utf8Size(code);
  }
  return bytes === 0 ? units : 0;
}

/** Bytes of a text in UTF-8. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.codePointAt(at)!;
    if (code > 0xffff) at++;
    bytes += utf8Size(code);
  }
  return bytes;
}

/** Bytes of a character in UTF-8. */
function utf8Size(code: number): number {
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}
