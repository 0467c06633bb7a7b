/**
 * A tokenizer of SentencePiece's kind from a GGUF file's metadata: the tokenizer.model
 * that it was made from, written again from its pieces, scores and types, so that
 * texts get SentencePiece's own ids.
 *
 * @module
 */

import { protobufMessage, type WrittenField } from "../formats/protobuf.ts";
import { type GgufVocabulary, TOKEN_KINDS } from "./gguf_vocabulary.ts";
import { SPACE } from "./sentencepiece_normalizer.ts";
import type {
  JsonObject,
  TokenizerFiles,
  VocabularyFile,
} from "./tokenizer_files.ts";

/** `model_type` of byte pairs in `sentencepiece_model.proto`. */
const BYTE_PAIRS = 2;
const BYTES = 256;

/**
 * tokenizer.model, and what tokenizer_config.json would hold.
 *
 * @throws {InputError} when scores or types are missing or of no use.
 */
export function sentencePieceFiles(
  vocabulary: GgufVocabulary,
): Pick<TokenizerFiles, "config"> & { readonly vocabulary: VocabularyFile } {
  const pieces = readPieces(vocabulary);
  return {
    vocabulary: {
      name: "tokenizer.model",
      bytes: modelBytes(vocabulary, pieces),
    },
    config: {
      ...vocabulary.roles(),
      unk_token: pieces.find(({ kind }) => kind === TOKEN_KINDS.unknown)?.piece,
      added_tokens_decoder: controlTokens(vocabulary, pieces),
      additional_special_tokens: pieces
        .filter(({ kind }) => kind === TOKEN_KINDS.control)
        .map(({ piece }) => piece),
      add_bos_token: vocabulary.flag("add_bos_token", true),
      add_eos_token: vocabulary.flag("add_eos_token", false),
      add_prefix_space: vocabulary.flag("add_space_prefix", true),
      // only the text's start gets a space, as in transformers' own reading; that
      // would keep spaces at a text's start, which such a model drops
      legacy: vocabulary.flag("remove_extra_whitespaces", false),
      clean_up_tokenization_spaces: false,
      tokenizer_class: "LlamaTokenizer",
    },
  };
}

interface GgufPiece {
  readonly piece: string;
  readonly score: number;
  readonly kind: number;
}

function readPieces(vocabulary: GgufVocabulary): GgufPiece[] {
  const { tokens } = vocabulary;
  const kinds = vocabulary.kinds();
  const scores = vocabulary.value("scores");
  if (kinds === null) vocabulary.fail("it has no tokenizer.ggml.token_type");
  if (!(scores instanceof Float32Array) || scores.length !== tokens.length) {
    vocabulary.fail(
      `its tokenizer.ggml.scores is not a list of ${tokens.length} numbers`,
    );
  }
  const { unknown, userDefined, normal } = TOKEN_KINDS;
  // a special "<unk>" is written as a control token; its role tells what it is
  const unknownId = kinds.includes(unknown)
    ? null
    : vocabulary.id("unknown") ?? 0;
  const pieces = tokens.map((token, id) => ({
    // spaces of a text that a user defined are written as spaces there
    piece: kinds[id] === userDefined ? token.replaceAll(" ", SPACE) : token,
    score: scores[id]!,
    kind: id === unknownId ? unknown : kinds[id]!,
  }));
  const joined = pieces.filter(({ kind, piece }) =>
    kind === normal && [...piece].length > 1
  );
  if (joined.length > 1 && new Set(joined.map((it) => it.score)).size === 1) {
    vocabulary.fail(
      `its tokenizer.ggml.scores are all ${
        joined[0]!.score
      }, so which pieces are joined first is not known`,
    );
  }
  return pieces;
}

/** Tokens that are found in a text before it is cut. */
function controlTokens(
  vocabulary: GgufVocabulary,
  pieces: readonly GgufPiece[],
): JsonObject {
  const { control, unknown } = TOKEN_KINDS;
  // Phi-3's take the white space behind them, which the file does not say
  const takesSpace = /phi-?3/.test(vocabulary.modelName);
  const entries = pieces.flatMap(({ piece: content, kind }, id) =>
    kind === control || kind === unknown
      ? [[id, {
        content,
        single_word: false,
        lstrip: false,
        rstrip: takesSpace && !/^(<unk>|<s>|<\|endoftext\|>)$/.test(content),
        normalized: false,
        special: true,
      }]]
      : []
  );
  return Object.fromEntries(entries);
}

/** The bytes of a model of byte pairs (`sentencepiece_model.proto`). */
function modelBytes(
  vocabulary: GgufVocabulary,
  pieces: readonly GgufPiece[],
): Uint8Array {
  const bytes = pieces.filter(({ kind }) => kind === TOKEN_KINDS.byte).length;
  const id = (role: string): number => vocabulary.id(role) ?? -1;
  const trainer = protobufMessage([
    { number: 3, value: BYTE_PAIRS },
    { number: 35, value: Number(bytes === BYTES) },
    { number: 41, value: id("bos") },
    { number: 42, value: id("eos") },
    { number: 43, value: id("padding") },
  ]);
  const drops = vocabulary.flag("remove_extra_whitespaces", false);
  const normalizer = protobufMessage([
    ...characterMap(vocabulary),
    { number: 3, value: Number(vocabulary.flag("add_space_prefix", true)) },
    { number: 4, value: Number(drops) },
    { number: 5, value: 1 },
  ]);
  return protobufMessage([
    ...pieces.map(({ piece, score, kind }): WrittenField => ({
      number: 1,
      value: protobufMessage([
        { number: 1, value: new TextEncoder().encode(piece) },
        { number: 2, float: score },
        { number: 3, value: kind },
      ]),
    })),
    { number: 2, value: trainer },
    { number: 3, value: normalizer },
  ]);
}

function characterMap(vocabulary: GgufVocabulary): WrittenField[] {
  const map = vocabulary.value("precompiled_charsmap");
  if (map === undefined) return [];
  if (map instanceof Uint8Array || map instanceof Int8Array) {
    return [{ number: 2, value: Uint8Array.from(map) }];
  }
  vocabulary.fail(
    "its tokenizer.ggml.precompiled_charsmap is not a list of bytes",
  );
}
