/**
 * The components of a tokenizer.json, one table for each place: all types that
 * version 0.23 of the tokenizers library reads, with their fields. Other types
 * and values are refused.
 *
 * @module
 */

import {
  character,
  characterMap,
  choice,
  component,
  type ComponentTypes,
  count,
  type Field,
  flag,
  id,
  listOf,
  nullable,
  optional,
  pattern,
  someText,
  text,
} from "./component_fields.ts";
import { patternFacts } from "./pattern_cost.ts";
import { isJsonObject, type JsonObject } from "./tokenizer_files.ts";

const MOST_SPECIAL_IDS = 1000;

const behavior = choice(
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
);

/**
 * The pre-tokenizer, the post-processor and the decoder of this name have the
 * same fields.
 */
const BYTE_LEVEL = {
  fields: {
    add_prefix_space: flag,
    trim_offsets: flag,
    use_regex: optional(flag),
  },
  growth: (): number => 2,
};

const METASPACE = {
  fields: {
    replacement: character,
    add_prefix_space: nullable(flag),
    prepend_scheme: optional(choice("first", "never", "always")),
    split: nullable(flag),
  },
};

const REPLACE = { fields: { pattern, content: text }, growth: growthOfReplace };

/** The types of a normalizer. */
export const NORMALIZERS: ComponentTypes = {
  BertNormalizer: {
    fields: {
      clean_text: flag,
      handle_chinese_chars: flag,
      strip_accents: nullable(flag),
      lowercase: flag,
    },
    growth: () => 2,
  },
  Strip: { fields: { strip_left: flag, strip_right: flag } },
  StripAccents: { fields: {} },
  NFC: { fields: {} },
  NFD: { fields: {} },
  NFKC: { fields: {} },
  NFKD: { fields: {} },
  Lowercase: { fields: {} },
  Nmt: { fields: {} },
  Precompiled: { fields: { precompiled_charsmap: characterMap } },
  Replace: { ...REPLACE, together: emptyMatch },
  // the library ends the process on an empty text
  Prepend: { fields: { prepend: someText } },
  ByteLevel: { fields: {}, growth: () => 2 },
  Sequence: { fields: { normalizers: listOf(component(() => NORMALIZERS)) } },
};

/** The types of a pre-tokenizer. */
export const PRE_TOKENIZERS: ComponentTypes = {
  BertPreTokenizer: { fields: {} },
  ByteLevel: BYTE_LEVEL,
  CharDelimiterSplit: { fields: { delimiter: character } },
  Metaspace: METASPACE,
  Whitespace: { fields: {} },
  WhitespaceSplit: { fields: {} },
  Split: { fields: { pattern, behavior, invert: flag } },
  Punctuation: { fields: { behavior: optional(behavior) } },
  Digits: { fields: { individual_digits: flag } },
  UnicodeScripts: { fields: {} },
  // the library ends the process on a length of 0
  FixedLength: { fields: { length: optional(count(1, 2 ** 31)) } },
  Sequence: {
    fields: { pretokenizers: listOf(component(() => PRE_TOKENIZERS)) },
  },
};

/** The types of a decoder. */
export const DECODERS: ComponentTypes = {
  BPEDecoder: { fields: { suffix: text }, growth: () => 2 },
  ByteLevel: BYTE_LEVEL,
  WordPiece: { fields: { prefix: text, cleanup: flag } },
  Metaspace: METASPACE,
  CTC: {
    fields: { pad_token: text, word_delimiter_token: text, cleanup: flag },
    growth: () => 2,
  },
  Replace: REPLACE,
  Fuse: { fields: {} },
  ByteFallback: { fields: {} },
  // with `stop` the library ends the process on an empty token
  Strip: {
    fields: { content: character, start: count(0, 2 ** 31), stop: count(0, 0) },
  },
  Sequence: { fields: { decoders: listOf(component(() => DECODERS)) } },
};

const tokenAndId: Field = (value, at, findings) => {
  if (!Array.isArray(value) || value.length !== 2) {
    return findings.wrong(at, value, "a token and its id are needed");
  }
  return [
    text(value[0], `${at}[0]`, findings),
    id(value[1], `${at}[1]`, findings),
  ];
};

/** `{"Sequence": {"id": "A", "type_id": 0}}` or the same with SpecialToken. */
const piece: Field = (value, at, findings) => {
  const [entry, ...more] = isJsonObject(value) ? Object.entries(value) : [];
  const [kind, content] = entry ?? [];
  const isKnown = more.length === 0 && isJsonObject(content) &&
    (kind === "Sequence" || kind === "SpecialToken");
  if (!isKnown) {
    return findings.wrong(at, value, "a Sequence or a SpecialToken is needed");
  }
  const name = kind === "Sequence" ? choice("A", "B") : text;
  return {
    [kind]: {
      id: name(content["id"], `${at}.${kind}.id`, findings),
      type_id: id(content["type_id"], `${at}.${kind}.type_id`, findings),
    },
  };
};

