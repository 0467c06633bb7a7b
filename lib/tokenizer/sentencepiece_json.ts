/**
 * A tokenizer.json that gives a SentencePiece model's own ids, for the folders that
 * are written: transformers 5 would convert a lone tokenizer.model in a way of its
 * own, with other ids. A rank for each pair stands in place of scores, so this is
 * possible where no two pieces have the same score and nothing is dropped or
 * replaced in a text.
 *
 * @module
 */

import type { PieceType, SentencePieceModel } from "./sentencepiece_model.ts";
import { SPACE } from "./sentencepiece_normalizer.ts";
import { type AddedToken, textFrame } from "./special_tokens.ts";
import type { JsonObject } from "./tokenizer_files.ts";

/** What stands around a model's own ids. */
export interface AroundModel {
  /** The model. */
  readonly model: SentencePieceModel;
  /** Each stretch of text gets a space in front, else the text as a whole. */
  readonly legacy: boolean;
  /** The text as a whole gets one where `legacy` is off. */
  readonly addPrefixSpace: boolean;
  /** Added tokens with their ids. */
  readonly added: readonly AddedToken[];
  /** Texts of the special tokens that have a role or are listed. */
  readonly named: ReadonlySet<string>;
  /** Tokens around a text. */
  readonly prefix: readonly AddedToken[];
  /** See `prefix`. */
  readonly suffix: readonly AddedToken[];
}

/** Files of a folder that AutoTokenizer of transformers 5 loads to the same ids. */
export interface ConvertedFiles {
  /** tokenizer.json. */
  readonly tokenizer: JsonObject;
  /** Fields of tokenizer_config.json that differ. */
  readonly config: JsonObject;
}

const SPACES = replace({ String: " " }, SPACE);

interface Spaces {
  readonly normalizer: JsonObject;
  readonly pre_tokenizer: JsonObject | null;
}

/** How a text is given its first space; null where a tokenizer.json cannot do so. */
function spacesOf(around: AroundModel): Spaces | null {
  const { model, legacy, addPrefixSpace } = around;
  const putsSpace = legacy ? model.addDummyPrefix : addPrefixSpace;
  // a text of users after another would get a space, too
  if (putsSpace && has(model, "user_defined")) return null;
  if (!legacy) return firstSpace(around);
  return {
    normalizer: putsSpace
      ? sequence([{ type: "Prepend", prepend: SPACE }, SPACES])
      : SPACES,
    pre_tokenizer: null,
  };
}

/**
 * One space before the text as a whole, or none. `Metaspace` puts none before a
 * space, and none before an added token, which is right for those with a role only;
 * a text that is one of the others and nothing else gets none, though SentencePiece
 * gives it one.
 */
function firstSpace(
  { model, addPrefixSpace, added, named }: AroundModel,
): Spaces | null {
  const contents = added.map(({ content }) => content);
  // added tokens are looked for in the normalized text then
  const isPlain = added.every(({ content, lstrip, rstrip }) =>
    !lstrip && !rstrip && !/[ ▁]/.test(content) &&
    contents.every((it) => it === content || !it.startsWith(content))
  );
  const joins = model.pieces.some(({ piece }) => piece.includes(`>${SPACE}`));
  if (!isPlain || joins) return null;
  if (!addPrefixSpace) {
    // a space alone before a token with a role is dropped
    const roles = [...named].map(escaped).join("|");
    const drop = replace({ Regex: `\\A[ ${SPACE}](?=${roles})` }, "");
    return {
      normalizer: sequence(roles === "" ? [SPACES] : [drop, SPACES]),
      pre_tokenizer: null,
    };
  }
  const others = contents.filter((content) => !named.has(content));
  return {
    normalizer: sequence([
      replace({ Regex: `\\A[ ${SPACE}]` }, SPACE + SPACE),
      ...others.map((content) =>
        replace(
          { Regex: `\\A${escaped(content)}(?=[\\s\\S])` },
          SPACE + content,
        )
      ),
      SPACES,
    ]),
    pre_tokenizer: {
      type: "Metaspace",
      replacement: SPACE,
      prepend_scheme: "first",
      split: false,
    },
  };
}

/** `text` in a pattern of Oniguruma. */
function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|#-]/g, "\\$&");
}

