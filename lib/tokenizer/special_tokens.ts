/**
 * The special and added tokens of a tokenizer folder, in the order and with the
 * precedence of transformers 5. Plain data, no native code.
 *
 * @module
 */

import {
  isJsonObject,
  type JsonObject,
  type TokenizerFiles,
} from "./tokenizer_files.ts";

/** An entry of `added_tokens` in tokenizer.json. */
export interface AddedToken {
  /** The id. */
  readonly id: number;
  /** The token's text. */
  readonly content: string;
  /** Matches whole words only. */
  readonly single_word: boolean;
  /** Also takes the white space before it. */
  readonly lstrip: boolean;
  /** Also takes the white space after it. */
  readonly rstrip: boolean;
  /** Is searched for in the normalized text. */
  readonly normalized: boolean;
  /** Is left out of decoded text on request. */
  readonly special: boolean;
}

/** A token without an id. */
export type DeclaredToken = Omit<AddedToken, "id">;

/** The boolean fields of an added token. */
export const TOKEN_FLAGS = [
  "single_word",
  "lstrip",
  "rstrip",
  "normalized",
  "special",
] as const;

/** The roles in `SPECIAL_TOKENS_ATTRIBUTES`. */
export const ROLES = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

/** The role of a special token, such as "bos_token". */
export type SpecialRole = typeof ROLES[number];

/** The special tokens of a folder, by role. */
export type SpecialTokens = Readonly<Partial<Record<SpecialRole, string>>>;

/** Reads a token given as text or as an object with `content`. */
export function declaredToken(
  value: unknown,
  special: boolean,
): DeclaredToken | null {
  if (typeof value === "string") return plainToken(value, special);
  if (!isJsonObject(value) || typeof value["content"] !== "string") return null;
  const flag = (name: string, fallback: boolean): boolean =>
    typeof value[name] === "boolean" ? value[name] : fallback;
  const isSpecial = special || flag("special", false);
  return {
    content: value["content"],
    single_word: flag("single_word", false),
    lstrip: flag("lstrip", false),
    rstrip: flag("rstrip", false),
    normalized: flag("normalized", !isSpecial),
    special: isSpecial,
  };
}

/**
 * The tokens with a role. special_tokens_map.json is used only when
 * tokenizer_config.json has no `added_tokens_decoder`, as in transformers.
 */
export function specialTokens(
  files: TokenizerFiles,
  defaults: SpecialTokens = {},
): SpecialTokens {
  const sources = sourcesOf(files);
  const found: Partial<Record<SpecialRole, string>> = {};
  for (const role of ROLES) {
    const value = sources[role] === undefined ? defaults[role] : sources[role];
    const token = declaredToken(value, true);
    if (token) found[role] = token.content;
  }
  return found;
}

/** The tokens with a role, those that a class adds and the extra special tokens, in order. */
export function namedTokens(
  files: TokenizerFiles,
  defaults: SpecialTokens = {},
  ofClass: readonly string[] = [],
): DeclaredToken[] {
  const sources = sourcesOf(files);
  const named = ROLES.map((role) =>
    sources[role] === undefined ? defaults[role] : sources[role]
  );
  const extra = sources["extra_special_tokens"] ??
    sources["additional_special_tokens"];
  const extras = Array.isArray(extra)
    ? extra
    : isJsonObject(extra)
    ? Object.values(extra)
    : [];
  return [...named, ...ofClass, ...extras].map((value) =>
    declaredToken(value, true)
  )
    .filter((token) => token !== null);
}

/**
 * The added tokens by id: from `added_tokens_decoder` in tokenizer_config.json,
 * else from added_tokens.json and tokenizer.json together.
 */
export function addedTokens(files: TokenizerFiles): DeclaredToken[] {
  const decoder = files.config["added_tokens_decoder"];
  const byId = new Map<number, DeclaredToken | null>();
  if (isJsonObject(decoder)) {
    for (const [id, value] of Object.entries(decoder)) {
      byId.set(Number(id), declaredToken(value, false));
    }
  } else {
    const special = new Set(Object.values(specialTokens(files)));
    for (const [content, id] of Object.entries(files.addedTokens)) {
      byId.set(Number(id), plainToken(content, special.has(content)));
    }
    for (const value of jsonList(files.tokenizer["added_tokens"])) {
      byId.set(Number(value["id"]), declaredToken(value, false));
    }
  }
  return [...byId].sort((a, b) => a[0] - b[0]).map(([, token]) => token)
    .filter((token) => token !== null);
}

/** A post-processor that puts tokens around a text, null for none. */
export function textFrame(
  before: readonly AddedToken[],
  after: readonly AddedToken[],
): JsonObject | null {
  if (before.length + after.length === 0) return null;
  const tokens = ({ content }: AddedToken): JsonObject => ({
    SpecialToken: { id: content, type_id: 0 },
  });
  const text = (id: string): JsonObject[] => [
    ...before.map(tokens),
    { Sequence: { id, type_id: 0 } },
    ...after.map(tokens),
  ];
  return {
    type: "TemplateProcessing",
    single: text("A"),
    pair: [...text("A"), ...text("B")],
    special_tokens: Object.fromEntries(
      [...before, ...after].map(({ content, id }) => [
        content,
        { id: content, ids: [id], tokens: [content] },
      ]),
    ),
  };
}

/** The objects in a JSON list; none when it is not a list. */
export function jsonList(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

function plainToken(content: string, special: boolean): DeclaredToken {
  return {
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: !special,
    special,
  };
}

function sourcesOf(files: TokenizerFiles): JsonObject {
  return isJsonObject(files.config["added_tokens_decoder"])
    ? files.config
    : { ...files.config, ...files.specialTokensMap };
}
