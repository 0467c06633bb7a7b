/**
 * The only file that uses Hugging Face's tokenizers library (a Node-API binary):
 * text to ids and back, with types for what the binary does. The library is
 * loaded at the first call, so importing this file loads nothing. Files and
 * truncation are handled elsewhere.
 *
 * @module
 */

/** The ids of a text, and which of them the post-processor added. */
export interface NativeEncoding {
  /** Token ids. */
  getIds(): number[];
<<<<<<< lib/tokenizer/native_tokenizer.ts
  /** First character of each token in the text, and the one after its last, where that is known. */
  getOffsets?(): number[][];
  /** 1 where the post-processor added the token, else 0; as long as the ids. */
=======
  /** 1 when the post-processor added the token, else 0; as long as the ids. */
>>>>>>> /tmp/tmp0ybcb6z7/n
  getSpecialTokensMask(): number[];
}

/** The part of the library's tokenizer that is used. */
export interface NativeTokenizer {
  /** Encodes several texts, on all cores. */
  encodeBatch(
    texts: readonly string[],
    options: { readonly addSpecialTokens: boolean },
  ): Promise<NativeEncoding[]>;
  /** Turns token strings into text; null when the file has no decoder. */
  getDecoder(): { decode(tokens: readonly string[]): string } | null;
  /** Number of ids; with added tokens when asked for. */
  getVocabSize(withAddedTokens: boolean): number;
  /** The token of an id, null when it has none. */
  idToToken(id: number): string | null;
  /** The id of a token, null when it has none. */
  tokenToId(token: string): number | null;
}

/**
 * Builds a tokenizer from the text of a tokenizer.json.
 *
 * @throws {SyntaxError} with the library's message when the text does not
 *   describe a tokenizer; the loader's own error when the binary cannot be
 *   opened.
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
