/**
 * How a conversation becomes the ids that a model continues: by the adapter's
 * chat template, else the model's, else the prompt that the recipe trains with.
 *
 * @module
 */

import { promptOf } from "../data/preprocess.ts";
import { InputError } from "../input_error.ts";
import type { AutoTokenizer } from "../tokenizer/auto_tokenizer.ts";
import {
  type ChatMessage,
  renderChatTemplate,
} from "../tokenizer/chat_template.ts";

/** The file beside an adapter that says how its training data was spelled. */
export const CHAT_TEMPLATE_FILE = "chat_template.jinja";

/** Where a {@linkcode ChatPrompt} has its form from. */
export type ChatPromptSource = "adapter" | "model" | "recipe";

/** Options of {@linkcode chatPrompt}. */
export interface ChatPromptOptions {
  /** Folder of the adapter, where there is one. */
  readonly adapter?: string | null;
  /** Stands before every question; a template's own default otherwise. */
  readonly instruction?: string | null;
}

/** The form of the prompts of a conversation. */
export interface ChatPrompt {
  /** Where the form is from. */
  readonly source: ChatPromptSource;
  /** Whether earlier questions and answers are part of the prompt. */
  readonly keepsHistory: boolean;
  /** Text of `messages`, which end with a question. */
  text(messages: readonly ChatMessage[]): string;
  /** Ids of `messages`, encoded as in training. */
  encode(messages: readonly ChatMessage[]): Promise<number[]>;
}

/**
 * Picks how questions are spelled for the model with `tokenizer`.
 *
 * @throws {InputError} when the adapter's template cannot be read; its methods
 * throw it where the template refuses the messages.
 *
 * @example
 * ```ts
 * import { AutoTokenizer, chatPrompt } from "@lorikeet/lorikeet";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/byte_level",
 * );
 * const prompt = chatPrompt(tokenizer, { instruction: "回答" });
 * const text = prompt.text([{ role: "user", content: "你是谁？" }]);
 * if (text !== "<s>Human: 回答请回答用户问题: 你是谁？\n</s><s>Assistant:") {
 *   throw new Error(text);
 * }
 * ```
 */
export function chatPrompt(
  tokenizer: AutoTokenizer,
  options: ChatPromptOptions = {},
): ChatPrompt {
  const { adapter = null, instruction = null } = options;
  const own = adapter === null ? null : adapterTemplate(adapter);
  const template = own ?? tokenizer.chatTemplate;
  if (template === null) return recipePrompt(tokenizer, instruction ?? "");
  const variables = specialTokens(tokenizer);
  const text = (messages: readonly ChatMessage[]): string =>
    renderChatTemplate(template, withInstruction(messages, instruction), {
      addGenerationPrompt: true,
      variables,
    });
  return {
    source: own === null ? "model" : "adapter",
    keepsHistory: showsHistory(text),
    text,
    encode: (messages) =>
      tokenizer.encode(text(messages), { addSpecialTokens: false }),
  };
}

/** The recipe's prompt has one question, and a second BOS from the tokenizer. */
function recipePrompt(
  tokenizer: AutoTokenizer,
  instruction: string,
): ChatPrompt {
  const text = (messages: readonly ChatMessage[]): string =>
    promptOf({ instruction, input: messages.at(-1)?.content ?? "" });
  return {
    source: "recipe",
    keepsHistory: false,
    text,
    encode: (messages) => tokenizer.encode(text(messages)),
  };
}

function withInstruction(
  messages: readonly ChatMessage[],
  instruction: string | null,
): readonly ChatMessage[] {
  return instruction === null
    ? messages
    : [{ role: "system", content: instruction }, ...messages];
}

/** The names of special tokens that templates use. */
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

/** Some templates take one question only, or silently leave the others out. */
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

/** A `checkpoint-N` was trained with the template of the run it belongs to. */
function adapterTemplate(folder: string): string | null {
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

/** What training's tokenizer puts around a prompt, beside the `<s>` in its text. */
export interface PromptFrame {
  /** Whether BOS stands before it. Default true. */
  readonly beginsWithBos?: boolean;
  /** Whether EOS stands after it. Default false. */
  readonly endsWithEos?: boolean;
}

/**
 * Asks `tokenizer` what it puts around a text when it encodes for training.
 *
 * @example
 * ```ts
 * import { adapterChatTemplate, AutoTokenizer, promptFrame } from "@lorikeet/lorikeet";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
 * const frame = await promptFrame(tokenizer);
 * const template = adapterChatTemplate("回答", frame);
 * if (template.includes("bos_token -") !== frame.beginsWithBos) {
 *   throw new Error(template);
 * }
 * ```
 */
export async function promptFrame(
  tokenizer: AutoTokenizer,
): Promise<Required<PromptFrame>> {
  const ids = await tokenizer.encode("");
  const { bosTokenId, eosTokenId } = tokenizer;
  return {
    beginsWithBos: ids.length > 0 && ids[0] === bosTokenId,
    endsWithEos: ids.length > 0 && ids.at(-1) === eosTokenId,
  };
}

/**
 * The text of a `chat_template.jinja` that spells conversations as the recipe's
 * training does, with `instruction` where a conversation has no system message.
 * Templates are encoded without special tokens, so it spells the `frame` as well:
 * {@linkcode promptFrame} knows that of a tokenizer.
 *
 * @example
 * ```ts
 * import { adapterChatTemplate } from "@lorikeet/lorikeet";
 *
 * const template = adapterChatTemplate("回答");
 * if (!template.includes("请回答用户问题: ")) throw new Error(template);
 * ```
 */
export function adapterChatTemplate(
  instruction: string,
  frame: PromptFrame = {},
): string {
  const { beginsWithBos = true, endsWithEos = false } = frame;
  const begin = beginsWithBos ? "{{- bos_token -}}\n" : "";
  const end = endsWithEos ? " + eos_token" : "";
  return `{#- The prompt that this adapter was trained with. -#}
{%- set state = namespace(instruction=${jinjaString(instruction)}) -%}
${begin}{%- for message in messages -%}
  {%- if message['role'] == 'system' -%}
    {%- set state.instruction = message['content'] -%}
  {%- elif message['role'] == 'user' -%}
    {{- '<s>Human: ' + state.instruction + '请回答用户问题: ' + message['content'] + '\\n</s>' -}}
  {%- elif message['role'] == 'assistant' -%}
    {{- '<s>Assistant:'${end} + message['content'] + eos_token -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<s>Assistant:'${end} -}}
{%- endif -%}
`;
}

/** A literal that Python's Jinja and JavaScript's read alike. */
function jinjaString(text: string): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
    .replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t");
  return `"${escaped}"`;
}
