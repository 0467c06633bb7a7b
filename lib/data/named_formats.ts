/**
 * Prompt formats by name, one entry each: the frames that models of the recipe's
 * collection are trained in, and texts as they stand.
 *
 * @module
 */

import type { PromptFormatEntry } from "./prompt_format.ts";
import { type Piece, turnFormat, type TurnFormatParts } from "./turn_format.ts";

const CONTENT: Piece = { place: "content" };
/** The system message, if there is one, then the user's, for a frame without system turns. */
const WORDS: readonly Piece[] = [{ place: "instruction" }, { place: "input" }];

/** The same, as the tutorials for BlueLM and XVERSE write it. */
const SEPARATE_WORDS: readonly Piece[] = [
  { place: "instruction" },
  { place: "input", before: "\n\n " },
];

const CHATML: TurnFormatParts = {
  name: "chatml",
  needsTokens: ["<|im_start|>", "<|im_end|>"],
  system: ["<|im_start|>system\n", CONTENT, "<|im_end|>\n"],
  user: ["<|im_start|>user\n", CONTENT, "<|im_end|>\n"],
  assistant: "<|im_start|>assistant\n",
  end: "<|im_end|>",
  between: "\n",
};

/** ChatML without a line end before the assistant's turn, as Qwen's first models are trained. */
const QWEN: TurnFormatParts = {
  ...CHATML,
  name: "qwen",
  user: ["<|im_start|>user\n", CONTENT, "<|im_end|>"],
};

const HEADER = ["<|start_header_id|>", "<|end_header_id|>\n\n"] as const;

const LLAMA3: TurnFormatParts = {
  name: "llama3",
  needsTokens: ["<|begin_of_text|>", "<|start_header_id|>", "<|eot_id|>"],
  start: "<|begin_of_text|>",
  system: [`${HEADER[0]}system${HEADER[1]}`, CONTENT, "<|eot_id|>"],
  user: [`${HEADER[0]}user${HEADER[1]}`, CONTENT, "<|eot_id|>"],
  assistant: `${HEADER[0]}assistant${HEADER[1]}`,
  end: "<|eot_id|>",
};

/** The name of the format for texts without turns. */
export const TEXT_FORMAT = "text";

/** The pieces of each named format. */
export const NAMED_FORMAT_PARTS: readonly TurnFormatParts[] = [
  {
    name: TEXT_FORMAT,
    system: [CONTENT],
    user: [CONTENT],
    assistant: "",
    addsSpecialTokens: "bos",
  },
  CHATML,
  QWEN,
  { ...QWEN, name: "yi" },
  { ...CHATML, name: "internlm", start: "<s>" },
  {
    ...CHATML,
    name: "qwen3",
    assistant: "<|im_start|>assistant\n<think>\n\n</think>\n\n",
  },
  {
    // its tokenizer has other special tokens: these are spelled as text
    name: "hunyuan",
    system: ["<|im_start|>system\n", CONTENT, "<|im_end|>\n"],
    user: ["<|im_start|>user\n", CONTENT, "<|im_end|>\n"],
    assistant: "<|im_start|>assistant\n<think>\n\n</think>\n\n",
    between: "\n",
  },
  {
    name: "atom",
    user: ["<s>Human: ", ...WORDS, "\n</s>"],
    assistant: "<s>Assistant: ",
  },
  {
    name: "baichuan2",
    system: ["<|im_start|>system\n", CONTENT, "<|im_end|>\n"],
    user: ["<|im_start|>user\n", CONTENT, "<|im_end|>"],
    assistant: "\n\nAssistant: ",
  },
  {
    name: "bluelm",
    user: ["[|Human|]:", ...SEPARATE_WORDS],
    assistant: "[|AI|]:",
    addsSpecialTokens: "bos",
  },
  {
    name: "characterglm",
    start: "[gMASK]sop",
    user: ["用户:\n", ...WORDS],
    assistant: "CharacterGLM-6B:\n:",
  },
  {
    name: "chatglm3",
    start: "[gMASK]sop",
    system: ["<|system|>\n", CONTENT, "\n"],
    user: ["<|user|>\n", CONTENT],
    assistant: "<|assistant|>\n",
  },
  {
    name: "deepseek",
    system: [CONTENT, "\n\n"],
    user: ["User: ", CONTENT, "\n\n"],
    assistant: "Assistant: ",
    addsSpecialTokens: "bos",
  },
  {
    name: "deepseek-coder",
    system: [CONTENT, "\n"],
    user: ["User: ", CONTENT, "\n"],
    assistant: "Assistant: ",
    addsSpecialTokens: "bos",
  },
  {
    name: "ernie",
    needsTokens: ["<|begin_of_sentence|>", "<|end_of_sentence|>"],
    start: "<|begin_of_sentence|>",
    system: [CONTENT, "\n"],
    user: ["User: ", CONTENT, "\n"],
    assistant: "Assistant: ",
    end: "<|end_of_sentence|>",
  },
  {
    name: "gemma",
    needsTokens: ["<bos>", "<start_of_turn>", "<end_of_turn>"],
    start: "<bos>",
    user: ["<start_of_turn>user\n", ...WORDS, "<end_of_turn>\n"],
    assistant: "<start_of_turn>model\n",
    end: "<end_of_turn>",
    between: "\n",
  },
  {
    name: "glm4",
    needsTokens: ["[gMASK]", "<sop>", "<|user|>", "<|assistant|>"],
    start: "[gMASK]<sop>",
    system: ["<|system|>\n", CONTENT],
    user: ["<|user|>\n", CONTENT],
    assistant: "<|assistant|>\n",
  },
  {
    name: "glm4.7",
    needsTokens: ["[gMASK]", "<sop>", "<|user|>", "<|assistant|>"],
    start: "[gMASK]<sop>",
    system: ["<|system|>\n", CONTENT],
    user: ["<|user|>\n", CONTENT],
    assistant: "<|assistant|>\n<think></think>\n",
  },
  {
    name: "index",
    needsTokens: ["<unk>", "reserved_0", "reserved_1"],
    start: "<unk>",
    system: ["system", CONTENT],
    user: ["reserved_0user", CONTENT],
    assistant: "reserved_1assistant",
  },
  LLAMA3,
  {
    ...LLAMA3,
    name: "llama3.1",
    system: [
      `${HEADER[0]}system${HEADER[1]}`,
      "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
      CONTENT,
      "<|eot_id|>",
    ],
  },
  {
    name: "minicpm",
    user: ["<用户>", ...WORDS],
    assistant: "<AI>",
    addsSpecialTokens: "bos",
  },
  {
    name: "openelm",
    user: [...WORDS],
    assistant: "<sep>",
    addsSpecialTokens: "bos",
  },
  {
    name: "phi3",
    needsTokens: ["<|user|>", "<|assistant|>", "<|end|>"],
    system: ["<|system|>\n", CONTENT, "<|end|>\n"],
    user: ["<|user|>\n", CONTENT, "<|end|>\n"],
    assistant: "<|assistant|>\n",
    end: "<|end|>",
    between: "\n",
  },
  {
    name: "xverse",
    user: ["Human:", ...SEPARATE_WORDS],
    assistant: "Assistant:",
    addsSpecialTokens: "bos",
  },
  {
    name: "yuan",
    needsTokens: ["<sep>", "<eod>"],
    user: [...WORDS],
    assistant: "<sep>",
    end: "<eod>",
  },
];

/** The named formats, as `registerPromptFormat` takes them. */
export const NAMED_FORMATS: readonly PromptFormatEntry[] = NAMED_FORMAT_PARTS
  .map((parts) => turnFormat(parts));
