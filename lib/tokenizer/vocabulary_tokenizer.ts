/**
 * A tokenizer around a vocabulary that is not a tokenizer.json: added tokens are cut
 * out of the text, the rest is the vocabulary's, and the tokens that begin and end
 * a text are put around it.
 *
 * @module
 */

import { AddedTokenSplitter } from "./added_token_splitter.ts";
import type { NativeEncoding, NativeTokenizer } from "./native_tokenizer.ts";
import type { AddedToken } from "./special_tokens.ts";

/** A vocabulary at work. */
export interface Vocabulary {
  /** Number of tokens. */
  readonly size: number;
  /** Whether ids that no token has count in the number of ids. */
  readonly countsGaps?: boolean;
  /** What is done to a text before added tokens are looked for. */
  prepare(text: string): string;
  /** Ids of a text between added tokens. */
  encode(text: string): number[];
  /** Changes the ids of a whole text; `specials` are the places of named special tokens. */
  finish(ids: number[], specials: ReadonlySet<number>): number[];
  /** The token of an id. */
  tokenOf(id: number): string | undefined;
  /** The id of a token. */
  idOf(token: string): number | undefined;
  /** Text of tokens; those that `isAdded` tells stand for themselves. */
  decode(
    tokens: readonly string[],
    isAdded: (token: string) => boolean,
  ): string;
}

/** What a {@linkcode VocabularyTokenizer} is made of. */
export interface VocabularyParts {
  /** The vocabulary. */
  readonly vocabulary: Vocabulary;
  /** Tokens that are looked for in a text before the vocabulary's. */
  readonly added: readonly AddedToken[];
  /** Tokens that count only after others, see {@linkcode AddedTokenSplitter}. */
  readonly onlyAfter?: ReadonlyMap<string, readonly string[]> | undefined;
  /** Ids put before a text. */
  readonly prefix: readonly number[];
  /** Ids put behind a text. */
  readonly suffix: readonly number[];
  /** Texts of the special tokens that have a role or are listed by the class or settings. */
  readonly named: ReadonlySet<string>;
  /** Whether added tokens in a text, special or not, are plain text. */
  readonly splitsAddedTokens: boolean;
}

/** The tokenizer of a vocabulary. */
export class VocabularyTokenizer implements NativeTokenizer {
  readonly #parts: VocabularyParts;
  readonly #splitter: AddedTokenSplitter;
  readonly #byId: ReadonlyMap<number, AddedToken>;
  readonly #byContent: ReadonlyMap<string, AddedToken>;
  // pieces that stand among the added tokens with another id
  readonly #renumbered: ReadonlyMap<number, number>;

  /** Puts the parts together. */
  constructor(parts: VocabularyParts) {
    this.#parts = parts;
    this.#byId = new Map(parts.added.map((token) => [token.id, token]));
    this.#byContent = new Map(
      parts.added.map((token) => [token.content, token]),
    );
    const { vocabulary } = parts;
    this.#renumbered = new Map(
      parts.added.map(({ content, id }) => [vocabulary.idOf(content), id])
        .filter((pair): pair is [number, number] =>
          pair[0] !== undefined && pair[0] !== pair[1]
        ),
    );
    this.#splitter = new AddedTokenSplitter(
      parts.splitsAddedTokens ? [] : parts.added,
      parts.onlyAfter,
    );
  }

  /** Encodes texts, one after the other. */
  encodeBatch(
    texts: readonly string[],
    options: { readonly addSpecialTokens: boolean },
  ): Promise<NativeEncoding[]> {
    const { prefix, suffix } = this.#parts;
    return Promise.resolve(texts.map((text) => {
      const ids = this.#encode(text);
      const all = options.addSpecialTokens
        ? [...prefix, ...ids, ...suffix]
        : ids;
      const start = options.addSpecialTokens ? prefix.length : 0;
      return {
        getIds: () => all,
        getSpecialTokensMask: () =>
          all.map((_, i) => i < start || i >= start + ids.length ? 1 : 0),
      };
    }));
  }

  /** Turns tokens into text. */
  getDecoder(): { decode(tokens: readonly string[]): string } {
    return {
      decode: (tokens) =>
        this.#parts.vocabulary.decode(
          tokens,
          (token) => this.#byContent.has(token),
        ),
    };
  }

  /** Number of ids. */
  getVocabSize(withAddedTokens: boolean): number {
    const { vocabulary, added } = this.#parts;
    if (!withAddedTokens) return vocabulary.size;
    if (vocabulary.countsGaps) {
      return added.reduce((n, { id }) => Math.max(n, id + 1), vocabulary.size);
    }
    // a token that stands at two ids counts once
    const isNew = ({ content, id }: AddedToken): boolean =>
      vocabulary.tokenOf(id) === undefined &&
      vocabulary.idOf(content) === undefined;
    return vocabulary.size + added.filter(isNew).length;
  }

  /** The token of an id, an added one before the vocabulary's. */
  idToToken(id: number): string | null {
    return this.#byId.get(id)?.content ?? this.#parts.vocabulary.tokenOf(id) ??
      null;
  }

  /** The id of a token, an added one before the vocabulary's. */
  tokenToId(token: string): number | null {
    return this.#byContent.get(token)?.id ??
      this.#parts.vocabulary.idOf(token) ??
      null;
  }

  #encode(text: string): number[] {
    const { vocabulary } = this.#parts;
    const ids: number[] = [];
    const specials = new Set<number>();
    for (
      const part of this.#splitter.split(
        vocabulary.prepare(text.toWellFormed()),
      )
    ) {
      if (typeof part === "string") {
        for (const id of vocabulary.encode(part)) {
          ids.push(this.#renumbered.get(id) ?? id);
        }
        continue;
      }
      if (this.#parts.named.has(part.content)) specials.add(ids.length);
      ids.push(part.id);
    }
    return vocabulary.finish(ids, specials);
  }
}
