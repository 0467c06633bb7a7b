/**
 * Chat templates: messages to the prompt text that a chat model was trained on,
 * rendered by Hugging Face's Jinja. It renders text only, it does not tokenize.
 *
 * @module
 */

import { Template } from "npm:@huggingface/jinja@0.5.11";
import { InputError } from "../input_error.ts";

/** One turn of a conversation. */
export interface ChatMessage {
  /** Who speaks: "system", "user", "assistant" or what the template knows. */
  readonly role: string;
  /** What is said. */
  readonly content: string;
}

/** Options of {@linkcode renderChatTemplate}. */
export interface ChatTemplateOptions {
  /** Ends the text where the assistant begins to speak. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** Further names that the template may use. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/**
 * Renders `messages` with a Jinja `template`.
 *
 * @throws {InputError} when the template is broken or refuses the messages.
 */
export function renderChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions = {},
): string {
  try {
    return new Template(template).render({
      tools: null,
      documents: null,
      ...options.variables,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? false,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(
      `Cannot apply the chat template to ${messages.length} messages: ${reason}`,
      { cause: error },
    );
  }
}
