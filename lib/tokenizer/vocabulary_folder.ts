/**
 * The tokenizer of a folder without tokenizer.json: what its files say about the
 * kind of vocabulary, the class and its tokens. The tokens that only the code of
 * a class names stand here as data; no code of a folder is run.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { SentencePiece } from "./sentencepiece.ts";
import {
  type AroundModel,
  type ConvertedFiles,
  convertedFiles,
} from "./sentencepiece_json.ts";
import { readSentencePieceModel } from "./sentencepiece_model.ts";
import { sentencePieceVocabulary } from "./sentencepiece_vocabulary.ts";
import {
  type AddedToken,
  type DeclaredToken,
  declaredToken,
  namedTokens,
  specialTokens,
} from "./special_tokens.ts";
import { isTiktoken, readTiktoken, tiktokenVocabulary } from "./tiktoken.ts";
import {
  className,
  type ClassRules,
  isLegacy,
  OTHER_CLASSES,
  sentencePieceRules,
  TIKTOKEN_CLASSES,
} from "./tokenizer_classes.ts";
import {
  isJsonObject,
  type TokenizerFiles,
  type VocabularyFile,
} from "./tokenizer_files.ts";
import type { CheckedTokenizerJson } from "./tokenizer_json.ts";
import { splitsSpecialTokens } from "./tokenizer_settings.ts";
import type { TokenizerSpec } from "./tokenizer_spec.ts";
import {
  type Vocabulary,
  VocabularyTokenizer,
} from "./vocabulary_tokenizer.ts";

/** A tokenizer that is ready, and what is known of a tokenizer.json otherwise. */
export interface FolderTokenizer {
  /** The tokenizer. */
  readonly native: VocabularyTokenizer;
  /** The same: it encodes too. */
  readonly encoder: VocabularyTokenizer;
  /** Tokens with a role and special ones. */
  readonly spec: TokenizerSpec;
  /** No text is too long. */
  readonly limits: CheckedTokenizerJson;
  /** Files that transformers loads to the same ids, null where there are none. */
  readonly converted: () => ConvertedFiles | null;
}

const NO_LIMITS = {
  json: {},
  longestText: Infinity,
  longestDecoded: Infinity,
};

/** Builds the tokenizer of a folder that has `file` and no tokenizer.json. */
export function vocabularyTokenizer(
  files: TokenizerFiles,
  file: VocabularyFile,
): FolderTokenizer {
  const name = className(files);
  try {
    if (OTHER_CLASSES.test(name)) {
      throw new SyntaxError(
        `the class ${
          quoted(name)
        } has rules that are not known, a tokenizer.json is needed`,
      );
    }
    return isTiktoken(file.bytes) || file.name.endsWith(".tiktoken")
      ? fromTiktoken(files, file, name)
      : fromSentencePiece(files, file.bytes, name);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new InputError(
      `Cannot load tokenizer from ${
        quoted(files.directory)
      }: in ${file.name} ${error.message}`,
      { cause: error },
    );
  }
}

function fromSentencePiece(
  files: TokenizerFiles,
  bytes: Uint8Array,
  name: string,
): FolderTokenizer {
  const model = readSentencePieceModel(bytes);
  const spaces = {
    legacy: isLegacy(name, files),
    addPrefixSpace: files.config["add_prefix_space"] !== false,
  };
  const vocabulary = sentencePieceVocabulary(new SentencePiece(model), spaces);
  const piece = (id: number): string | undefined => model.pieces[id]?.piece;
  const ofModel = {
    bos_token: piece(model.roles.bos),
    eos_token: piece(model.roles.eos),
    unk_token: piece(model.unknownId),
    pad_token: piece(model.roles.pad),
  };
  const rules = sentencePieceRules(name, ofModel, piece);
  return assemble(files, vocabulary, {
    ...rules,
    convert: (around) => convertedFiles({ model, ...spaces, ...around }),
  });
}

