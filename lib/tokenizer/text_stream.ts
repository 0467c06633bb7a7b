/**
 * Text during generation: ids go in one by one, whole characters come out. The
 * decoding itself is done by the tokenizer.
 *
 * @module
 */

/** What a {@linkcode TextStream} needs of a tokenizer. */
export interface TokenDecoder {
  /** Token strings of ids. */
  tokensOf(
    ids: readonly number[],
    options: { readonly skipSpecialTokens?: boolean },
  ): string[];
  /** Text of token strings. */
  decodeTokens(tokens: readonly string[]): string;
}

/** Options of {@linkcode TextStream}. */
export interface TextStreamOptions {
  /** Leaves special tokens out. Default true. */
  readonly skipSpecialTokens?: boolean;
}

// decoders drop a space at the start of a text; after this token the space stays,
// and the token separates the bytes of one character from those of the next
const CONTEXT = "a";
const UNFINISHED = "\uFFFD";

/**
 * Turns ids into text, never returning half a character.
 *
 * @example
 * ```ts
 * import { AutoTokenizer, TextStream } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/legacy",
 * );
 * const stream = new TextStream(tokenizer);
 * let text = "";
 * for (const id of await tokenizer.encode("花🌸")) text += stream.push(id);
 * assert.equal(text + stream.end(), "花🌸");
 * ```
 */
export class TextStream {
  readonly #decoder: TokenDecoder;
  readonly #skipSpecialTokens: boolean;
  #pending: string[] = [];
  #begun = false;

  /** Starts an empty text. */
  constructor(decoder: TokenDecoder, options: TextStreamOptions = {}) {
    this.#decoder = decoder;
    this.#skipSpecialTokens = options.skipSpecialTokens ?? true;
  }

  /** Adds one id; returns the text that it completes, often "". */
  push(id: number): string {
    this.#pending.push(...this.#decoder.tokensOf([id], {
      skipSpecialTokens: this.#skipSpecialTokens,
    }));
    const text = this.#text();
    return text.endsWith(UNFINISHED) ? "" : this.#emit(text);
  }

  /** Returns the rest, with U+FFFD for a character that was not completed. */
  end(): string {
    return this.#emit(this.#text());
  }

  #text(): string {
    if (this.#pending.length === 0) return "";
    if (!this.#begun) return this.#decoder.decodeTokens(this.#pending);
    return this.#decoder.decodeTokens([CONTEXT, ...this.#pending])
      .slice(CONTEXT.length);
  }

  #emit(text: string): string {
    this.#begun ||= this.#pending.length > 0;
    this.#pending = [];
    return text;
  }
}