const template: Field = (value, at, findings) =>
  Array.isArray(value) && value.length > MOST_SPECIAL_IDS
    ? findings.wrong(
      `${at}.length`,
      value.length,
      `at most ${MOST_SPECIAL_IDS} pieces are read`,
    )
    : listOf(piece)(value, at, findings);

const specialTokens: Field = (value, at, findings) => {
  if (!isJsonObject(value)) {
    return findings.wrong(at, value, "an object is needed");
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, token]) => {
      const place = `${at}[${JSON.stringify(name)}]`;
      const { id: own, ids, tokens } = isJsonObject(token) ? token : {};
      const isEven = Array.isArray(ids) && Array.isArray(tokens) &&
        ids.length === tokens.length && ids.length <= MOST_SPECIAL_IDS;
      if (!isEven) {
        const right =
          `"ids" and "tokens" of one length up to ${MOST_SPECIAL_IDS} are needed`;
        return [name, findings.wrong(place, token, right)];
      }
      return [name, {
        id: text(own, `${place}.id`, findings),
        ids: listOf(id)(ids, `${place}.ids`, findings),
        tokens: listOf(text)(tokens, `${place}.tokens`, findings),
      }];
    }),
  );
};

/** The types of a post-processor. */
export const POST_PROCESSORS: ComponentTypes = {
  BertProcessing: { fields: { sep: tokenAndId, cls: tokenAndId } },
  RobertaProcessing: {
    fields: {
      sep: tokenAndId,
      cls: tokenAndId,
      trim_offsets: flag,
      add_prefix_space: flag,
    },
  },
  ByteLevel: { ...BYTE_LEVEL, growth: () => 1 },
  TemplateProcessing: {
    fields: { single: template, pair: template, special_tokens: specialTokens },
    together: missingSpecialToken,
  },
  Sequence: {
    fields: { processors: listOf(component(() => POST_PROCESSORS)) },
  },
};

/** When a match takes no character, the library miscounts and may end the process. */
function emptyMatch(component: JsonObject): string | undefined {
  const { String: plain, Regex: regex } = component["pattern"] as {
    readonly String?: string;
    readonly Regex?: string;
  };
  const isEmpty = regex === undefined
    ? plain === ""
    : patternFacts(regex).canBeEmpty;
  return isEmpty
    ? "has a pattern that can match between two characters, one that takes a character is needed"
    : undefined;
}

/** A piece of a template, as {@linkcode piece} reads it. */
interface Piece {
  readonly Sequence?: { readonly id: "A" | "B" };
  readonly SpecialToken?: { readonly id: string };
}

/** The library ends the process when a template names a token without ids. */
function missingSpecialToken(component: JsonObject): string | undefined {
  const known = component["special_tokens"] as JsonObject;
  const pieces = [component["single"], component["pair"]] as Piece[][];
  const missing = pieces.flat().map((it) => it.SpecialToken?.id)
    .find((name) => name !== undefined && !Object.hasOwn(known, name));
  return missing === undefined
    ? undefined
    : `has ${
      JSON.stringify(missing)
    } in a template, "special_tokens" must list it`;
}

/**
 * Checks that the post-processors of `processor` fit together: a template takes
 * one text or two and gives as many parts as it has pieces, and the library ends
 * the process when the next template gets another number of parts.
 */
export function templateProblem(processor: JsonObject): string | undefined {
  for (const addSpecialTokens of [true, false]) {
    let parts = 1;
    for (const step of stepsOf(processor)) {
      if (step["type"] !== "TemplateProcessing") continue;
      if (parts !== 1 && parts !== 2) {
        return `has a TemplateProcessing that gets ${parts} parts from the one before, 1 or 2 are needed`;
      }
      const pieces = step[parts === 1 ? "single" : "pair"] as Piece[];
      if (parts === 1 && pieces.some((it) => it.Sequence?.id === "B")) {
        return 'has a "single" template with the sequence B, which only a pair has';
      }
      parts = pieces.filter((it) => addSpecialTokens || it.Sequence).length;
    }
  }
  return undefined;
}

function stepsOf(processor: JsonObject): JsonObject[] {
  const inner = processor["processors"];
  return Array.isArray(inner)
    ? inner.flatMap((it: JsonObject) => stepsOf(it))
    : [processor];
}

/** A replacement at each place where the pattern can match. */
function growthOfReplace(component: JsonObject): number {
  const { String: plain } = component["pattern"] as { String?: string };
  const bytes = (value: string): number =>
    new TextEncoder().encode(value).length;
  const content = bytes(component["content"] as string);
  return plain ? Math.max(1, content / bytes(plain)) : 1 + content;
}
