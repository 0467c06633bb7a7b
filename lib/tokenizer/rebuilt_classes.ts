/**
 * The tokenizer classes that transformers 5.18 builds anew around the vocabulary
 * and merges of a tokenizer.json, with a normalizer, a pre-tokenizer and a decoder
 * of their own in place of the file's, and when it does so. Data only.
 *
 * @module
 */

import type { SpecialTokens } from "./special_tokens.ts";
import {
  isJsonObject,
  type JsonObject,
  type TokenizerFiles,
} from "./tokenizer_files.ts";

const END = "<|endoftext|>";
const BYTE_LEVEL = { type: "ByteLevel", trim_offsets: true };

/** A pattern that Qwen2 and its successors share, for letters of the class `letters`. */
function qwenPattern(letters: string): string {
  return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|" +
    `[^\\r\\n\\p{L}\\p{N}]?${
      letters === "\\p{L}" ? letters : `[${letters}]`
    }+` +
    `|\\p{N}| ?[^\\s${letters}\\p{N}]+[\\r\\n]*|` +
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
}

/** A class that has rules of its own. */
export interface RebuiltClass {
  /** Its name, without "Fast". */
  readonly name: string;
  /** Whether its vocabulary is of bytes, else of SentencePiece's pieces. */
  readonly isByteLevel: boolean;
  /** Tokens by role that hold where the files name none. */
  readonly defaults: SpecialTokens;
  /** Special tokens that it adds to those of the files. */
  readonly extra: readonly string[];
  /** Whether it gives each special token the flags of a plain one at the end. */
  readonly plainSpecials: boolean;
  /**
   * Flags such as `add_bos_token` for the tokens around a text, null where the
   * file's post-processor says which.
   */
  readonly frame: JsonObject | null;
  /** What stands around the vocabulary. */
  parts(config: JsonObject): JsonObject;
  /** Fields of the model beside vocabulary and merges. */
  model(special: SpecialTokens): JsonObject;
}

interface ByteLevelRules {
  readonly normalizer: JsonObject | null;
  /** What cuts a text before `ByteLevel`, and whether that cuts by GPT-2's pattern. */
  readonly cut: JsonObject | null;
  readonly useRegex: boolean;
  readonly defaults: SpecialTokens;
  readonly plainSpecials?: boolean;
  readonly frame?: JsonObject;
}

function byteLevel(name: string, rules: ByteLevelRules): RebuiltClass {
  const { normalizer, cut, useRegex, defaults } = rules;
  return {
    name,
    isByteLevel: true,
    defaults,
    extra: [],
    plainSpecials: rules.plainSpecials ?? false,
    frame: rules.frame ?? null,
    parts: (config) => {
      const bytes = {
        ...BYTE_LEVEL,
        add_prefix_space: config["add_prefix_space"] === true,
        use_regex: useRegex,
      };
      return {
        normalizer,
        pre_tokenizer: cut === null
          ? bytes
          : { type: "Sequence", pretokenizers: [cut, bytes] },
        decoder: { ...BYTE_LEVEL, add_prefix_space: true, use_regex: true },
      };
    },
    model: () => ({
      type: "BPE",
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
    }),
  };
}

function split(pattern: string): JsonObject {
  return {
    type: "Split",
    pattern: { Regex: pattern },
    behavior: "Isolated",
    invert: false,
  };
}

const NFC = { type: "NFC" };
const ENDS = { bos_token: END, eos_token: END, unk_token: END };
const QWEN_ENDS = { eos_token: END, unk_token: END, pad_token: END };

function sentencePieceModel(unk_token: string | null): JsonObject {
  return {
    type: "BPE",
    dropout: null,
    unk_token,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: true,
    ignore_merges: false,
  };
}

const PIECES_TO_TEXT = [
  { type: "Replace", pattern: { String: "▁" }, content: " " },
  { type: "ByteFallback" },
  { type: "Fuse" },
];

