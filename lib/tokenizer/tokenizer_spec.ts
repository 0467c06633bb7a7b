/**
 * What AutoTokenizer of transformers 5 makes of a tokenizer folder, as the JSON
 * that the tokenizers library reads. A folder that names the Llama class gets
 * that class's own pre-tokenizer and decoder around its vocabulary; any other
 * keeps its tokenizer.json, and so does a byte-level one that names it wrongly,
 * where transformers would lose the text. Plain data, no native code.
 *
 * @module
 */

import { differsFromClass } from "./byte_level_parts.ts";
import {
  type AddedToken,
  addedTokens,
  type DeclaredToken,
  declaredToken,
  jsonList,
  namedTokens,
  type SpecialTokens,
  specialTokens,
} from "./special_tokens.ts";
import {
  isJsonObject,
  type JsonObject,
  type TokenizerFiles,
} from "./tokenizer_files.ts";

/** A tokenizer ready to be built, and the tokens with a role. */
export interface TokenizerSpec {
  /** The content of a tokenizer.json. */
  readonly json: JsonObject;
  /** Tokens by role, such as `bos_token`. */
  readonly special: SpecialTokens;
  /** Whether the class that the folder names would build another tokenizer than its tokenizer.json. */
  readonly isMisnamed: boolean;
  /** Texts of all special tokens, left out of decoded text on demand. */
  readonly specialContents: ReadonlySet<string>;
}

const LLAMA_DEFAULTS: SpecialTokens = {
  bos_token: "<s>",
  eos_token: "</s>",
  unk_token: "<unk>",
};

/** Special tokens that `CodeLlamaTokenizer` adds to those of its files. */
const CODE_LLAMA_TOKENS = [
  "▁<PRE>",
  "▁<MID>",
  "▁<SUF>",
  "▁<EOT>",
  "<FILL_ME>",
];

/**
 * Families for which transformers 5.18 keeps tokenizer.json even where the
 * folder names the Llama class (`models/auto/tokenization_auto.py`: registered
 * with the plain backend, or listed as having an incorrect class).
 */
const KEEPS_TOKENIZER_JSON: ReadonlySet<unknown> = new Set(
  ("mistral mixtral ministral ministral3 phi3 phimoe internlm2 minicpm3 " +
    "granite granitemoe stablelm olmo2 olmo3 glm glm4 persimmon nemotron " +
    "deepseek_v2 deepseek_v3 ernie4_5 ernie4_5_moe hyperclovax jamba arctic")
    .split(" "),
);

/** Decides how a folder's tokenizer is built. */
export function tokenizerSpec(files: TokenizerFiles): TokenizerSpec {
  const name = className(files);
  const isCode = /^CodeLlamaTokenizer(Fast)?$/.test(name);
  const isNamedLlama = isCode || /^LlamaTokenizer(Fast)?$/.test(name);
  const asLlama = isNamedLlama &&
    !KEEPS_TOKENIZER_JSON.has(files.modelConfig["model_type"]) &&
    isSentencePieceBpe(files.tokenizer);
  const defaults = files.partsDefaults ?? (asLlama ? LLAMA_DEFAULTS : {});
  const base = asLlama ? llamaJson(files, isCode) : files.tokenizer;
  const extra = asLlama && isCode ? CODE_LLAMA_TOKENS : [];
  const added = withIds(files, asLlama, defaults, extra);
  const special = specialTokens(files, defaults);
  const around = files.partsDefaults === undefined
    ? {}
    : { post_processor: textFrame(files.config, special, added) };
  return {
    // limits of an earlier use that were saved with the file do not apply
    json: {
      ...base,
      ...around,
      added_tokens: added,
      truncation: null,
      padding: null,
    },
    special,
    isMisnamed: isNamedLlama && !asLlama ||
      files.partsClass === undefined &&
        differsFromClass(files.tokenizer, name, files.config),
    specialContents: new Set(
      added.filter((token) => token.special).map((token) => token.content),
    ),
  };
}

/**
 * The class that tokenizer_config.json must name in a folder without the model's
 * config.json, for the same ids; null where it needs no other one.
 */
