/**
 * SentencePiece's tokenizer.model as plain data: the pieces with their scores and
 * how a text is normalized. A file that SentencePiece itself would not load, or
 * that cannot be read to its own ids, is refused with a sentence.
 *
 * Fields are those of `sentencepiece_model.proto`.
 *
 * @module
 */

import { type ProtobufField, protobufFields } from "../formats/protobuf.ts";
import { quoted } from "../input_error.ts";
import { type CharacterMap, readCharacterMap } from "./character_map.ts";

/** What a piece is for. */
export type PieceType =
  | "normal"
  | "unknown"
  | "control"
  | "user_defined"
  | "unused"
  | "byte";

/** A piece of the vocabulary; its id is its place. */
export interface Piece {
  /** The text, with U+2581 for a space. */
  readonly piece: string;
  /** How much it is preferred. */
  readonly score: number;
  /** What it is for. */
  readonly type: PieceType;
}

/** A model that SentencePiece made. */
export interface SentencePieceModel {
  /** How a text is cut. */
  readonly algorithm: "unigram" | "bpe";
  /** The vocabulary. */
  readonly pieces: readonly Piece[];
  /** Whether unknown characters become their bytes. */
  readonly byteFallback: boolean;
  /** Whether a space belongs to the word before it. */
  readonly spaceAsSuffix: boolean;
  /** Id of the piece for what is unknown. */
  readonly unknownId: number;
  /** Ids of the pieces that begin, end and fill up a text; -1 for none. */
  readonly roles: {
    readonly bos: number;
    readonly eos: number;
    readonly pad: number;
  };
  /** What replaces characters, null for nothing. */
  readonly characterMap: CharacterMap | null;
  /** Whether a space is put before a text. */
  readonly addDummyPrefix: boolean;
  /** Whether spaces around a text and beside others are dropped. */
  readonly removeExtraSpaces: boolean;
  /** Whether U+2581 stands for a space. */
  readonly escapeSpaces: boolean;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const TYPES: readonly (PieceType | undefined)[] = [
  undefined,
  "normal",
  "unknown",
  "control",
  "user_defined",
  "unused",
  "byte",
];
const ALGORITHMS: Readonly<Record<number, string>> = {
  1: "unigram",
  2: "bpe",
  3: "word",
  4: "char",
};
const MOST_PIECES = 4_000_000;
const LONGEST_PIECE = 100_000;

/**
 * Reads the bytes of a tokenizer.model.
 *
 * @throws {SyntaxError} whose message says what is wrong with it.
 */
export function readSentencePieceModel(bytes: Uint8Array): SentencePieceModel {
  const pieces: Piece[] = [];
  const trainer: Uint8Array[] = [];
  const normalizer: Uint8Array[] = [];
  for (const field of protobufFields(bytes)) {
    if (field.number === 1) pieces.push(readPiece(field, pieces.length));
    if (field.number === 2) trainer.push(message(field, "trainer_spec"));
    if (field.number === 3) normalizer.push(message(field, "normalizer_spec"));
    if (pieces.length > MOST_PIECES) {
      throw new SyntaxError(
        `it has more than ${MOST_PIECES} pieces, at most that many are read`,
      );
    }
  }
  const model = {
    ...readTrainer(trainer),
    ...readNormalizer(normalizer),
    pieces,
  };
  return { ...model, unknownId: checkPieces(pieces, model.byteFallback) };
}

function readPiece(field: ProtobufField, id: number): Piece {
  const at = `piece ${id}`;
  let piece = "", score = 0, type: PieceType = "normal";
  for (const part of protobufFields(message(field, at))) {
    if (part.number === 1) piece = text(part, at);
    if (part.number === 2) score = float(part, `the score of ${at}`);
    if (part.number === 3) {
      const value = integer(part, `the type of ${at}`);
      const known = TYPES[value];
      if (known === undefined) {
        throw new SyntaxError(`${at} has the type ${value}, 1 to 6 is needed`);
      }
      type = known;
    }
  }
  if (piece === "") throw new SyntaxError(`${at} is empty, a text is needed`);
  if (piece.length > LONGEST_PIECE) {
    throw new SyntaxError(
      `${at} has ${piece.length} characters, at most ${LONGEST_PIECE} are read`,
    );
  }
  return { piece, score, type };
}

function readTrainer(
  specs: readonly Uint8Array[],
): Pick<
  SentencePieceModel,
  "algorithm" | "byteFallback" | "spaceAsSuffix" | "roles"
> {
  const found = {
    algorithm: "unigram" as "unigram" | "bpe",
    byteFallback: false,
    spaceAsSuffix: false,
    roles: { bos: 1, eos: 2, pad: -1 },
  };
  for (const field of specs.flatMap((spec) => [...protobufFields(spec)])) {
    const value = () => integer(field, `trainer_spec field ${field.number}`);
    if (field.number === 3) {
      const name = ALGORITHMS[value()];
      if (name !== "unigram" && name !== "bpe") {
        throw new SyntaxError(
          `its model type is ${
            quoted(name ?? value())
          }, "unigram" or "bpe" is needed`,
        );
      }
      found.algorithm = name;
    }
    if (field.number === 24) found.spaceAsSuffix = value() !== 0;
    if (field.number === 35) found.byteFallback = value() !== 0;
    if (field.number === 41) found.roles.bos = value();
    if (field.number === 42) found.roles.eos = value();
    if (field.number === 43) found.roles.pad = value();
  }
  return found;
}

function readNormalizer(
  specs: readonly Uint8Array[],
): Pick<
  SentencePieceModel,
  "characterMap" | "addDummyPrefix" | "removeExtraSpaces" | "escapeSpaces"
> {
  const found = {
    characterMap: null as CharacterMap | null,
    addDummyPrefix: true,
    removeExtraSpaces: true,
    escapeSpaces: true,
  };
  for (const field of specs.flatMap((spec) => [...protobufFields(spec)])) {
    const value = () => integer(field, `normalizer_spec field ${field.number}`);
    if (field.number === 2) {
      const map = message(field, "precompiled_charsmap");
      try {
        found.characterMap = map.length === 0 ? null : readCharacterMap(map);
      } catch (cause) {
        if (!(cause instanceof SyntaxError)) throw cause;
        throw new SyntaxError(
          `its character map cannot be used, ${cause.message}`,
          { cause },
        );
      }
    }
    if (field.number === 3) found.addDummyPrefix = value() !== 0;
    if (field.number === 4) found.removeExtraSpaces = value() !== 0;
    if (field.number === 5) found.escapeSpaces = value() !== 0;
  }
  return found;
}

/** The id of the unknown piece of a vocabulary that SentencePiece would load. */
function checkPieces(pieces: readonly Piece[], byteFallback: boolean): number {
  if (pieces.length === 0) {
    throw new SyntaxError(
      "it has no pieces, a model of SentencePiece is needed",
    );
  }
  const texts = new Set<string>();
  const reserved = new Set<string>();
  let unknown = -1;
  for (const [id, { piece, type }] of pieces.entries()) {
    const isText = type !== "unknown" && type !== "control" && type !== "byte";
    const seen = isText ? texts : reserved;
    if (seen.has(piece)) {
      throw new SyntaxError(
        `it has the piece ${quoted(piece)} twice, once is needed`,
      );
    }
    seen.add(piece);
    if (type === "unknown") {
      if (unknown >= 0) {
        throw new SyntaxError("it has two unknown pieces, one is needed");
      }
      unknown = id;
    }
    if (type === "byte" && !/^<0x[0-9A-F]{2}>$/.test(piece)) {
      throw new SyntaxError(
        `piece ${id} is ${quoted(piece)}, a byte such as "<0x0A>" is needed`,
      );
    }
  }
  if (unknown < 0) {
    throw new SyntaxError("it has no unknown piece, one is needed");
  }
  const bytes = pieces.filter((it) => it.type === "byte").length;
  if (byteFallback ? bytes !== 256 : bytes > 0) {
    throw new SyntaxError(
      `it has ${bytes} byte pieces, ${byteFallback ? 256 : 0} are needed`,
    );
  }
  return unknown;
}

function message({ kind, value }: ProtobufField, at: string): Uint8Array {
  if (kind === "bytes") return value as Uint8Array;
  throw new SyntaxError(`${at} is not a message, one is needed`);
}

function text(field: ProtobufField, at: string): string {
  try {
    return UTF8.decode(message(field, at));
  } catch (cause) {
    if (cause instanceof SyntaxError) throw cause;
    throw new SyntaxError(`${at} is not UTF-8, a text is needed`, { cause });
  }
}

function float({ kind, value }: ProtobufField, at: string): number {
  if (kind !== "fixed32") {
    throw new SyntaxError(`${at} is not a number, one is needed`);
  }
  const bytes = value as Uint8Array;
  const number = new DataView(bytes.buffer, bytes.byteOffset, 4)
    .getFloat32(0, true);
  if (Number.isFinite(number)) return number;
  throw new SyntaxError(`${at} is ${number}, a finite number is needed`);
}

/** A whole number of 32 bits with a sign. */
function integer({ kind, value }: ProtobufField, at: string): number {
  if (kind !== "number") {
    throw new SyntaxError(`${at} is not a whole number, one is needed`);
  }
  return Number(BigInt.asIntN(32, value as bigint));
}
