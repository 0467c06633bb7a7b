/**
 * Answers: prompts from conversations, and tokens from a model one at a time.
 *
 * @module
 */

export {
  adapterChatTemplate,
  CHAT_TEMPLATE_FILE,
  type ChatPrompt,
  chatPrompt,
  type ChatPromptOptions,
  type ChatPromptSource,
  type PromptFrame,
  promptFrame,
} from "./chat_prompt.ts";
export { Conversation, type ConversationParts } from "./conversation.ts";
export { generate, type GenerateOptions } from "./generate.ts";
export { type SamplingOptions } from "./sampling.ts";