function fromTiktoken(
  files: TokenizerFiles,
  file: VocabularyFile,
  name: string,
): FolderTokenizer {
  const kind = name === "" && file.name === "qwen.tiktoken"
    ? "QWenTokenizer"
    : name;
  const known = Object.hasOwn(TIKTOKEN_CLASSES, kind)
    ? TIKTOKEN_CLASSES[kind]
    : undefined;
  if (known === undefined) {
    throw new SyntaxError(
      `tokens are in tiktoken's form and their class is ${quoted(name)}, ${
        Object.keys(TIKTOKEN_CLASSES).join(", ")
      } or a tokenizer.json is needed`,
    );
  }
  const ranks = readTiktoken(file.bytes);
  const rules = withinModel(known, files.modelConfig["vocab_size"]);
  return assemble(files, tiktokenVocabulary(ranks, known), rules);
}

/** Rules whose tokens come right after the vocabulary where their own ids are no ids of the model. */
function withinModel(rules: ClassRules, size: unknown): ClassRules {
  const last = Math.max(...rules.tokens.map(({ id }) => id ?? 0));
  if (typeof size !== "number" || last < size) return rules;
  return { ...rules, tokens: rules.tokens.map(({ id: _, ...token }) => token) };
}

type Convert = (
  around: Pick<AroundModel, "added" | "named" | "prefix" | "suffix">,
) => ConvertedFiles | null;

/** Puts vocabulary, files and rules together. */
function assemble(
  files: TokenizerFiles,
  vocabulary: Vocabulary,
  rules: ClassRules & { readonly convert?: Convert },
): FolderTokenizer {
  const added = numbered(files, vocabulary, rules);
  const special = specialTokens(files, rules.defaults);
  const tokenOf = (content: string | undefined): AddedToken[] =>
    added.filter((token) => token.content === content).slice(0, 1);
  const { config } = files;
  const addsBos = config["add_bos_token"] !== false;
  const addsEos = config["add_eos_token"] === true;
  const around = {
    added,
    prefix: rules.prefix?.flatMap(tokenOf) ??
      (addsBos ? tokenOf(special.bos_token) : []),
    suffix: rules.prefix === null && addsEos ? tokenOf(special.eos_token) : [],
    named: new Set(
      [...namedTokens(files, rules.defaults), ...rules.tokens]
        .map(({ content }) => content),
    ),
  };
  const ids = (tokens: readonly AddedToken[]): number[] =>
    tokens.map(({ id }) => id);
  const splitsAddedTokens = splitsSpecialTokens(files);
  const tokenizer = new VocabularyTokenizer({
    ...around,
    vocabulary,
    onlyAfter: rules.onlyAfter,
    prefix: ids(around.prefix),
    suffix: ids(around.suffix),
    splitsAddedTokens,
  });
  const specialContents = new Set(
    added.filter((token) => token.special).map((token) => token.content),
  );
  return {
    native: tokenizer,
    encoder: tokenizer,
    limits: NO_LIMITS,
    converted: () => {
      if (splitsAddedTokens || rules.onlyAfter !== undefined) return null;
      const found = rules.convert?.(around) ?? null;
      return found && { ...found, config: { ...found.config, ...special } };
    },
    spec: { json: {}, special, builtBy: null, specialContents },
  };
}

/**
 * Added tokens with their ids: those that the files give, or of the same token in
 * the vocabulary, or the next free one.
 */
function numbered(
  files: TokenizerFiles,
  vocabulary: Vocabulary,
  rules: ClassRules,
): AddedToken[] {
  const tokens = new Map<string, AddedToken>();
  let next = vocabulary.size;
  const add = (token: DeclaredToken, id?: number): void => {
    if (token.content === "" || tokens.has(token.content)) return;
    const known = id ?? vocabulary.idOf(token.content) ?? next;
    next = Math.max(next, known + 1);
    tokens.set(token.content, { ...token, id: known });
  };
  const decoder = files.config["added_tokens_decoder"];
  if (isJsonObject(decoder)) {
    for (const [id, value] of Object.entries(decoder)) {
      const token = declaredToken(value, false);
      if (token) add(token, Number(id));
    }
  }
  const named = namedTokens(files, rules.defaults);
  if (!isJsonObject(decoder)) {
    const special = new Set(named.map(({ content }) => content));
    for (const [content, id] of Object.entries(files.addedTokens)) {
      add(declaredToken(content, special.has(content))!, Number(id));
    }
  }
  for (const { id, ...token } of rules.tokens) add(token, id);
  for (const token of named) add(token);
  return [...tokens.values()];
}
