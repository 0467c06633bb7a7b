/**
 * Vocabularies as tiktoken keeps them: a line for each token, its bytes in base64
 * and its rank, which is its id. A text is cut by a pattern, each part into bytes,
 * and neighbours are joined, the lowest rank first.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import { merged } from "./piece_merges.ts";
import { KeptIds } from "./piece_segments.ts";
import type { Vocabulary } from "./vocabulary_tokenizer.ts";

const LINE = /^([A-Za-z0-9+/]+={0,2}) (\d{1,9})$/;
const MOST_TOKENS = 4_000_000;

/** How a class cuts texts before it joins bytes. */
export interface TiktokenRules {
  /** The parts of a text, in JavaScript's notation with the flags `gu`. */
  readonly pattern: string;
  /** Whether a text is composed (NFC) first. */
  readonly composes: boolean;
  /** Whether ids without a token count in the number of ids. */
  readonly countsGaps: boolean;
}

/** Whether a file is a list of tokens in base64. */
export function isTiktoken(bytes: Uint8Array): boolean {
  const start = new TextDecoder().decode(bytes.subarray(0, 1000));
  return LINE.test(start.split(/\r?\n/)[0]!);
}

/**
 * Ranks of tokens, whose bytes are written as characters below U+0100.
 *
 * @throws {SyntaxError} whose message says which line is wrong.
 */
export function readTiktoken(bytes: Uint8Array): Map<string, number> {
  const ranks = new Map<string, number>();
  const seen = new Set<number>();
  const lines = new TextDecoder().decode(bytes).split("\n");
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const [, base64, rank] = LINE.exec(line.trim()) ?? [];
    const token = base64 === undefined ? null : binaryOf(base64);
    if (token === null) {
      throw new SyntaxError(
        `line ${i + 1} is ${
          quoted(line.slice(0, 80))
        }, a token in base64 and its rank are needed`,
      );
    }
    if (ranks.has(token) || seen.has(Number(rank))) {
      throw new SyntaxError(
        `line ${
          i + 1
        } has a token or a rank that was there before, each once is needed`,
      );
    }
    ranks.set(token, Number(rank));
    seen.add(Number(rank));
    if (ranks.size > MOST_TOKENS) {
      throw new SyntaxError(
        `there are more than ${MOST_TOKENS} tokens, at most that many are read`,
      );
    }
  }
  for (let byte = 0; byte < 256; byte++) {
    if (!ranks.has(String.fromCharCode(byte))) {
      throw new SyntaxError(
        `there is no token for the byte ${byte}, one for each is needed`,
      );
    }
  }
  return ranks;
}

/** Puts ranks to use. */
export function tiktokenVocabulary(
  ranks: ReadonlyMap<string, number>,
  rules: TiktokenRules,
): Vocabulary {
  const pattern = new RegExp(rules.pattern, "gu");
  const tokens = new Map([...ranks].map(([token, rank]) => [rank, token]));
  const scoreOf = (piece: string): number | undefined => {
    const rank = ranks.get(piece);
    return rank === undefined ? undefined : -rank;
  };
  const kept = new KeptIds();
  const idsOf = (part: string): number[] => {
    const piece = binary(new TextEncoder().encode(part));
    const id = ranks.get(piece);
    if (id !== undefined) return [id];
    return merged([...piece], { scoreOf }).map((token) => ranks.get(token)!);
  };
  return {
    size: ranks.size,
    countsGaps: rules.countsGaps,
    prepare: (text) => rules.composes ? text.normalize("NFC") : text,
    encode: (text) => {
      const ids: number[] = [];
      for (const [part] of text.matchAll(pattern)) {
        for (const id of kept.of(part, idsOf)) ids.push(id);
      }
      return ids;
    },
    finish: (ids) => ids,
    tokenOf: (id) => tokens.get(id),
    idOf: (token) => ranks.get(token),
    decode: (parts, isAdded) => {
      let bytes = "";
      for (const part of parts) {
        const isBytes = !isAdded(part) && ranks.has(part);
        bytes += isBytes ? part : binary(new TextEncoder().encode(part));
      }
      const all = Uint8Array.from(bytes, (it) => it.charCodeAt(0));
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(all);
    },
  };
}

function binaryOf(base64: string): string | null {
  try {
    return binary(
      Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" }),
    );
  } catch {
    return null;
  }
}

/** Bytes as characters below U+0100. */
function binary(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
