/**
 * Answers: prompts from conversations, and tokens from a model one at a time.
 *
 * @module
 */

export {
  adapterTemplate,
  CHAT_TEMPLATE_FILE,
  type ChatPrompt,
  chatPrompt,
  type ChatPromptOptions,
  type ChatPromptSource,
} from "./chat_prompt.ts";
export {
  Conversation,
  type ConversationParts,
  endsOf,
} from "./conversation.ts";
export { generate, generateBatch, type GenerateOptions } from "./generate.ts";
export { type SamplingOptions } from "./sampling.ts";
export { keepWeightCopies } from "./weight_copies.ts";
export { type ModelfileOptions, ollamaModelfile } from "./ollama.ts";
