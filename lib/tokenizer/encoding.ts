/**
 * What goes into an encoding or decoding and what comes out, besides text and ids.
 *
 * @module
 */

/** Options of `AutoTokenizer.encode`. */
export interface EncodeOptions {
  /** Adds the tokens that the folder's post-processor names. Default true. */
  readonly addSpecialTokens?: boolean;
  /**
   * The most ids to give, added special tokens included: the text is cut, the
   * special tokens stay. Default: no limit.
   */
  readonly maxLength?: number;
}

/** Ids of a text and where they stand in it. */
export interface OffsetEncoding {
  /** Token ids. */
  readonly ids: readonly number[];
  /**
   * For each id the first character that it is for and the one after the last,
   * counted in code points as Python counts; null where the tokenizer does not tell.
   */
  readonly offsets: readonly (readonly [number, number])[] | null;
}

/** Options of `AutoTokenizer.decode`. */
export interface DecodeOptions {
  /** Leaves special tokens out. Default false. */
  readonly skipSpecialTokens?: boolean;
}