function replace(pattern: JsonObject, content: string): JsonObject {
  return { type: "Replace", pattern, content };
}

function sequence(normalizers: readonly JsonObject[]): JsonObject {
  return { type: "Sequence", normalizers };
}

function has(model: SentencePieceModel, kind: PieceType): boolean {
  return model.pieces.some(({ type }) => type === kind);
}

/**
 * Pairs in the order in which they are joined; null where no order of pairs is the
 * model's: pieces with one score are joined from left to right there, and so are
 * two pairs that make the same piece and share a part.
 */
export function mergesOf(
  pieces: SentencePieceModel["pieces"],
): [string, string][] | null {
  const normal = new Set(
    pieces.filter(({ type }) => type === "normal").map(({ piece }) => piece),
  );
  const joined = pieces.filter(({ type, piece }) =>
    type === "normal" && [...piece].length > 1
  ).toSorted((a, b) => b.score - a.score);
  const merges: [string, string][] = [];
  for (const [i, { piece, score }] of joined.entries()) {
    if (score === joined[i + 1]?.score) return null;
    for (const character of piece) if (!normal.has(character)) return null;
    // the longer left side first: in a run of one character no other order comes up
    for (let at = piece.length - 1; at > 0; at--) {
      const left = piece.slice(0, at), right = piece.slice(at);
      if (!normal.has(left) || !normal.has(right)) continue;
      const overlaps = 2 * at < piece.length && piece.startsWith(right) &&
        normal.has(piece.slice(piece.length - at));
      if (overlaps && new Set(piece).size > 1) return null;
      merges.push([left, right]);
    }
  }
  return merges;
}

/** Whether every other property of the model can be written in a tokenizer.json. */
function isPlainModel(model: SentencePieceModel): boolean {
  return model.algorithm === "bpe" && model.characterMap === null &&
    !model.removeExtraSpaces && model.escapeSpaces && !model.spaceAsSuffix &&
    !has(model, "unused");
}

/** The files for a model, null where no tokenizer.json gives its ids. */
export function convertedFiles(around: AroundModel): ConvertedFiles | null {
  const { model, added } = around;
  const ids = new Map(model.pieces.map(({ piece }, id) => [piece, id]));
  const isSame = added.every(({ content, id, single_word }) =>
    !single_word && (ids.get(content) ?? id) === id &&
    model.pieces[id]?.piece !== undefined === ids.has(content)
  );
  if (!isPlainModel(model) || !isSame) return null;
  const spaces = spacesOf(around);
  const merges = spaces === null ? null : mergesOf(model.pieces);
  if (spaces === null || merges === null) return null;
  for (const { content, id } of added) ids.set(content, id);
  const tokens = addedTokens(around);
  const drops = model.addDummyPrefix;
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: tokens,
      ...spaces,
      post_processor: textFrame(around.prefix, around.suffix),
      decoder: {
        type: "Sequence",
        decoders: [
          replace({ String: SPACE }, " "),
          { type: "ByteFallback" },
          { type: "Fuse" },
          ...(drops
            ? [{ type: "Strip", content: " ", start: 1, stop: 0 }]
            : []),
        ],
      },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: model.pieces[model.unknownId]!.piece,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: model.byteFallback,
        ignore_merges: false,
        vocab: Object.fromEntries(ids),
        merges,
      },
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      added_tokens_decoder: Object.fromEntries(
        tokens.map(({ id, ...token }) => [id, token]),
      ),
    },
  };
}

/** Added tokens, and the texts that users defined, which SentencePiece finds in a normalized text. */
function addedTokens(
  { model, legacy, added }: AroundModel,
): AddedToken[] {
  const known = new Set(added.map(({ content }) => content));
  const flags = { single_word: false, lstrip: false, rstrip: false };
  return [
    ...added.map((token) => ({ ...token, normalized: !legacy })),
    ...[...model.pieces.entries()].filter(([, { type, piece }]) =>
      type === "user_defined" && !known.has(piece)
    ).map(([id, { piece }]) => ({
      id,
      content: piece,
      ...flags,
      normalized: true,
      special: false,
    })),
  ].toSorted((a, b) => a.id - b.id);
}
