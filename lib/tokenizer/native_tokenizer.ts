/**
 * The one door to Hugging Face's tokenizers library (Node-API binary): text to
 * ids and back, typed by what the binary does. It is loaded at the first call,
 * so importing costs nothing. It knows no files and no truncation.
 *
 * @module
 */

import { jsonList } from "./special_tokens.ts";
import type { JsonObject } from "./tokenizer_files.ts";

/** Ids of one text, and which of them the post-processor added. */
export interface NativeEncoding {
  /** Token ids. */
  getIds(): number[];
  /** First character of each token in the text, and the one after its last, where that is known. */
  getOffsets?(): number[][];
  /** 1 where the post-processor added the token, else 0; as long as the ids. */
  getSpecialTokensMask(): number[];
}

/** What is used of the library's tokenizer. */
export interface NativeTokenizer {
  /** Encodes many texts on all cores. */
  encodeBatch(
    texts: readonly string[],
    options: { readonly addSpecialTokens: boolean },
  ): Promise<NativeEncoding[]>;
  /** What turns token strings into text; null when the file names none. */
  getDecoder(): { decode(tokens: readonly string[]): string } | null;
  /** Number of ids, added tokens included when asked for. */
  getVocabSize(withAddedTokens: boolean): number;
  /** The token of an id, null when there is none. */
  idToToken(id: number): string | null;
  /** The id of a token, null when there is none. */
  tokenToId(token: string): number | null;
}

/**
 * Builds a tokenizer from the text of a tokenizer.json.
 *
 * @throws {SyntaxError} with the library's words when the text does not describe
 * a tokenizer; the loader's own error where the binary cannot be opened.
 */
export async function openNativeTokenizer(
  json: string,
): Promise<NativeTokenizer> {
  const library = await import("npm:tokenizers@0.23.2");
  try {
    return library.Tokenizer.fromString(json) as unknown as NativeTokenizer;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SyntaxError(reason, { cause: error });
  }
}

/**
 * An encoder that reads special tokens in a text as plain text. The library
 * numbers the other added tokens anew, so they get the ids back that they have in
 * `native`, the tokenizer of `json`.
 */
export async function withoutSpecialTokens(
  json: JsonObject,
  native: NativeTokenizer,
  open: (json: JsonObject) => Promise<NativeTokenizer>,
): Promise<Pick<NativeTokenizer, "encodeBatch">> {
  const kept = jsonList(json["added_tokens"]).filter((it) => !it["special"]);
  const plain = await open({ ...json, added_tokens: kept });
  const ids = new Map(kept.map(({ content }) => [
    plain.tokenToId(content as string),
    native.tokenToId(content as string),
  ]));
  return {
    encodeBatch: async (texts, options): Promise<NativeEncoding[]> =>
      (await plain.encodeBatch(texts, options)).map((encoding) => ({
        getIds: () => encoding.getIds().map((id) => ids.get(id) ?? id),
        getOffsets: () => encoding.getOffsets!(),
        getSpecialTokensMask: () => encoding.getSpecialTokensMask(),
      })),
  };
}

/** At most `maxLength` ids: cuts the text, not the special tokens around it, as the library does. */
export function truncatedIds(
  encoding: NativeEncoding,
  { maxLength, left }: { readonly maxLength: number; readonly left: boolean },
): number[] {
  const ids = encoding.getIds();
  if (ids.length <= maxLength) return ids;
  const mask = encoding.getSpecialTokensMask();
  const start = mask.findIndex((flag) => flag === 0);
  const end = mask.lastIndexOf(0) + 1;
  if (start < 0) return ids;
  const room = Math.max(0, maxLength - (ids.length - (end - start)));
  const kept = left
    ? ids.slice(Math.max(start, end - room), end)
    : ids.slice(start, Math.min(end, start + room));
  return [...ids.slice(0, start), ...kept, ...ids.slice(end)];
}
