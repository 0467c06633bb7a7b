/**
 * The tokenizer of a folder without tokenizer.json: what its files say about the
 * kind of vocabulary, the class and its tokens. The tokens that only the code of
 * a class names stand here as data; no code of a folder is run.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { SentencePiece } from "./sentencepiece.ts";
import { readSentencePieceModel } from "./sentencepiece_model.ts";
import { sentencePieceVocabulary } from "./sentencepiece_vocabulary.ts";
import {
  type AddedToken,
  type DeclaredToken,
  declaredToken,
  namedTokens,
  type SpecialRole,
  type SpecialTokens,
  specialTokens,
} from "./special_tokens.ts";
import {
  isTiktoken,
  readTiktoken,
  type TiktokenRules,
  tiktokenVocabulary,
} from "./tiktoken.ts";
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

/** What the code of a class says that its files do not. */
export interface ClassRules {
  /** Tokens by role that hold where the files name none. */
  readonly defaults: SpecialTokens;
  /** Special tokens; those without an id come after the vocabulary. */
  readonly tokens: readonly (DeclaredToken & { readonly id?: number })[];
  /** See {@linkcode AddedTokenSplitter}. */
  readonly onlyAfter?: ReadonlyMap<string, readonly string[]>;
  /** Tokens before every text; null where add_bos_token decides. */
  readonly prefix: readonly string[] | null;
}

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
}

const NO_LIMITS = {
  json: {},
  longestText: Infinity,
  longestDecoded: Infinity,
};

/**
 * Classes that number pieces anew or add tokens in a way of their own. Their
 * folders have a tokenizer.json.
 */
const OTHER_CLASSES = new RegExp(
  "^(XLMRoberta|Camembert|MBart|MBart50|Nllb|Barthez|Marian|M2M100|XGLM|Pegasus|" +
    "Speech2Text|XLMProphetNet|SeamlessM4T|DebertaV2|LayoutXLM|Plbart|PLBart|" +
    "T5|MT5|Udop|BigBird|Reformer|FNet|Rembert|RemBert|Albert|XLNet)Tokenizer",
);

const GLM_TOKENS = [
  "[MASK]",
  "[gMASK]",
  "[sMASK]",
  "sop",
  "eop",
  "<|system|>",
  "<|user|>",
  "<|assistant|>",
  "<|observation|>",
];

const SPACES = "\\p{White_Space}";

/** The pattern that Llama 3 has too, for numbers of at most `digits` digits. */
function pattern(digits: string): string {
  return [
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
    `\\p{N}${digits}`,
    ` ?[^${SPACES}\\p{L}\\p{N}]+[\\r\\n]*`,
    `${SPACES}*[\\r\\n]+`,
    `${SPACES}+(?!\\P{White_Space})`,
    `${SPACES}+`,
  ].join("|");
}

const END_OF_TEXT = "<|endoftext|>";
const ENDS = { eos_token: END_OF_TEXT, pad_token: END_OF_TEXT };
// `tokenization_qwen.py`: numbered from here on, whatever the vocabulary's size
const QWEN_START = 151_643;
const QWEN_TOKENS = [
  END_OF_TEXT,
  "<|im_start|>",
  "<|im_end|>",
  ...Array.from({ length: 205 }, (_, i) => `<|extra_${i}|>`),
];
const GLM4_TOKENS = [
  END_OF_TEXT,
  "[MASK]",
  "[gMASK]",
  "[sMASK]",
  "<sop>",
  "<eop>",
  "<|system|>",
  "<|user|>",
  "<|assistant|>",
  "<|observation|>",
  "<|begin_of_image|>",
  "<|end_of_image|>",
  "<|begin_of_video|>",
  "<|end_of_video|>",
];

