/**
 * A tokenizer in the words of llama.cpp, for a GGUF file: tokens, kinds, merges or
 * scores, and the name of the way in which texts are split.
 *
 * @module
 */

import { ggufFileAt } from "../formats/gguf.ts";
import type { GgufPairs, GgufTyped } from "../formats/gguf_writer.ts";
import { InputError, quoted } from "../input_error.ts";
import type { AutoTokenizer } from "./auto_tokenizer.ts";
import { SPLITTINGS } from "./gguf_byte_level.ts";
import { ggufTokenizerFiles } from "./gguf_tokenizer.ts";
import { TOKEN_KINDS } from "./gguf_vocabulary.ts";
import {
  type PieceType,
  readSentencePieceModel,
} from "./sentencepiece_model.ts";
import { SPACE } from "./sentencepiece_normalizer.ts";
import { type AddedToken, addedTokens, jsonList } from "./special_tokens.ts";
import {
  isJsonObject,
  type JsonObject,
  readTokenizerFiles,
  type TokenizerFiles,
} from "./tokenizer_files.ts";
import { readTokenizerJson } from "./tokenizer_json.ts";
import { tokenizerSpec } from "./tokenizer_spec.ts";

/** What a file says of a tokenizer besides its tokens. */
export interface GgufTokenizerOptions {
  /** The tokenizer of the folder. */
  readonly tokenizer: AutoTokenizer;
  /** Rows of the model's embedding, each of which needs a token. */
  readonly vocabSize: number;
  /** The id that ends a turn, where it is not the one that ends a text. */
  readonly turnEndId: number | null;
  /** The chat template; `null`: none. */
  readonly chatTemplate: string | null;
}

/** One token. */
interface Token {
  readonly text: string;
  readonly kind: number;
  /** How much it is preferred, in SentencePiece's kind. */
  readonly score: number;
}

/**
 * The pairs `tokenizer.*` for the tokenizer in the folder, or GGUF file, `directory`.
 *
 * @throws {InputError} when llama.cpp has no tokenizer like it.
 */
export async function ggufTokenizerPairs(
  directory: string,
  options: GgufTokenizerOptions,
): Promise<GgufPairs> {
  const { tokenizer, vocabSize, turnEndId, chatTemplate } = options;
  const gguf = ggufFileAt(directory);
  const files = gguf === null
    ? readTokenizerFiles(directory)
    : ggufTokenizerFiles(gguf);
  const { kind, tokens } = tokensOf(files);
  if (tokens.length > vocabSize) {
    throw refusal(
      directory,
      `it has ${tokens.length} tokens, the model ${vocabSize}`,
    );
  }
  const unused = { kind: TOKEN_KINDS.unused, score: -1e9 };
  const all = Array.from(
    { length: vocabSize },
    (_, id) => tokens[id] ?? { ...unused, text: `[PAD${id}]` },
  );
  const id = (value: number | null): GgufTyped | null =>
    value === null ? null : { u32: value };
  const isSentencePiece = "scores" in kind;
  const { scores: _, ...own } = kind;
  const pairs: Record<string, GgufTyped | null> = {
    ...own,
    tokens: { texts: all.map(({ text }) => text) },
    scores: isSentencePiece ? { f32s: all.map(({ score }) => score) } : null,
    token_type: { i32s: all.map((token) => token.kind) },
    bos_token_id: id(tokenizer.bosTokenId),
    eos_token_id: id(tokenizer.eosTokenId),
    eot_token_id: turnEndId === tokenizer.eosTokenId ? null : id(turnEndId),
    unknown_token_id: id(tokenizer.unkTokenId),
    padding_token_id: id(tokenizer.padTokenId),
    ...await around(tokenizer),
  };
  const named = Object.entries(pairs).flatMap(([name, value]) =>
    value === null ? [] : [[`tokenizer.ggml.${name}`, value] as const]
  );
  return chatTemplate === null
    ? named
    : [...named, ["tokenizer.chat_template", { text: chatTemplate }]];
}

