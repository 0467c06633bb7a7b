/**
 * SentencePiece's own ids of a text, and text of its pieces: normalized, cut by
 * byte pairs or by the best path of a unigram model, unknown characters as bytes
 * (`bpe_model.cc`, `unigram_model.cc`, `sentencepiece_processor.cc`, 0.2.2).
 *
 * @module
 */

import { PieceJoiner } from "./piece_joiner.ts";
import { merged, type Merging } from "./piece_merges.ts";
import { KeptIds, PieceSegments } from "./piece_segments.ts";
import { PieceTrie } from "./piece_trie.ts";
import type { SentencePieceModel } from "./sentencepiece_model.ts";
import { normalized, SPACE, utf8Length } from "./sentencepiece_normalizer.ts";

// how much worse an unknown character is than the worst piece
const UNKNOWN_PENALTY = 10;
const BYTE = /^<0x([0-9A-F]{2})>$/;
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });
const FLT_MAX = 3.4028234663852886e38;
// what a byte after the first adds to a text that users defined: no cut through it
const SYMBOL_BONUS = Math.fround(0.1);

/** A SentencePiece model at work. */
export class SentencePiece {
  /** The model. */
  readonly model: SentencePieceModel;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #symbols: PieceTrie;
  readonly #trie: PieceTrie | null;
  readonly #bytes: readonly number[];
  readonly #unknownScore: number;
  readonly #segments: PieceSegments | null;
  readonly #kept = new KeptIds();
  readonly #joiner: PieceJoiner | null;
  #symbolIds = new Int32Array(64);
  readonly #scores: Float64Array;
  // for each piece: 1 for a text that users defined, 2 for one out of use
  readonly #kinds: Uint8Array;