/** Qwen v1 and GLM-4, by the names of their classes. */
const TIKTOKEN_CLASSES: Readonly<Record<string, TiktokenRules & ClassRules>> = {
  QWenTokenizer: {
    pattern: pattern(""),
    composes: true,
    countsGaps: true,
    defaults: ENDS,
    tokens: QWEN_TOKENS.map((content, i) => ({
      ...declaredToken(content, true)!,
      id: QWEN_START + i,
    })),
    prefix: [],
  },
  ChatGLM4Tokenizer: {
    pattern: pattern("{1,3}"),
    composes: false,
    countsGaps: false,
    defaults: ENDS,
    tokens: GLM4_TOKENS.map((content) => declaredToken(content, true)!),
    prefix: ["[gMASK]", "<sop>"],
  },
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

/** The class of a folder's tokenizer, which its own code may hold. */
function className({ config, modelConfig }: TokenizerFiles): string {
  const named = config["tokenizer_class"] ?? modelConfig["tokenizer_class"];
  if (typeof named === "string") return named;
  for (const { auto_map } of [config, modelConfig]) {
    const classes = isJsonObject(auto_map) ? auto_map["AutoTokenizer"] : null;
    const [first] = Array.isArray(classes) ? classes : [classes];
    if (typeof first === "string") return first.split(".").at(-1)!;
  }
  return "";
}

function fromSentencePiece(
  files: TokenizerFiles,
  bytes: Uint8Array,
  name: string,
): FolderTokenizer {
  const model = readSentencePieceModel(bytes);
  const vocabulary = sentencePieceVocabulary(new SentencePiece(model), {
    legacy: files.config["legacy"] !== false,
    addPrefixSpace: files.config["add_prefix_space"] !== false,
  });
  const piece = (id: number): string | undefined => model.pieces[id]?.piece;
  const roles: Partial<Record<SpecialRole, string | undefined>> = {
    bos_token: piece(model.roles.bos),
    eos_token: piece(model.roles.eos),
    unk_token: piece(model.unknownId),
    pad_token: /Llama/.test(name) ? undefined : piece(model.roles.pad),
  };
  const defaults = Object.fromEntries(
    Object.entries(roles).filter(([, token]) => token !== undefined),
  ) as SpecialTokens;
  const rules: ClassRules = { defaults, tokens: [], prefix: null };
  if (name === "ChatGLMTokenizer") {
    return assemble(files, vocabulary, chatGlmRules(defaults));
  }
  if (name === "BaichuanTokenizer") {
    return assemble(files, vocabulary, {
      ...rules,
      tokens: baichuanTokens(piece),
    });
  }
  return assemble(files, vocabulary, rules);
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
        Object.keys(TIKTOKEN_CLASSES).join(" or ")
      } is needed`,
    );
  }
  const ranks = readTiktoken(file.bytes);
  return assemble(files, tiktokenVocabulary(ranks, known), known);
}

/** `tokenization_chatglm.py` of ChatGLM 2 and 3: command tokens after the pieces. */
function chatGlmRules(defaults: SpecialTokens): ClassRules {
  const masks = GLM_TOKENS.slice(0, 3);
  return {
    defaults: { ...defaults, pad_token: defaults.unk_token ?? "<unk>" },
    tokens: GLM_TOKENS.map((content) => declaredToken(content, true)!),
    // "sop" stands in words too
    onlyAfter: new Map([["sop", masks], ["eop", masks]]),
    prefix: ["[gMASK]", "sop"],
  };
}

/** Baichuan's chat roles are the pieces 195 (user) and 196 (assistant). */
function baichuanTokens(
  piece: (id: number) => string | undefined,
): ClassRules["tokens"] {
  return [195, 196].flatMap((id) => {
    const content = piece(id) ?? "";
    if (!/^<reserved_\d+>$/.test(content)) return [];
    return [{ ...declaredToken(content, true)!, id }];
  });
}

/** Puts vocabulary, files and rules together. */
function assemble(
  files: TokenizerFiles,
  vocabulary: Vocabulary,
  rules: ClassRules,
): FolderTokenizer {
  const added = numbered(files, vocabulary, rules);
  const special = specialTokens(files, rules.defaults);
  const idOf = (content: string | undefined): number[] => {
    const id = added.find((token) => token.content === content)?.id;
    return id === undefined ? [] : [id];
  };
  const { config } = files;
  const addsBos = config["add_bos_token"] !== false;
  const addsEos = config["add_eos_token"] === true;
  const tokenizer = new VocabularyTokenizer({
    vocabulary,
    added,
    onlyAfter: rules.onlyAfter,
    prefix: rules.prefix?.flatMap(idOf) ??
      (addsBos ? idOf(special.bos_token) : []),
    suffix: rules.prefix === null && addsEos ? idOf(special.eos_token) : [],
    splitsSpecialTokens: splitsSpecialTokens(files),
  });
  const specialContents = new Set(
    added.filter((token) => token.special).map((token) => token.content),
  );
  return {
    native: tokenizer,
    encoder: tokenizer,
    limits: NO_LIMITS,
    spec: { json: {}, special, isMisnamed: false, specialContents },
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
