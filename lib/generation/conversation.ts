/**
 * A conversation with a model: the messages so far, and answers that arrive piece
 * by piece. It neither reads input nor prints.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import type { CausalLm } from "../architectures/mod.ts";
import type { PeftModel } from "../peft/mod.ts";
import type { ChatMessage } from "../tokenizer/chat_template.ts";
import { TextStream, type TokenDecoder } from "../tokenizer/text_stream.ts";
import type { ChatPrompt } from "./chat_prompt.ts";
import {
  generate,
  type GenerateOptions,
  MAX_NEW_TOKENS,
  modelOf,
} from "./generate.ts";

/** The parts of a {@linkcode Conversation}. */
export interface ConversationParts {
  /** The model that answers. */
  readonly model: CausalLm | PeftModel;
  /** Turns the model's tokens into text. */
  readonly tokenizer: TokenDecoder;
  /** The prompt format, see {@linkcode chatPrompt}. */
  readonly prompt: ChatPrompt;
  /** How answers are generated. The seed is used once, at the first answer. */
  readonly options?: GenerateOptions;
}

/**
 * Questions and answers in turn.
 *
 * @example
 * ```ts
 * import {
 *   AutoModelForCausalLM,
 *   AutoTokenizer,
 *   chatPrompt,
 *   Conversation,
 * } from "@lorikeet/lorikeet";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
 * using model = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * const prompt = await chatPrompt(tokenizer);
 * const conversation = new Conversation({ model, tokenizer, prompt });
 * let answer = "";
 * for await (const piece of conversation.ask("你是谁？")) answer += piece;
 * if (answer !== "我是小鹦，一个会聊天的小助手。") throw new Error(answer);
 * ```
 */
export class Conversation {
  readonly #parts: ConversationParts;
  #messages: ChatMessage[] = [];
  #seed: number | undefined;

  /** Starts without messages. */
  constructor(parts: ConversationParts) {
    this.#parts = parts;
    this.#seed = parts.options?.seed;
  }

  /** Forgets all messages. */
  reset(): void {
    this.#messages = [];
  }

  /**
   * The answer to `question`, in pieces of whole characters. When `signal` is
   * aborted it ends early, and the pieces so far are the answer.
   *
   * @throws {InputError} when the prompt's template refuses the messages.
   */
  async *ask(question: string, signal?: AbortSignal): AsyncGenerator<string> {
    const { model, tokenizer, prompt } = this.#parts;
    if (!prompt.keepsHistory) this.reset();
    this.#messages.push({ role: "user", content: question });
    const ids = await this.#promptIds();
    const stream = new TextStream(tokenizer);
    let answer = "";
    for (const id of generate(model, ids, this.#options())) {
      const piece = stream.push(id);
      answer += piece;
      if (piece !== "") yield piece;
      // computing tokens never pauses by itself; a pause lets signals arrive
      await setImmediate();
      if (signal?.aborted) break;
    }
    const rest = stream.end();
    if (rest !== "") yield rest;
    this.#messages.push({ role: "assistant", content: answer + rest });
  }

  #options(): GenerateOptions {
    const { model, prompt } = this.#parts;
    const { seed: _seed, ...options } = this.#parts.options ?? {};
    const eosTokenIds = options.eosTokenIds ?? endsOf(model, prompt);
    const seed = this.#seed;
    this.#seed = undefined;
    return { ...options, eosTokenIds, ...seed !== undefined && { seed } };
  }

  /** Forgets the oldest turns until prompt and answer fit the model's positions. */
  async #promptIds(): Promise<number[]> {
    const { model, prompt, options } = this.#parts;
    const { maxPositions } = modelOf(model).config;
    const answerLength = Math.min(
      options?.maxNewTokens ?? MAX_NEW_TOKENS,
      maxPositions / 2,
    );
    let ids = await prompt.encode(this.#messages);
    while (
      ids.length + answerLength > maxPositions && this.#messages.length > 1
    ) {
      this.#messages.splice(0, 2);
      ids = await prompt.encode(this.#messages);
    }
    return ids;
  }
}

/** Ids that end an answer: the model's and those of the prompt's form. */
export function endsOf(
  model: CausalLm | PeftModel,
  { endIds }: ChatPrompt,
): number[] {
  return [...new Set([...modelOf(model).config.eosTokenIds, ...endIds])];
}