  /** Gets a model ready to cut texts. */
  constructor(model: SentencePieceModel) {
    this.model = model;
    const entries = [...model.pieces.entries()];
    const texts = entries.filter(([, { type }]) =>
      type === "normal" || type === "user_defined" || type === "unused"
    ).map(([id, { piece }]) => [piece, id] as const);
    this.#ids = new Map(texts);
    this.#symbols = new PieceTrie(
      texts.filter(([, id]) => model.pieces[id]!.type === "user_defined"),
    );
    this.#trie = model.algorithm === "unigram" ? new PieceTrie(texts) : null;
    this.#scores = Float64Array.from(model.pieces, ({ score }) => score);
    this.#kinds = Uint8Array.from(
      model.pieces,
      ({ type }) => type === "user_defined" ? 1 : type === "unused" ? 2 : 0,
    );
    const bytes = new Map(
      entries.filter(([, { type }]) => type === "byte")
        .map(([id, { piece }]) => [Number(piece.slice(1, -1)), id]),
    );
    this.#bytes = Array.from({ length: 256 }, (_, byte) => bytes.get(byte)!);
    const worst = model.pieces.reduce(
      (least, { type, score }) =>
        type === "normal" ? Math.min(least, score) : least,
      FLT_MAX,
    );
    const hasUnused = model.pieces.some(({ type }) => type === "unused");
    // how a piece out of use is cut again depends on the whole text
    this.#segments = this.#trie !== null || hasUnused
      ? null
      : new PieceSegments(texts.map(([piece]) => piece));
    this.#joiner = this.#segments === null
      ? null
      : new PieceJoiner(model.pieces, this.#ids);
    this.#unknownScore = Math.fround(worst - UNKNOWN_PENALTY);
  }

  /** Ids of a text; with `addDummyPrefix` other than the model's when given. */
  encode(text: string, addDummyPrefix?: boolean): number[] {
    const settings = addDummyPrefix === undefined
      ? this.model
      : { ...this.model, addDummyPrefix };
    const input = normalized(text.toWellFormed(), settings, this.#symbols);
    const ids: number[] = [];
    const { unknownId } = this.model;
    const add = (piece: string, id: number): void => {
      if (id !== unknownId) ids.push(id);
      else this.#addUnknown(piece, ids);
    };
    if (this.#trie !== null) this.#cutByPath(input, this.#trie, add);
    else if (this.#segments === null) this.#cutByPairs(input, add);
    else this.#cutBySegments(input, this.#segments, ids);
    return ids;
  }

  /** Bytes of what is unknown, or one id for all of it that stands together. */
  #addUnknown(piece: string, ids: number[]): void {
    const { unknownId, byteFallback } = this.model;
    if (byteFallback) {
      for (const byte of new TextEncoder().encode(piece)) {
        ids.push(this.#bytes[byte]!);
      }
    } else if (ids.at(-1) !== unknownId) ids.push(unknownId);
  }

  /** Text of pieces; those that `isAdded` tells stand for themselves. */
  decode(
    tokens: readonly string[],
    isAdded: (token: string) => boolean = () => false,
  ): string {
    const { addDummyPrefix, removeExtraSpaces } = this.model;
    let text = "";
    let bytes: number[] = [];
    // the space that was put before the text, or was dropped there, goes
    let atStart = addDummyPrefix || removeExtraSpaces;
    const flush = (): void => {
      text += textOfBytes(bytes);
      bytes = [];
    };
    for (const token of tokens) {
      const byte = this.model.byteFallback && BYTE.exec(token);
      if (byte) {
        bytes.push(parseInt(byte[1]!, 16));
        continue;
      }
      flush();
      if (text !== "") atStart = false;
      if (isAdded(token)) {
        text += token;
        continue;
      }
      const drops = atStart && token.startsWith(SPACE);
      text += (drops ? token.slice(1) : token).replaceAll(SPACE, " ");
      if (drops && !removeExtraSpaces) atStart = false;
    }
    flush();
    return text;
  }

  /** Byte pairs where none of them was cut again: segment by segment. */
  #cutBySegments(text: string, segments: PieceSegments, ids: number[]): void {
    const { unknownId } = this.model;
    const compute = (segment: string): number[] => this.#joined(segment);
    for (let at = 0; at < text.length;) {
      const end = segments.endOf(text, at);
      for (const id of this.#kept.of(text.slice(at, end), compute)) {
        // what is unknown may go on from one segment to the next
        if (id !== unknownId || ids.at(-1) !== unknownId) ids.push(id);
      }
      at = end;
    }
  }

  /** Ids of a segment. */
  #joined(segment: string): number[] {
    const { pieces } = this.model;
    const joiner = this.#joiner!;
    if (this.#symbolIds.length < segment.length) {
      this.#symbolIds = new Int32Array(2 * segment.length);
    }
    const symbols = this.#symbolIds;
    let count = 0;
    for (let at = 0; at < segment.length;) {
      const length = this.#symbols.longestAt(segment, at) ||
        (segment.codePointAt(at)! > 0xffff ? 2 : 1);
      symbols[count++] = joiner.idOf(segment.slice(at, at + length));
      at += length;
    }
    count = joiner.join(symbols, count);
    const ids: number[] = [];
    for (let i = 0; i < count; i++) {
      const id = symbols[i]!;
      if (id < pieces.length) ids.push(id);
      else this.#addUnknown(joiner.textOf(id), ids);
    }
    return ids;
  }

  /** Byte pairs where some pieces are out of use. */
  #cutByPairs(text: string, add: (piece: string, id: number) => void): void {
    const { pieces, unknownId } = this.model;
    const symbols: string[] = [];
    const frozen: boolean[] = [];
    for (let at = 0; at < text.length;) {
      const symbol = this.#symbols.longestAt(text, at);
      const length = symbol || (text.codePointAt(at)! > 0xffff ? 2 : 1);
      symbols.push(text.slice(at, at + length));
      frozen.push(symbol > 0);
      at += length;
    }
    const sides = new Map<string, readonly [string, string]>();
    const merging: Merging = {
      scoreOf: (piece) => {
        const id = this.#ids.get(piece);
        return id === undefined ? undefined : pieces[id]!.score;
      },
      onPair: (piece, left, right) => {
        if (pieces[this.#ids.get(piece)!]!.type !== "unused") return;
        sides.set(piece, [left, right]);
      },
    };
    // pieces out of use are cut again, down to those in use
    const addUsed = (piece: string): void => {
      const id = this.#ids.get(piece) ?? unknownId;
      const halves = pieces[id]!.type === "unused"
        ? sides.get(piece)
        : undefined;
      if (halves === undefined) return add(piece, id);
      addUsed(halves[0]);
      addUsed(halves[1]);
    };
    for (const piece of merged(symbols, merging, frozen)) addUsed(piece);
  }

  #isSymbol(id: number): boolean {
    return this.#kinds[id] === 1;
  }

  #isUnused(id: number): boolean {
    return this.#kinds[id] === 2;
  }

  /** The best path (Viterbi): scores are added as 32-bit floats, as there. */
  #cutByPath(
    text: string,
    trie: PieceTrie,
    add: (piece: string, id: number) => void,
  ): void {
    const { unknownId } = this.model;
    const scores = new Float32Array(text.length + 1);
    const starts = new Int32Array(text.length + 1).fill(-1);
    const ids = new Int32Array(text.length + 1);
    for (let start = 0; start < text.length;) {
      const width = isPair(text, start) ? 2 : 1;
      const before = scores[start]!;
      let hasCharacter = false;
      let node = 0;
      for (let end = start; end < text.length;) {
        node = trie.step(node, text.charCodeAt(end));
        if (node < 0) break;
        end++;
        // no piece ends within a character
        const id = trie.idAt(node);
        if (id < 0 || this.#isUnused(id)) continue;
        if (end - start === width) hasCharacter = true;
        const score = this.#isSymbol(id)
          ? SYMBOL_BONUS * (utf8Length(text.slice(start, end)) - 1)
          : this.#scores[id]!;
        const sum = Math.fround(score + before);
        if (starts[end] !== -1 && sum <= scores[end]!) continue;
        scores[end] = sum;
        starts[end] = start;
        ids[end] = id;
      }
      const end = start + width;
      if (!hasCharacter) {
        const sum = Math.fround(this.#unknownScore + before);
        if (starts[end] === -1 || sum > scores[end]!) {
          scores[end] = sum;
          starts[end] = start;
          ids[end] = unknownId;
        }
      }
      start = end;
    }
    const path: number[] = [];
    for (let end = text.length; end > 0; end = starts[end]!) path.push(end);
    for (const end of path.reverse()) {
      add(text.slice(starts[end]!, end), ids[end]!);
    }
  }
}

/** Whether a character of two code units begins at a place. */
function isPair(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800;
}

/** Text of bytes, with U+FFFD for each byte that belongs to no character. */
function textOfBytes(bytes: readonly number[]): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const lead = bytes[at]!;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const character = UTF8.decode(
      Uint8Array.from(bytes.slice(at, at + length)),
    );
    const isWhole = utf8Length(character) === length &&
      (character !== "\ufffd" || lead === 0xef) && [...character].length === 1;
    text += isWhole ? character : "\ufffd";
    at += isWhole ? length : 1;
  }
  return text;
}
