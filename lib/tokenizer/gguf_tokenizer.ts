/**
 * The tokenizer in a GGUF file's metadata, as the files of a tokenizer folder. The
 * file names how text is split by a word; one that is not known is refused, for
 * another splitting gives other ids without an error.
 *
 * @module
 */

import { readGguf } from "../formats/gguf.ts";
import type { GgufValue } from "../formats/gguf_values.ts";
import { InputError, quoted } from "../input_error.ts";
import type { JsonObject, TokenizerFiles } from "./tokenizer_files.ts";

const BYTE_LEVEL = {
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
};
const DIGITS = { type: "Digits", individual_digits: true };

/** Llama 3's way to split, with at most `digits` of them in a piece. */
function splitting(digits: string): JsonObject {
  const words = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
  const rest = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const Regex = `${words}|${digits}|${rest}`;
  return sequence(
    { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false },
    { ...BYTE_LEVEL, use_regex: false },
  );
}

function sequence(...pretokenizers: readonly JsonObject[]): JsonObject {
  return { type: "Sequence", pretokenizers };
}

/** How a way to split is spelled in tokenizer.json, and what its models do besides. */
interface Splitting {
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
const QWEN2: Splitting = {
  preTokenizer: splitting("\\p{N}"),
  normalizer: { type: "NFC" },
};

/** By the file's `tokenizer.ggml.pre`. */
const SPLITTINGS: ReadonlyMap<GgufValue, Splitting> = new Map([
  ["gpt-2", GPT2],
  ["gpt2", GPT2],
  ["smollm", SMOLLM],
  ["llama-bpe", LLAMA3],
  ["llama3", LLAMA3],
  ["llama-v3", LLAMA3],
  ["qwen2", QWEN2],
]);

/** Kinds of tokens in the file that are found in a text as they stand. */
const CONTROL = 3;
const USER_DEFINED = 4;

/**
 * The tokenizer in the GGUF file at `path`.
 *
 * @throws {InputError} when it has none, or of a kind that is not read.
 */
export function ggufTokenizerFiles(path: string): TokenizerFiles {
  const vocabulary = new Vocabulary(path);
  return {
    directory: path,
    isMade: true,
    tokenizer: vocabulary.tokenizer(),
    vocabulary: null,
    config: vocabulary.config(),
    specialTokensMap: {},
    addedTokens: {},
    modelConfig: {},
    chatTemplate: vocabulary.chatTemplate(),
  };
}

class Vocabulary {
  readonly #path: string;
  readonly #metadata: ReadonlyMap<string, GgufValue>;
  readonly #tokens: readonly string[];
  readonly #splitting: Splitting;

  constructor(path: string) {
    this.#path = path;
    this.#metadata = readGguf(path).metadata;
    const kind = this.#value("model");
    if (kind !== "gpt2") {
      this.#fail(
        kind === undefined
          ? "it has no tokenizer.ggml.model"
          : `its tokenizer is of the kind ${
            quoted(kind, 60)
          }, only "gpt2", byte-level BPE, is read`,
      );
    }
    const pre = this.#value("pre") ?? "missing";
    const splitting = SPLITTINGS.get(pre);
    if (splitting === undefined) {
      const known = [...SPLITTINGS.keys()].map((each) => quoted(each));
      this.#fail(
        `its tokenizer.ggml.pre is ${quoted(pre, 60)}, known are ${
          known.join(", ")
        }`,
      );
    }
    this.#splitting = splitting;
    this.#tokens = this.#texts("tokens");
    if (new Set(this.#tokens).size < this.#tokens.length) {
      this.#fail("its tokenizer.ggml.tokens has a token twice");
    }
  }

  /** What tokenizer.json would hold. */
  tokenizer(): JsonObject {
    const { preTokenizer, normalizer, ignoresMerges } = this.#splitting;
    return {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: this.#added(),
      normalizer: normalizer ?? null,
      pre_tokenizer: preTokenizer,
      post_processor: this.#postProcessor(),
      decoder: { ...BYTE_LEVEL, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: ignoresMerges ?? false,
        vocab: Object.fromEntries(
          this.#tokens.map((token, id) => [token, id]),
        ),
        merges: this.#texts("merges"),
      },
    };
  }

  /** What tokenizer_config.json would hold. */
  config(): JsonObject {
    const roles = {
      bos_token: this.#token("bos"),
      eos_token: this.#token("eos"),
      unk_token: this.#token("unknown"),
      pad_token: this.#token("padding"),
    };
    const given = Object.entries(roles).filter(([, token]) => token !== null);
    return {
      ...Object.fromEntries(given),
      clean_up_tokenization_spaces: false,
      // a class of its own would build another tokenizer from the vocabulary
      tokenizer_class: "PreTrainedTokenizerFast",
    };
  }

  chatTemplate(): string | null {
    const template = this.#metadata.get("tokenizer.chat_template") ?? null;
    if (template === null || typeof template === "string") return template;
    this.#fail(
      `its tokenizer.chat_template is ${
        quoted(template, 60)
      }, a text is needed`,
    );
  }

  #fail(reason: string): never {
    throw new InputError(
      `Cannot load tokenizer from ${quoted(this.#path)}: ${reason}`,
    );
  }

  #value(name: string): GgufValue | undefined {
    return this.#metadata.get(`tokenizer.ggml.${name}`);
  }

  #texts(name: string): readonly string[] {
    const value = this.#value(name);
    const isTexts = Array.isArray(value) &&
      value.every((each) => typeof each === "string");
    if (isTexts) return value;
    this.#fail(`its tokenizer.ggml.${name} is not a list of texts`);
  }

  /** The token of a role, or `null`. */
  #token(role: string): string | null {
    const name = `${role}_token_id`;
    const id = this.#value(name);
    if (id === undefined) return null;
    const token = typeof id === "number" ? this.#tokens[id] : undefined;
    if (token !== undefined) return token;
    this.#fail(
      `its tokenizer.ggml.${name} is ${
        quoted(id, 60)
      }, one of its ${this.#tokens.length} tokens is needed`,
    );
  }

  #added(): JsonObject[] {
    const kinds = this.#value("token_type");
    if (kinds === undefined) return [];
    if (!(kinds instanceof Int32Array || kinds instanceof Uint32Array)) {
      this.#fail(
        "its tokenizer.ggml.token_type is not a list of whole numbers",
      );
    }
    if (kinds.length !== this.#tokens.length) {
      this.#fail(
        `its tokenizer.ggml.token_type has ${kinds.length} kinds for ${this.#tokens.length} tokens`,
      );
    }
    return this.#tokens.flatMap((content, id) =>
      kinds[id] === CONTROL || kinds[id] === USER_DEFINED
        ? [{
          id,
          content,
          single_word: false,
          lstrip: false,
          rstrip: false,
          normalized: false,
          special: kinds[id] === CONTROL,
        }]
        : []
    );
  }

  /** Adds the tokens with which the file says that a text begins and ends. */
  #postProcessor(): JsonObject | null {
    const { addsBos = false } = this.#splitting;
    const first = this.#value("add_bos_token") ?? addsBos;
    const last = this.#value("add_eos_token") ?? false;
    const before = first === true ? this.#token("bos") : null;
    const after = last === true ? this.#token("eos") : null;
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
          { id: token, ids: [this.#tokens.indexOf(token)], tokens: [token] },
        ]),
      ),
    };
  }
}