function llama(name: string, extra: readonly string[]): RebuiltClass {
  const isCode = extra.length > 0;
  return {
    name,
    isByteLevel: false,
    defaults: { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
    extra,
    plainSpecials: false,
    frame: isCode ? { add_bos_token: true } : null,
    parts: (config) => {
      const addPrefixSpace = (config["add_prefix_space"] ?? true) === true;
      const isLegacy = config["legacy"] === true && !isCode;
      const scheme = isLegacy ? "always" : "first";
      const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
      return {
        normalizer: null,
        pre_tokenizer: {
          type: "Metaspace",
          replacement: "▁",
          prepend_scheme: addPrefixSpace ? scheme : "never",
          split: false,
        },
        decoder: {
          type: "Sequence",
          decoders: addPrefixSpace || isCode
            ? [...PIECES_TO_TEXT, strip]
            : PIECES_TO_TEXT,
        },
      };
    },
    model: ({ unk_token }) =>
      sentencePieceModel(isCode ? unk_token ?? null : null),
  };
}

const GEMMA: RebuiltClass = {
  name: "GemmaTokenizer",
  isByteLevel: false,
  defaults: {
    bos_token: "<bos>",
    eos_token: "<eos>",
    unk_token: "<unk>",
    pad_token: "<pad>",
    mask_token: "<mask>",
  },
  extra: [],
  plainSpecials: false,
  frame: null,
  parts: () => ({
    normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
    pre_tokenizer: {
      type: "Split",
      pattern: { String: " " },
      behavior: "MergedWithPrevious",
      invert: false,
    },
    decoder: { type: "Sequence", decoders: PIECES_TO_TEXT },
  }),
  model: ({ unk_token }) => sentencePieceModel(unk_token ?? null),
};

const CODE_LLAMA_TOKENS = ["▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>", "<FILL_ME>"];

const CLASSES: ReadonlyMap<string, RebuiltClass> = new Map([
  llama("LlamaTokenizer", []),
  llama("CodeLlamaTokenizer", CODE_LLAMA_TOKENS),
  GEMMA,
  byteLevel("GPT2Tokenizer", {
    normalizer: null,
    cut: null,
    useRegex: true,
    defaults: ENDS,
  }),
  byteLevel("Qwen2Tokenizer", {
    normalizer: NFC,
    cut: split(qwenPattern("\\p{L}")),
    useRegex: false,
    defaults: QWEN_ENDS,
    plainSpecials: true,
  }),
  byteLevel("Qwen3_5Tokenizer", {
    normalizer: NFC,
    cut: split(qwenPattern("\\p{L}\\p{M}")),
    useRegex: false,
    defaults: QWEN_ENDS,
  }),
  byteLevel("CohereTokenizer", {
    normalizer: NFC,
    cut: { type: "Digits", individual_digits: true },
    useRegex: true,
    defaults: {
      unk_token: "<UNK>",
      bos_token: "<BOS_TOKEN>",
      eos_token: "<|END_OF_TURN_TOKEN|>",
      pad_token: "<PAD>",
      cls_token: "<CLS>",
      sep_token: "<SEP>",
      mask_token: "<MASK_TOKEN>",
    },
  }),
  byteLevel("GPTNeoXTokenizer", {
    normalizer: NFC,
    cut: null,
    useRegex: true,
    defaults: { ...ENDS, pad_token: "<|padding|>" },
    frame: {},
  }),
].map((it) => [it.name, it]));

/** Classes of transformers that are one of these under another name. */
const ALIASES: Readonly<Record<string, string>> = {
  Phi3Tokenizer: "LlamaTokenizer",
};

/** The class that transformers registers for a `model_type`, as far as it is one of these. */
const CLASS_OF_MODEL: ReadonlyMap<unknown, string> = new Map(
  Object.entries({
    Qwen2Tokenizer: "qwen2 qwen2_moe qwen2_vl qwen2_5_vl qwen3 qwen3_moe " +
      "qwen3_next qwen3_vl qwen3_vl_moe internvl",
    Qwen3_5Tokenizer: "qwen3_5 qwen3_5_moe qwen3_5_text qwen3_5_moe_text",
    CohereTokenizer: "cohere cohere2 aya_vision",
    GPT2Tokenizer: "gpt2 gpt_neo gptj codegen phi starcoder2 opt dbrx jais2",
    GemmaTokenizer: "gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text " +
      "recurrent_gemma",
    GPTNeoXTokenizer: "gpt_neox olmo olmoe mpt mamba mamba2 falcon_mamba rwkv",
    CodeLlamaTokenizer: "code_llama",
  }).flatMap(([name, types]) =>
    types.split(" ").map((type) => [type, name] as const)
  ),
);

/** Model types whose folders are known to name a wrong class: the registered one holds. */
const NAMES_WRONG_CLASS = /^(qwen2|qwen3_5|qwen3_5_moe|qwen3_5_moe_text)$/;

/**
 * Model types for which transformers keeps tokenizer.json whatever class the folder
 * names (registered with the plain backend, or listed as naming a wrong class).
 */
const KEEPS_TOKENIZER_JSON: ReadonlySet<unknown> = new Set(
  ("mistral mistral3 mixtral ministral ministral3 pixtral phi3 phi3_v phimoe " +
    "internlm2 minicpm3 minicpmv granite granitemoe granitemoehybrid " +
    "granitemoeshared stablelm olmo2 olmo3 olmo_hybrid flex_olmo glm glm4 " +
    "glm4_moe glm4v persimmon nemotron gpt_bigcode deepseek_v2 deepseek_v3 " +
    "deepseek_v32 ernie4_5 ernie4_5_moe hyperclovax jamba arctic kimi_linear " +
    "kimi_k25 minimax_m2 mimo_v2_flash molmo smolvlm modernbert-decoder")
    .split(" "),
);

/** The name of a class without what marks the fast ones. */
export function plainName(name: unknown): string {
  const plain = String(name ?? "").replace(/Fast$/, "");
  return Object.hasOwn(ALIASES, plain) ? ALIASES[plain]! : plain;
}

/** The class of that name, if it is one of these. */
export function classNamed(name: unknown): RebuiltClass | null {
  return CLASSES.get(plainName(name)) ?? null;
}

/** The class registered for a `model_type`, if it is one of these. */
export function classOfModel(modelType: unknown): RebuiltClass | null {
  return CLASSES.get(CLASS_OF_MODEL.get(modelType) ?? "") ?? null;
}

/**
 * The class that builds the tokenizer of a folder anew, null where its tokenizer.json
 * stands as it is (`AutoTokenizer.from_pretrained` of
 * `models/auto/tokenization_auto.py`). A class of the other kind of vocabulary than
 * the file's would lose the text: the file stands there, too.
 */
export function rebuiltClass(files: TokenizerFiles): RebuiltClass | null {
  const { config, modelConfig, tokenizer } = files;
  const type = modelConfig["model_type"];
  const named = config["tokenizer_class"] ?? modelConfig["tokenizer_class"];
  const ofModel = classOfModel(type);
  const autoMap = config["auto_map"];
  const hasCode = Array.isArray(autoMap) ||
    isJsonObject(autoMap) && autoMap["AutoTokenizer"] !== undefined;
  const found = hasCode
    ? classNamed(named)
    : named === undefined || named === null
    ? ofModel
    : KEEPS_TOKENIZER_JSON.has(type)
    ? null
    : NAMES_WRONG_CLASS.test(String(type))
    ? ofModel
    : classNamed(named);
  if (found === null || !isBpe(tokenizer)) return null;
  return found.isByteLevel === isByteLevel(tokenizer) ? found : null;
}

function isBpe({ model }: JsonObject): boolean {
  return isJsonObject(model) && Array.isArray(model["merges"]);
}

function isByteLevel({ pre_tokenizer, decoder }: JsonObject): boolean {
  return JSON.stringify([pre_tokenizer, decoder]).includes('"ByteLevel"');
}

/** Names of the classes of a vocabulary of bytes, which vocab.json and merges.txt can hold. */
export const BYTE_LEVEL_NAMES: readonly string[] = [...CLASSES.values()]
  .filter((it) => it.isByteLevel).map(({ name }) => name);
