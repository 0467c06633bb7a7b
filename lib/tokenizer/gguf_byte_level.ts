/**
 * A byte-level BPE tokenizer from a GGUF file's metadata, as a tokenizer.json. The
 * file names how text is split by a word; one that is not known is refused, for
 * another splitting gives other ids without an error.
 *
 * @module
 */

import type { GgufValue } from "../formats/gguf_values.ts";
import { quoted } from "../input_error.ts";
import { type GgufVocabulary, TOKEN_KINDS } from "./gguf_vocabulary.ts";
import type { JsonObject } from "./tokenizer_files.ts";

const BYTE_LEVEL = {
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
};
const DIGITS = { type: "Digits", individual_digits: true };

/** Llama 3's way to split, with at most `digits` of them in a piece. */
function splitting(digits: string): JsonObject {
  return split([
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
    digits,
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*",
    "\\s*[\\r\\n]+",
    "\\s+(?!\\S)",
    "\\s+",
  ]);
}

/** Splits where one of the patterns matches. */
function split(patterns: readonly string[]): JsonObject {
  const pattern = { Regex: patterns.join("|") };
  return sequence(
    { type: "Split", pattern, behavior: "Isolated", invert: false },
    { ...BYTE_LEVEL, use_regex: false },
  );
}

function sequence(...pretokenizers: readonly JsonObject[]): JsonObject {
  return { type: "Sequence", pretokenizers };
}

/** How a way to split is spelled in tokenizer.json, and what its models do besides. */
export interface Splitting {
  readonly preTokenizer: JsonObject;
  readonly normalizer?: JsonObject;
  /** Whether a word that is a token is taken whole. */
  readonly ignoresMerges?: boolean;
  /** Whether texts begin with the first token where the file does not say. */
  readonly addsBos?: boolean;
}

const GPT2: Splitting = { preTokenizer: { ...BYTE_LEVEL, use_regex: true } };
const SMOLLM: Splitting = {
  preTokenizer: sequence(DIGITS, { ...BYTE_LEVEL, use_regex: true }),
};
const LLAMA3: Splitting = {
  preTokenizer: splitting("\\p{N}{1,3}"),
  ignoresMerges: true,
  addsBos: true,
};
const TEKKEN: Splitting = {
  preTokenizer: split([
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+",
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*",
    "\\p{N}",
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*",
    "\\s*[\\r\\n]+",
    "\\s+(?!\\S)",
    "\\s+",
  ]),
  ignoresMerges: true,
  addsBos: true,
};
const QWEN2: Splitting = {
  preTokenizer: splitting("\\p{N}"),
  normalizer: { type: "NFC" },
};

/** By the file's `tokenizer.ggml.pre`. */
export const SPLITTINGS: ReadonlyMap<GgufValue, Splitting> = new Map([
  ["gpt-2", GPT2],
  ["gpt2", GPT2],
  ["smollm", SMOLLM],
  ["llama-bpe", LLAMA3],
  ["llama3", LLAMA3],
  ["llama-v3", LLAMA3],
  ["qwen2", QWEN2],
  ["tekken", TEKKEN],
]);

/**
 * What tokenizer.json would hold.
 *
 * @throws {InputError} when a part is missing or the splitting is not known.
 */
export function byteLevelTokenizer(vocabulary: GgufVocabulary): JsonObject {
  const { tokens } = vocabulary;
  const splitting = splittingOf(vocabulary);
  if (new Set(tokens).size < tokens.length) {
    vocabulary.fail("its tokenizer.ggml.tokens has a token twice");
  }
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    normalizer: splitting.normalizer ?? null,
    pre_tokenizer: splitting.preTokenizer,
    post_processor: postProcessor(vocabulary, splitting),
    decoder: { ...BYTE_LEVEL, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: splitting.ignoresMerges ?? false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: vocabulary.texts("merges"),
    },
  };
}

function splittingOf(vocabulary: GgufVocabulary): Splitting {
  const pre = vocabulary.value("pre") ?? "missing";
  const splitting = SPLITTINGS.get(pre);
  if (splitting !== undefined) return splitting;
  const known = [...SPLITTINGS.keys()].map((each) => quoted(each));
  vocabulary.fail(
    `its tokenizer.ggml.pre is ${quoted(pre, 60)}, known are ${
      known.join(", ")
    }`,
  );
}

/** Tokens that are found in a text as they stand. */
function addedTokens(vocabulary: GgufVocabulary): JsonObject[] {
  const kinds = vocabulary.kinds() ?? [];
  const { control, userDefined } = TOKEN_KINDS;
  return vocabulary.tokens.flatMap((content, id) =>
    kinds[id] === control || kinds[id] === userDefined
      ? [{
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: kinds[id] === control,
      }]
      : []
  );
}

/** Adds the tokens with which the file says that a text begins and ends. */
function postProcessor(
  vocabulary: GgufVocabulary,
  { addsBos = false }: Splitting,
): JsonObject | null {
  const first = vocabulary.flag("add_bos_token", addsBos);
  const last = vocabulary.flag("add_eos_token", false);
  const before = first ? vocabulary.token("bos") : null;
  const after = last ? vocabulary.token("eos") : null;
  const around = [before, after].filter((token) => token !== null);
  if (around.length === 0) return null;
  const special = (token: string | null): JsonObject[] =>
    token === null ? [] : [{ SpecialToken: { id: token, type_id: 0 } }];
  const text = (id: string): JsonObject[] => [
    ...special(before),
    { Sequence: { id, type_id: 0 } },
    ...special(after),
  ];
  return {
    type: "TemplateProcessing",
    single: text("A"),
    pair: [...text("A"), ...text("B")],
    special_tokens: Object.fromEntries(
      around.map((token) => [
        token,
        {
          id: token,
          ids: [vocabulary.tokens.indexOf(token)],
          tokens: [token],
        },
      ]),
    ),
  };
}
