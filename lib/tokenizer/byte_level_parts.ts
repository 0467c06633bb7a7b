/**
 * A tokenizer.json from the two files that byte-level classes were published with
 * before there was one: vocab.json and merges.txt. How the class cuts a text stands
 * here as data, as `GPT2Tokenizer` and `Qwen2Tokenizer` of transformers 5 do it.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { SpecialTokens } from "./special_tokens.ts";
import type { JsonObject } from "./tokenizer_files.ts";

const END = "<|endoftext|>";
const BYTE_LEVEL = { type: "ByteLevel", trim_offsets: true };
const QWEN2_WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" +
  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** What a class does that its two files do not say. */
interface ByteLevelClass {
  readonly normalizer: JsonObject | null;
  preTokenizer(addPrefixSpace: boolean): JsonObject;
  /** Tokens by role that hold where the files name none. */
  readonly defaults: SpecialTokens;
}

const CLASSES: Readonly<Record<string, ByteLevelClass>> = {
  GPT2Tokenizer: {
    normalizer: null,
    preTokenizer: (add_prefix_space) => ({
      ...BYTE_LEVEL,
      add_prefix_space,
      use_regex: true,
    }),
    defaults: { bos_token: END, eos_token: END, unk_token: END },
  },
  Qwen2Tokenizer: {
    normalizer: { type: "NFC" },
    preTokenizer: (add_prefix_space) => ({
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: QWEN2_WORDS },
          behavior: "Isolated",
          invert: false,
        },
        { ...BYTE_LEVEL, add_prefix_space, use_regex: false },
      ],
    }),
    defaults: { eos_token: END, unk_token: END, pad_token: END },
  },
};

/** The class where only config.json's `model_type` is known. */
const CLASS_OF_MODEL: Readonly<Record<string, string>> = {
  gpt2: "GPT2Tokenizer",
  starcoder2: "GPT2Tokenizer",
  qwen2: "Qwen2Tokenizer",
  qwen2_moe: "Qwen2Tokenizer",
  qwen3: "Qwen2Tokenizer",
  qwen3_moe: "Qwen2Tokenizer",
};

/** The two files of a folder, and what stands beside them. */
export interface ByteLevelParts {
  /** The folder, for messages. */
  readonly directory: string;
  /** vocab.json. */
  readonly vocabulary: JsonObject;
  /** merges.txt. */
  readonly merges: string;
  /** tokenizer_config.json. */
  readonly config: JsonObject;
  /** The model's config.json. */
  readonly modelConfig: JsonObject;
}

/** The content of a tokenizer.json, and the tokens by role of its class. */
export interface BuiltTokenizer {
  /** The content. */
  readonly json: JsonObject;
  /** Tokens by role that hold where the files name none. */
  readonly defaults: SpecialTokens;
  /** Name of the class. */
  readonly className: string;
}

/**
 * Builds the content of a tokenizer.json.
 *
 * @throws {InputError} when the class is another one or a line is no pair.
 */
export function byteLevelTokenizer(parts: ByteLevelParts): BuiltTokenizer {
  const { config } = parts;
  const { rules, className } = classOf(parts);
  return {
    className,
    json: {
      added_tokens: [],
      normalizer: rules.normalizer,
      pre_tokenizer: rules.preTokenizer(config["add_prefix_space"] === true),
      decoder: { ...BYTE_LEVEL, add_prefix_space: true, use_regex: true },
      model: {
        type: "BPE",
        continuing_subword_prefix: "",
        end_of_word_suffix: "",
        vocab: parts.vocabulary,
        merges: mergesOf(parts),
      },
    },
    defaults: rules.defaults,
  };
}

function classOf(
  { directory, config, modelConfig }: ByteLevelParts,
): { readonly rules: ByteLevelClass; readonly className: string } {
  const named = config["tokenizer_class"] ?? modelConfig["tokenizer_class"] ??
    CLASS_OF_MODEL[String(modelConfig["model_type"])] ?? "";
  const name = String(named).replace(/Fast$/, "");
  const rules = Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined;
  if (rules !== undefined) return { rules, className: name };
  throw new InputError(
    `Cannot load tokenizer from ${
      quoted(directory)
    }: it has vocab.json and merges.txt of the class ${
      quoted(named)
    }, a tokenizer.json is needed, or the class ${
      Object.keys(CLASSES).join(" or ")
    }`,
  );
}

/**
 * Whether `tokenizer`, a tokenizer.json, cuts texts in another way than the class
 * `name`, which would build its own normalizer and patterns in place of the file's.
 */
export function differsFromClass(
  tokenizer: JsonObject,
  name: string,
  config: JsonObject,
): boolean {
  const known = name.replace(/Fast$/, "");
  if (!Object.hasOwn(CLASSES, known)) return false;
  const { normalizer, preTokenizer } = CLASSES[known]!;
  const asJson = (value: unknown): string => JSON.stringify(sorted(value));
  return asJson([
    tokenizer["normalizer"] ?? null,
    tokenizer["pre_tokenizer"],
  ]) !==
    asJson([normalizer, preTokenizer(config["add_prefix_space"] === true)]);
}

/** `value` with keys in one order, without flags that change offsets only. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.entries(value).filter(([key]) => key !== "trim_offsets")
    .map(([key, each]) => [key, sorted(each)])
    .sort(([one], [other]) => one! < other! ? -1 : 1);
}

/** One pair a line; the first line may name the version. */
function mergesOf({ directory, merges }: ByteLevelParts): [string, string][] {
  const pairs: [string, string][] = [];
  for (const [i, line] of merges.split("\n").entries()) {
    const text = line.replace(/\r$/, "");
    if (text === "" || text.startsWith("#version")) continue;
    const [left, right, ...others] = text.split(" ");
    if (right === undefined || others.length > 0) {
      throw new InputError(
        `Cannot load tokenizer from ${quoted(directory)}: in merges.txt line ${
          i + 1
        } is ${quoted(text.slice(0, 80))}, two tokens with a space are needed`,
      );
    }
    pairs.push([left!, right]);
  }
  return pairs;
}
