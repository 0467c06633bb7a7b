/**
 * The vocabulary of a lone tokenizer.model, used as the slow tokenizers of the
 * Llama kind use it: with SentencePiece's own ids of every stretch between added
 * tokens, and the `legacy` switch of tokenizer_config.json.
 *
 * @module
 */

import type { SentencePiece } from "./sentencepiece.ts";
import { SPACE } from "./sentencepiece_normalizer.ts";
import type { Vocabulary } from "./vocabulary_tokenizer.ts";

/** How spaces at the start of a text are treated. */
export interface SpaceSettings {
  /** Each stretch of text gets a space in front, where the model says so. */
  readonly legacy: boolean;
  /** The text as a whole gets one where `legacy` is off. */
  readonly addPrefixSpace: boolean;
}

/** Puts a SentencePiece model to use. */
export function sentencePieceVocabulary(
  sentencePiece: SentencePiece,
  { legacy, addPrefixSpace }: SpaceSettings,
): Vocabulary {
  const { pieces, unknownId } = sentencePiece.model;
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]));
  const plain = (text: string): number[] => sentencePiece.encode(text, false);
  const spaceId = ids.get(SPACE);
  // SentencePiece drops a space in front, so another text stands there meanwhile
  const guard = pieces[unknownId]!.piece;
  const guardLength = plain(guard).length;
  const common = {
    size: pieces.length,
    tokenOf: (id: number) => pieces[id]?.piece,
    idOf: (token: string) => ids.get(token),
    decode: (
      tokens: readonly string[],
      isAdded: (token: string) => boolean,
    ): string => sentencePiece.decode(tokens, isAdded),
  };
  if (legacy) {
    return {
      ...common,
      prepare: (text) => text,
      encode: (text) => sentencePiece.encode(text),
      finish: (all) => all,
    };
  }
  return {
    ...common,
    prepare: (text) =>
      text === ""
        ? ""
        : (addPrefixSpace ? SPACE : "") + text.replaceAll(SPACE, " "),
    encode: (text) =>
      text.startsWith(SPACE) || text.startsWith(" ")
        ? plain(guard + text).slice(guardLength)
        : plain(text),
    finish: (all, specials) =>
      all.length > 1 && all[0] === spaceId && specials.has(1)
        ? all.slice(1)
        : all,
  };
}
