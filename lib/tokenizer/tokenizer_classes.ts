/**
 * What the classes of published tokenizers say that no file of their folders does:
 * special tokens, how a text begins, how it is cut. Data only; the code of a folder
 * is never run.
 *
 * @module
 */

import {
  type DeclaredToken,
  declaredToken,
  type SpecialRole,
  type SpecialTokens,
} from "./special_tokens.ts";
import type { TiktokenRules } from "./tiktoken.ts";
import { isJsonObject, type TokenizerFiles } from "./tokenizer_files.ts";

/** The name of the class of a folder's tokenizer, which its own code may hold. */
export function className({ config, modelConfig }: TokenizerFiles): string {
  const named = config["tokenizer_class"] ?? modelConfig["tokenizer_class"];
  if (typeof named === "string") return named;
  for (const { auto_map } of [config, modelConfig]) {
    const classes = isJsonObject(auto_map) ? auto_map["AutoTokenizer"] : null;
    const [first] = Array.isArray(classes) ? classes : [classes];
    if (typeof first === "string") return first.split(".").at(-1)!;
  }
  return "";
}

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

/**
 * Classes that number pieces anew or add tokens in a way of their own. Their
 * folders have a tokenizer.json.
 */
export const OTHER_CLASSES = new RegExp(
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
export const TIKTOKEN_CLASSES: Readonly<
  Record<string, TiktokenRules & ClassRules>
> = {
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

/** Classes of SentencePiece models that know `legacy: false`; the others ignore it. */
const KNOWS_LEGACY = /^(Llama|Yuan)Tokenizer(Fast)?$|^$/;
const CODE_LLAMA = /^CodeLlamaTokenizer(Fast)?$/;
/** Tokens with which CodeLlama marks a gap to fill. */
const GAP_TOKENS = ["▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"];

/** Whether each stretch of text between special tokens gets a space in front. */
export function isLegacy(name: string, { config }: TokenizerFiles): boolean {
  if (CODE_LLAMA.test(name)) return false;
  return config["legacy"] !== false || !KNOWS_LEGACY.test(name);
}

/** The rules of a class around a SentencePiece model with the tokens `ofModel`. */
export function sentencePieceRules(
  name: string,
  ofModel: Readonly<Partial<Record<SpecialRole, string | undefined>>>,
  piece: (id: number) => string | undefined,
): ClassRules {
  const defaults = Object.fromEntries(
    Object.entries(ofModel).filter(([, token]) => token !== undefined),
  ) as SpecialTokens;
  const { pad_token: _, ...unpadded } = defaults;
  const rules: ClassRules = { defaults, tokens: [], prefix: null };
  const special = (contents: readonly string[]): DeclaredToken[] =>
    contents.map((content) => declaredToken(content, true)!);
  if (CODE_LLAMA.test(name)) {
    return { ...rules, defaults: unpadded, tokens: special(GAP_TOKENS) };
  }
  if (/Llama/.test(name)) return { ...rules, defaults: unpadded };
  if (name === "ChatGLMTokenizer") return chatGlmRules(defaults);
  if (name === "BaichuanTokenizer") {
    return { ...rules, tokens: baichuanTokens(piece) };
  }
  if (/^InternLM2?Tokenizer/.test(name) && defaults.eos_token !== undefined) {
    return {
      ...rules,
      defaults: { pad_token: defaults.eos_token, ...defaults },
    };
  }
  return rules;
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
