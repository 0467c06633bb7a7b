/**
 * One conversation with a model: what was said so far, and answers that come
 * piece by piece. It neither reads nor prints.
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

/** What a {@linkcode Conversation} is held with. */
export interface ConversationParts {
  /** The model that answers. */
  readonly model: CausalLm | PeftModel;
  /** Turns the model's tokens into text. */
  readonly tokenizer: TokenDecoder;
  /** How questions are asked, see {@linkcode chatPrompt}. */
  readonly prompt: ChatPrompt;
  /** How answers are generated. A seed counts once, at the first answer. */
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

  /** Begins with nothing said. */
  constructor(parts: ConversationParts) {
    this.#parts = parts;
    this.#seed = parts.options?.seed;
  }

  /** Forgets what was said. */
  reset(): void {
    this.#messages = [];
  }

  /**
   * The answer to `question`, in pieces of whole characters. Once `signal` is
   * aborted it ends early, and what was said so far counts as the answer.
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
      // tokens are computed without a pause; signals are seen in one
      await setImmediate();
      if (signal?.aborted) break;
    }
    const rest = stream.end();
    if (rest !== "") yield rest;
    this.#messages.push({ role: "assistant", content: answer + rest });
  }

  #options(): GenerateOptions {
    const { seed: _seed, ...options } = this.#parts.options ?? {};
    const seed = this.#seed;
    this.#seed = undefined;
    return seed === undefined ? options : { ...options, seed };
  }

  /** Forgets the oldest turns until prompt and answer fit the trained positions. */
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
