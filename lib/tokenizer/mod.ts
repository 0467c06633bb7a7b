/**
 * Tokenizers of model folders, chat templates, and text from a stream of ids.
 *
 * @module
 */

export { AutoTokenizer } from "./auto_tokenizer.ts";
export {
  type GgufTokenizerOptions,
  ggufTokenizerPairs,
} from "./gguf_written.ts";
export type {
  DecodeOptions,
  EncodeOptions,
  OffsetEncoding,
} from "./encoding.ts";
export type { ChatMessage, ChatTemplateOptions } from "./chat_template.ts";
export {
  TextStream,
  type TextStreamOptions,
  type TokenDecoder,
} from "./text_stream.ts";
