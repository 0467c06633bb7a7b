/**
 * The tokenizer in a GGUF file's metadata, as the files of a tokenizer folder: a
 * tokenizer.json for byte-level BPE, SentencePiece's tokenizer.model for its kind.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import { byteLevelTokenizer } from "./gguf_byte_level.ts";
import { sentencePieceFiles } from "./gguf_sentencepiece.ts";
import { GgufVocabulary } from "./gguf_vocabulary.ts";
import type { TokenizerFiles } from "./tokenizer_files.ts";

/**
 * The tokenizer in the GGUF file at `path`.
 *
 * @throws {InputError} when it has none, or of a kind that is not read.
 */
export function ggufTokenizerFiles(path: string): TokenizerFiles {
  const vocabulary = new GgufVocabulary(path);
  return {
    directory: path,
    isMade: true,
    ...partsOf(vocabulary),
    specialTokensMap: {},
    addedTokens: {},
    modelConfig: {},
    chatTemplate: vocabulary.chatTemplate(),
  };
}

function partsOf(
  vocabulary: GgufVocabulary,
): Pick<TokenizerFiles, "tokenizer" | "vocabulary" | "config"> {
  const kind = vocabulary.value("model");
  if (kind === "llama") {
    return { tokenizer: {}, ...sentencePieceFiles(vocabulary) };
  }
  if (kind === "gpt2") {
    return {
      tokenizer: byteLevelTokenizer(vocabulary),
      vocabulary: null,
      config: {
        ...vocabulary.roles(),
        clean_up_tokenization_spaces: false,
        // a class of its own would build another tokenizer from the vocabulary
        tokenizer_class: "PreTrainedTokenizerFast",
      },
    };
  }
  vocabulary.fail(
    `its tokenizer is of the kind ${
      quoted(kind, 60)
    }, only "gpt2", byte-level BPE, and "llama", SentencePiece's, are read`,
  );
}
