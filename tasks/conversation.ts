/**
 * One conversation with a model: what was said so far, and answers that come
 * piece by piece. It neither reads nor prints.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import {
  type AutoTokenizer,
  type CausalLm,
  type ChatMessage,
  type ChatPrompt,
  generate,
  type GenerateOptions,
  TextStream,
} from "../mod.ts";

/** What a {@linkcode Conversation} is held with. */
export interface ConversationParts {
  readonly model: CausalLm;
  readonly tokenizer: AutoTokenizer;
  readonly prompt: ChatPrompt;
  readonly options: GenerateOptions;
}

/** Questions and answers in turn. */
export class Conversation {
  readonly #parts: ConversationParts;
  #messages: ChatMessage[] = [];
  #seed: number | undefined;

  /** Begins with nothing said; the seed of the options counts once. */
  constructor(parts: ConversationParts) {
    this.#parts = parts;
    this.#seed = parts.options.seed;
  }

  /** Forgets what was said. */
  reset(): void {
    this.#messages = [];
  }

  /** The answer to `question`, in pieces; ends early, but whole, once `signal` is aborted. */
  async *ask(question: string, signal: AbortSignal): AsyncGenerator<string> {
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
      if (signal.aborted) break;
    }
    const rest = stream.end();
    if (rest !== "") yield rest;
    this.#messages.push({ role: "assistant", content: answer + rest });
  }

  #options(): GenerateOptions {
    const { seed: _seed, ...options } = this.#parts.options;
    const seed = this.#seed;
    this.#seed = undefined;
    return seed === undefined ? options : { ...options, seed };
  }

  /** Forgets the oldest turns until prompt and answer fit the trained positions. */
  async #promptIds(): Promise<number[]> {
    const { model, prompt, options } = this.#parts;
    const { maxPositions } = model.config;
    const answerLength = Math.min(options.maxNewTokens ?? 0, maxPositions / 2);
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