export function savedClass(
  { config, modelConfig, partsClass }: TokenizerFiles,
  { isMisnamed }: TokenizerSpec,
): string | null {
  if (isMisnamed) return "PreTrainedTokenizerFast";
  if (typeof config["tokenizer_class"] === "string") return null;
  const named = partsClass ?? modelConfig["tokenizer_class"];
  return typeof named === "string" ? named : null;
}

function className({ config, modelConfig }: TokenizerFiles): string {
  return String(config["tokenizer_class"] ?? modelConfig["tokenizer_class"]);
}

/** The tokens around a text where no tokenizer.json says which, null for none. */
function textFrame(
  config: JsonObject,
  special: SpecialTokens,
  added: readonly AddedToken[],
): JsonObject | null {
  const asked = (flag: string, token: string | undefined): AddedToken[] =>
    config[flag] === true
      ? added.filter(({ content }) => content === token)
      : [];
  const before = asked("add_bos_token", special.bos_token);
  const after = asked("add_eos_token", special.eos_token);
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

function isSentencePieceBpe(tokenizer: JsonObject): boolean {
  const model = tokenizer["model"];
  const isBpe = isJsonObject(model) && Array.isArray(model["merges"]);
  const steps = JSON.stringify([
    tokenizer["pre_tokenizer"],
    tokenizer["decoder"],
  ]);
  return isBpe && !steps.includes('"ByteLevel"');
}

/** `__init__` of `LlamaTokenizer` or `CodeLlamaTokenizer` around the file's vocabulary. */
function llamaJson(
  { tokenizer, config }: TokenizerFiles,
  isCode: boolean,
): JsonObject {
  const addPrefixSpace = (config["add_prefix_space"] ?? true) === true;
  const isLegacy = config["legacy"] === true && !isCode;
  const scheme = isLegacy ? "always" : "first";
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    ...tokenizer,
    normalizer: null,
    pre_tokenizer: {
      type: "Metaspace",
      replacement: "▁",
      prepend_scheme: addPrefixSpace ? scheme : "never",
      split: false,
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addPrefixSpace || isCode ? [strip] : []),
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabularyOf(tokenizer),
      merges: (tokenizer["model"] as JsonObject)["merges"],
    },
  };
}

/**
 * The added tokens of the tokenizer as the library would number them: settings
 * change tokens that are there and append the others.
 */
function withIds(
  files: TokenizerFiles,
  asLlama: boolean,
  defaults: SpecialTokens,
  extra: readonly string[],
): AddedToken[] {
  const vocabulary = vocabularyOf(files.tokenizer);
  const tokens = new Map<string, AddedToken>();
  let next = Object.keys(vocabulary).length;
  const add = (token: DeclaredToken, id?: number): void => {
    if (token.content === "") return;
    const known = tokens.get(token.content)?.id ?? id ??
      idOf(vocabulary, token.content) ?? next;
    next = Math.max(next, known + 1);
    tokens.set(token.content, { ...token, id: known });
  };
  for (
    const value of asLlama ? [] : jsonList(files.tokenizer["added_tokens"])
  ) {
    const token = declaredToken(value, false);
    if (token) add(token, Number(value["id"]));
  }
  for (const token of addedTokens(files)) add(token);
  for (
    const token of [
      ...namedTokens(files, defaults),
      ...extra.map((content) => declaredToken(content, true)!),
    ]
  ) {
    if (!tokens.has(token.content)) add(token);
  }
  return [...tokens.values()];
}

function idOf(vocabulary: JsonObject, content: string): number | undefined {
  const id = Object.hasOwn(vocabulary, content) ? vocabulary[content] : null;
  return typeof id === "number" ? id : undefined;
}

function vocabularyOf(tokenizer: JsonObject): JsonObject {
  const model = tokenizer["model"];
  const vocabulary = isJsonObject(model) ? model["vocab"] : undefined;
  if (Array.isArray(vocabulary)) {
    return Object.fromEntries(vocabulary.map(([token], id) => [token, id]));
  }
  return isJsonObject(vocabulary) ? vocabulary : {};
}
