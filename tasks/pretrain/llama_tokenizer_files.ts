/**
 * Writes a learned vocabulary as the files of a tokenizer folder, in the form of
 * converted Llama tokenizers: a space before every text, bytes for unknown characters,
 * one `<s>` at the start.
 *
 * @module
 */

import { writeFileAtomic } from "../../lib/formats/atomic_file.ts";
import { type BpeVocabulary, SPACE_PIECE } from "./bpe_trainer.ts";
import type { JsonObject } from "../../lib/tokenizer/tokenizer_files.ts";

const SPECIAL = ["<unk>", "<s>", "</s>"] as const;

/**
 * Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`
 * into `folder`. The class they name keeps tokenizer.json as it is; transformers
 * would build another normalizer for a Llama class.
 */
export function writeLlamaTokenizer(
  folder: string,
  vocabulary: BpeVocabulary,
): void {
  Deno.mkdirSync(folder, { recursive: true });
  const special = { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" };
  const files: Readonly<Record<string, JsonObject>> = {
    "tokenizer.json": llamaTokenizerJson(vocabulary),
    "tokenizer_config.json": {
      tokenizer_class: "PreTrainedTokenizerFast",
      ...special,
      clean_up_tokenization_spaces: false,
      model_max_length: 512,
    },
    "special_tokens_map.json": special,
  };
  for (const [name, content] of Object.entries(files)) {
    const text = `${JSON.stringify(content, null, 1)}\n`;
    writeFileAtomic(`${folder}/${name}`, new TextEncoder().encode(text));
  }
}

/** The content of `tokenizer.json`. */
export function llamaTokenizerJson(vocabulary: BpeVocabulary): JsonObject {
  const replace = (from: string, to: string): JsonObject => ({
    type: "Replace",
    pattern: { String: from },
    content: to,
  });
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: SPACE_PIECE },
        replace(" ", SPACE_PIECE),
      ],
    },
    pre_tokenizer: null,
    post_processor: beginsText(),
    decoder: {
      type: "Sequence",
      decoders: [
        replace(SPACE_PIECE, " "),
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: bpeModel(vocabulary),
  };
}

/** `<s>` before a text, and before each of a pair. */
function beginsText(): JsonObject {
  const parts = (id: string, type_id: number): JsonObject[] => [
    { SpecialToken: { id: "<s>", type_id } },
    { Sequence: { id, type_id } },
  ];
  return {
    type: "TemplateProcessing",
    single: parts("A", 0),
    pair: [...parts("A", 0), ...parts("B", 1)],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  };
}

function bpeModel({ pieces, merges }: BpeVocabulary): JsonObject {
  return {
    type: "BPE",
    dropout: null,
    unk_token: "<unk>",
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: true,
    ignore_merges: false,
    vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    merges: merges.map(([left, right]) => `${left} ${right}`),
  };
}
