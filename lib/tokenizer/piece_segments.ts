/**
 * Cuts a text where no piece can reach across, so that each segment can be encoded
 * by itself and its ids be kept. Byte pair encoding joins neighbours to pieces of
 * the vocabulary only: where two characters stand side by side in no piece, nothing
 * is ever joined across, and what is joined on one side does not depend on the other.
 *
 * @module
 */

const LONGEST_KEPT = 64;
const MOST_KEPT = 100_000;

/** The pairs of UTF-16 code units that stand side by side in a vocabulary. */
export class PieceSegments {
  // a hash table of pairs, never more than half full; 0 is an empty place
  readonly #pairs: Uint32Array;
  readonly #mask: number;

  /** Collects the pairs of `texts`. */
  constructor(texts: readonly string[]) {
    const steps = texts.reduce((sum, text) => sum + text.length, 0);
    const slots = 2 ** Math.ceil(Math.log2(2 * steps + 2));
    this.#pairs = new Uint32Array(slots);
    this.#mask = slots - 1;
    for (const text of texts) {
      for (let i = 1; i < text.length; i++) {
        const pair = pairOf(text.charCodeAt(i - 1), text.charCodeAt(i));
        this.#pairs[this.#slot(pair)] = pair;
      }
    }
  }

  /** Where the segment of `text` ends that begins at `start`. */
  endOf(text: string, start: number): number {
    let end = start + 1;
    for (let left = text.charCodeAt(start); end < text.length; end++) {
      const right = text.charCodeAt(end);
      // a character of two code units stays whole
      const isHalf = (right & 0xfc00) === 0xdc00;
      if (!isHalf && !this.#isJoined(left, right)) break;
      left = right;
    }
    return end;
  }

  #isJoined(left: number, right: number): boolean {
    const pair = pairOf(left, right);
    // two zero units, 0, are found at any empty place: they stay together
    return this.#pairs[this.#slot(pair)] === pair;
  }

  #slot(pair: number): number {
    let slot = Math.imul(pair, 0x9e3779b1) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    while (this.#pairs[slot] !== 0 && this.#pairs[slot] !== pair) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}

function pairOf(left: number, right: number): number {
  return ((left << 16) | right) >>> 0;
}

/** Ids of texts that come again and again; emptied when it is full. */
export class KeptIds {
  readonly #ids = new Map<string, readonly number[]>();

  /** The ids of `text`, computed where they are not kept. */
  of(text: string, compute: (text: string) => number[]): readonly number[] {
    const kept = this.#ids.get(text);
    if (kept !== undefined) return kept;
    const ids = compute(text);
    if (text.length > LONGEST_KEPT) return ids;
    if (this.#ids.size >= MOST_KEPT) this.#ids.clear();
    this.#ids.set(text, ids);
    return ids;
  }
}
