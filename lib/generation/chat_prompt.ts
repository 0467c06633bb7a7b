/**
 * Turns a conversation into the ids that a model continues: with the adapter's
 * chat template, else the model's, else the recipe's prompt format.
 *
 * @module
 */

import { promptFormat } from "../data/prompt_format.ts";
import { InputError } from "../input_error.ts";
import type { AutoTokenizer } from "../tokenizer/auto_tokenizer.ts";
import {
  type ChatMessage,
  renderChatTemplate,
} from "../tokenizer/chat_template.ts";

/** The file in an adapter's folder with the prompt format of its training data. */
export const CHAT_TEMPLATE_FILE = "chat_template.jinja";

/** Where the prompt format of a {@linkcode ChatPrompt} comes from. */
export type ChatPromptSource = "adapter" | "model" | "recipe";

/** Options of {@linkcode chatPrompt}. */
export interface ChatPromptOptions {
  /** Folder of the adapter, where there is one. */
  readonly adapter?: string | null;
  /** The adapter's template, when it is not in the folder yet. */
  readonly template?: string | null;
  /** The instruction before every question. Default: the template's own. */
  readonly instruction?: string | null;
}

/** The prompt format of a conversation. */
export interface ChatPrompt {
  /** Where the format comes from. */
  readonly source: ChatPromptSource;
  /** Whether earlier questions and answers are part of the prompt. */
  readonly keepsHistory: boolean;
  /**
   * Ids that end an answer in this form, besides those of the model; none where
   * the form ends answers with anything but one special token.
   */
  readonly endIds: readonly number[];
  /** The text of `messages`, which end with a question. */
  text(messages: readonly ChatMessage[]): string;
  /** The ids of `messages`, spelled as in training. */
  encode(messages: readonly ChatMessage[]): Promise<number[]>;
}

/**
 * Chooses the prompt format for the model that `tokenizer` belongs to.
 *
 * @throws {InputError} when the adapter's template cannot be read; the methods
 *   throw it when the template refuses the messages.
 *
 * @example
 * ```ts
 * import { AutoTokenizer, chatPrompt } from "@lorikeet/lorikeet";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/byte_level",
 * );
 * const prompt = await chatPrompt(tokenizer, { instruction: "回答" });
 * const text = prompt.text([{ role: "user", content: "你是谁？" }]);
 * if (!text.endsWith("<s>Human: 回答请回答用户问题: 你是谁？\n</s><s>Assistant:")) {
 *   throw new Error(text);
 * }
 * ```
 */
export async function chatPrompt(
  tokenizer: AutoTokenizer,
  options: ChatPromptOptions = {},
): Promise<ChatPrompt> {
  const { adapter = null, instruction = null } = options;
  const own = options.template ??
    (adapter === null ? null : adapterTemplate(adapter));
  const model = tokenizer.chatTemplate;
  const template = own ?? model ?? await recipeTemplate(tokenizer);
  const variables = specialTokens(tokenizer);
  const text = (messages: readonly ChatMessage[]): string =>
    renderChatTemplate(template, withInstruction(messages, instruction), {
      addGenerationPrompt: true,
      variables,
    });
  return {
    source: own !== null ? "adapter" : model !== null ? "model" : "recipe",
    keepsHistory: showsHistory(text),
    endIds: await endIds(template, { tokenizer, variables }),
    text,
    encode: (messages) =>
      tokenizer.encode(text(messages), { addSpecialTokens: false }),
  };
}

/** The recipe's format without an instruction. */
async function recipeTemplate(tokenizer: AutoTokenizer): Promise<string> {
  const { chatTemplate } = await promptFormat("recipe", {
    tokenizer,
    eosTokenId: tokenizer.eosTokenId ?? 0,
    system: "",
  });
  return chatTemplate;
}

function withInstruction(
  messages: readonly ChatMessage[],
  instruction: string | null,
): readonly ChatMessage[] {
  return instruction === null
    ? messages
    : [{ role: "system", content: instruction }, ...messages];
}

/** The names by which templates refer to special tokens. */
function specialTokens(tokenizer: AutoTokenizer): Record<string, string> {
  const ids = {
    bos_token: tokenizer.bosTokenId,
    eos_token: tokenizer.eosTokenId,
    unk_token: tokenizer.unkTokenId,
    pad_token: tokenizer.padTokenId,
  };
  return Object.fromEntries(
    Object.entries(ids).flatMap(([name, id]) => {
      const [token] = id === null ? [] : tokenizer.tokensOf([id]);
      return token === undefined ? [] : [[name, token]];
    }),
  );
}

/** The special token that the template puts behind an answer, where it is one. */
async function endIds(
  template: string,
  { tokenizer, variables }: {
    readonly tokenizer: AutoTokenizer;
    readonly variables: Readonly<Record<string, string>>;
  },
): Promise<number[]> {
  try {
    const text = renderChatTemplate(template, [
      { role: "user", content: "question-1" },
      { role: "assistant", content: "answer-1" },
    ], { variables });
    const end = text.split("answer-1").at(-1)!.trim();
    const ids = await tokenizer.encode(end, { addSpecialTokens: false });
    const isToken = ids.length === 1 &&
      tokenizer.decode(ids, { skipSpecialTokens: true }) === "";
    return end !== "" && isToken ? ids : [];
  } catch (error) {
    if (error instanceof InputError) return [];
    throw error;
  }
}

/** Whether the template uses earlier turns: some refuse them or leave them out silently. */
function showsHistory(
  text: (messages: readonly ChatMessage[]) => string,
): boolean {
  try {
    const rendered = text([
      { role: "user", content: "question-1" },
      { role: "assistant", content: "answer-1" },
      { role: "user", content: "question-2" },
    ]);
    return ["question-1", "answer-1"].every((part) => rendered.includes(part));
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

/**
 * The chat template that the adapter in `folder` was trained with, `null` where none is
 * beside it. A `checkpoint-N` was trained with the template of its run.
 *
 * @throws {InputError} when it cannot be read.
 */
export function adapterTemplate(folder: string): string | null {
  const own = readTemplate(folder);
  const isCheckpoint = /(^|\/)checkpoint-\d+\/*$/.test(folder);
  return own ?? (isCheckpoint ? readTemplate(`${folder}/..`) : null);
}

function readTemplate(folder: string): string | null {
  const path = `${folder}/${CHAT_TEMPLATE_FILE}`;
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(`Cannot read "${path}": ${reason}`, { cause: error });
  }
}