/** Whether texts get a token before and behind them. */
async function around(
  tokenizer: AutoTokenizer,
): Promise<Record<string, GgufTyped>> {
  const ids = await tokenizer.encode("a");
  const bare = await tokenizer.encode("a", { addSpecialTokens: false });
  const has = (id: number | null, at: number): boolean =>
    id !== null && ids.at(at) === id && bare.at(at) !== id;
  return {
    add_bos_token: { flag: has(tokenizer.bosTokenId, 0) },
    add_eos_token: { flag: has(tokenizer.eosTokenId, -1) },
  };
}

function refusal(directory: string, reason: string): InputError {
  return new InputError(
    `Cannot write the tokenizer of ${quoted(directory)} as GGUF: ${reason}`,
  );
}

/** Tokens by id, and the pairs that tell the kind of tokenizer. */
interface Tokens {
  readonly kind: Readonly<Record<string, GgufTyped>>;
  readonly tokens: readonly (Token | undefined)[];
}

function tokensOf(files: TokenizerFiles): Tokens {
  const { directory, vocabulary } = files;
  if (vocabulary !== null) {
    if (vocabulary.name !== "tokenizer.model") {
      throw refusal(directory, `${vocabulary.name} is not of a kind it knows`);
    }
    return ofSentencePiece(files, vocabulary.bytes);
  }
  const { json } = readTokenizerJson(files.tokenizer, []);
  const spec = tokenizerSpec({ ...files, tokenizer: json });
  const model = spec.json["model"];
  const isPairs = isJsonObject(model) &&
    (model["type"] ?? "BPE") === "BPE" && isJsonObject(model["vocab"]);
  if (!isPairs) {
    throw refusal(directory, "its model is not BPE, only that is written");
  }
  return model["byte_fallback"] === true
    ? ofByteFallback(spec.json, model)
    : ofByteLevel(directory, spec.json, model);
}

/** The pieces of a tokenizer.model, and tokens that were added. */
function ofSentencePiece(files: TokenizerFiles, bytes: Uint8Array): Tokens {
  const model = readSentencePieceModel(bytes);
  if (model.algorithm !== "bpe" || model.characterMap !== null) {
    throw refusal(
      files.directory,
      "its tokenizer.model does not join pairs of plain text, only that is written",
    );
  }
  const kinds: Readonly<Record<PieceType, number>> = {
    ...TOKEN_KINDS,
    user_defined: TOKEN_KINDS.userDefined,
  };
  const tokens: (Token | undefined)[] = model.pieces.map(
    ({ piece, score, type }) => ({
      text: type === "user_defined" ? piece.replaceAll(SPACE, " ") : piece,
      kind: kinds[type],
      score,
    }),
  );
  const added = Object.entries(files.addedTokens);
  const special = new Map(
    addedTokens(files).map((token) => [token.content, token.special]),
  );
  const declared = Object.entries(
    (files.config["added_tokens_decoder"] ?? {}) as JsonObject,
  ).flatMap(([id, token]) =>
    isJsonObject(token) ? [[token["content"], Number(id)] as const] : []
  );
  for (const [text, id] of [...added, ...declared]) {
    const at = Number(id);
    const isKnown = tokens[at] !== undefined &&
      tokens[at].kind !== TOKEN_KINDS.normal;
    if (isKnown) continue;
    const kind = special.get(String(text)) ?? false
      ? TOKEN_KINDS.control
      : TOKEN_KINDS.userDefined;
    tokens[at] = { text: String(text), kind, score: 0 };
  }
  return {
    kind: {
      model: { text: "llama" },
      pre: { text: "default" },
      scores: { flag: true },
      add_space_prefix: { flag: model.addDummyPrefix },
      ...(model.removeExtraSpaces && {
        remove_extra_whitespaces: { flag: true },
      }),
    },
    tokens,
  };
}

function added(json: JsonObject): AddedToken[] {
  return jsonList(json["added_tokens"]) as unknown as AddedToken[];
}

/** The tokens of a vocabulary, those that were added over them. */
function listed(
  json: JsonObject,
  model: JsonObject,
  tokenOf: (text: string) => Token,
): (Token | undefined)[] {
  const tokens: (Token | undefined)[] = [];
  for (const [text, id] of Object.entries(model["vocab"] as JsonObject)) {
    tokens[Number(id)] = tokenOf(text);
  }
  for (const { id, content, special } of added(json)) {
    if (tokens[id]?.kind === TOKEN_KINDS.unknown) continue;
    const kind = special ? TOKEN_KINDS.control : TOKEN_KINDS.userDefined;
    tokens[id] = { text: content, kind, score: tokens[id]?.score ?? 0 };
  }
  return tokens;
}

/** The two sides of each merge. */
function mergesOf(model: JsonObject): [string, string][] {
  return (model["merges"] as (string | [string, string])[]).map((merge) => {
    if (typeof merge !== "string") return merge;
    const space = merge.indexOf(" ", 1);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

/** SentencePiece's kind as a tokenizer.json: what is joined first has the best score. */
function ofByteFallback(json: JsonObject, model: JsonObject): Tokens {
  const ranks = new Map<string, number>();
  for (const [rank, [left, right]] of mergesOf(model).entries()) {
    const joined = left + right;
    if (!ranks.has(joined)) ranks.set(joined, rank);
  }
  const unknown = model["unk_token"];
  const least = -ranks.size - 1;
  const text = JSON.stringify([json["normalizer"], json["pre_tokenizer"]]);
  const puts = /"Prepend"/.test(text) ||
    /"Metaspace"/.test(text) && !/"prepend_scheme":"never"/.test(text);
  return {
    kind: {
      model: { text: "llama" },
      pre: { text: "default" },
      scores: { flag: true },
      add_space_prefix: { flag: puts },
    },
    tokens: listed(json, model, (text) => ({
      text,
      kind: text === unknown
        ? TOKEN_KINDS.unknown
        : /^<0x[0-9A-F]{2}>$/.test(text)
        ? TOKEN_KINDS.byte
        : TOKEN_KINDS.normal,
      score: ranks.has(text) ? -ranks.get(text)! : least,
    })),
  };
}

/** Byte-level pairs; the way to split must have a name. */
function ofByteLevel(
  directory: string,
  json: JsonObject,
  model: JsonObject,
): Tokens {
  const own = splittingText(json, model);
  const found = [...SPLITTINGS].find(([, known]) =>
    own === splittingText(
      {
        pre_tokenizer: known.preTokenizer,
        normalizer: known.normalizer ?? null,
      },
      { ignore_merges: known.ignoresMerges ?? false },
    )
  );
  if (found === undefined) {
    const known = [...SPLITTINGS.keys()].map((each) => quoted(each));
    throw refusal(
      directory,
      `llama.cpp's name of the way in which it splits texts is not known, known are ${
        known.join(", ")
      }`,
    );
  }
  return {
    kind: {
      model: { text: "gpt2" },
      pre: { text: String(found[0]) },
      merges: { texts: mergesOf(model).map((pair) => pair.join(" ")) },
    },
    tokens: listed(json, model, (text) => ({
      text,
      kind: TOKEN_KINDS.normal,
      score: 0,
    })),
  };
}

/** What tells how texts are split, in one spelling. */
function splittingText(json: JsonObject, model: JsonObject): string {
  const plain = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(plain);
    if (!isJsonObject(value)) return value;
    const entries = Object.entries(value)
      .filter(([name]) => name !== "trim_offsets")
      .map(([name, each]) => [name, plain(each)] as const)
      .sort(([one], [other]) => one < other ? -1 : 1);
    return Object.fromEntries(entries);
  };
  return JSON.stringify(plain([
    json["pre_tokenizer"],
    json["normalizer"] ?? null,
    model["ignore_merges"] ?? false,
  ]));
}
