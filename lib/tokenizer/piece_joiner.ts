/**
 * Byte pair encoding of SentencePiece with ids in place of texts: which piece two
 * neighbours make is looked up once and kept by their ids, and pairs that wait are
 * in flat arrays. The rules are those of {@linkcode merged}: the best score first,
 * of equal ones the leftmost.
 *
 * @module
 */

import type { Piece } from "./sentencepiece_model.ts";

const NOT_LOOKED_UP = -2;
const NONE = -1;
// a table of pairs that is half full with this many is emptied
const MOST_PAIRS = 2 ** 19;

/** Joins the characters of a text to pieces. */
export class PieceJoiner {
  readonly #ids: ReadonlyMap<string, number>;
  readonly #isFrozen: (id: number) => boolean;
  readonly #scores: Float64Array;
  // characters that are no piece have ids behind the pieces'
  readonly #texts: string[];
  readonly #others = new Map<string, number>();
  readonly #ofUnit = new Int32Array(0x10000).fill(NOT_LOOKED_UP);
  readonly #pairs = new PairTable();
  #before = new Int32Array(0);
  #after = new Int32Array(0);
  readonly #queue = new PairQueue();

  /** `ids` are those of the pieces that can stand in a text. */
  constructor(pieces: readonly Piece[], ids: ReadonlyMap<string, number>) {
    this.#ids = ids;
    this.#texts = pieces.map(({ piece }) => piece);
    this.#scores = Float64Array.from(pieces, ({ score }) => score);
    this.#isFrozen = (id) => pieces[id]?.type === "user_defined";
  }

  /** The id of a text that a symbol starts as; one of its own where it is no piece. */
  idOf(symbol: string): number {
    const unit = symbol.length === 1 ? symbol.charCodeAt(0) : NONE;
    if (unit >= 0 && this.#ofUnit[unit] !== NOT_LOOKED_UP) {
      return this.#ofUnit[unit]!;
    }
    const id = this.#ids.get(symbol) ?? this.#otherId(symbol);
    if (unit >= 0) this.#ofUnit[unit] = id;
    return id;
  }

  /** The text of an id. */
  textOf(id: number): string {
    return this.#texts[id]!;
  }

  /** Joins the first `count` of `symbols` in place as far as it goes; gives their new number. */
  join(symbols: Int32Array, count: number): number {
    if (count < 2) return count;
    this.#makeRoom(count);
    const before = this.#before, after = this.#after, queue = this.#queue;
    const offer = (left: number, right: number): void => {
      const first = symbols[left]!, second = symbols[right]!;
      const joined = this.#joined(first, second);
      if (joined === NONE) return;
      const pair = queue.push(left, this.#scores[joined]!);
      queue.firsts[pair] = first;
      queue.seconds[pair] = second;
      queue.joined[pair] = joined;
    };
    for (let i = 0; i < count; i++) {
      before[i] = i - 1;
      after[i] = i + 1;
    }
    for (let i = 1; i < count; i++) offer(i - 1, i);
    for (let pair = queue.pop(); pair !== NONE; pair = queue.pop()) {
      const left = queue.lefts[pair]!;
      // one side has been joined to another since
      if (symbols[left] !== queue.firsts[pair]) continue;
      const right = after[left]!;
      if (right >= count || symbols[right] !== queue.seconds[pair]) continue;
      symbols[left] = queue.joined[pair]!;
      symbols[right] = NONE;
      const next = after[right]!;
      after[left] = next;
      if (next < count) before[next] = left;
      if (before[left]! >= 0) offer(before[left]!, left);
      if (next < count) offer(left, next);
    }
    let kept = 0;
    for (let i = 0; i < count; i++) {
      if (symbols[i] !== NONE) symbols[kept++] = symbols[i]!;
    }
    return kept;
  }

  #otherId(symbol: string): number {
    const known = this.#others.get(symbol);
    if (known !== undefined) return known;
    const id = this.#texts.push(symbol) - 1;
    this.#others.set(symbol, id);
    return id;
  }

  /** The id of the piece that two symbols make, -1 for none. */
  #joined(first: number, second: number): number {
    const kept = this.#pairs.get(first, second);
    if (kept !== NOT_LOOKED_UP) return kept;
    // what users defined is not joined to anything
    const found = this.#isFrozen(first) || this.#isFrozen(second)
      ? NONE
      : this.#ids.get(this.#texts[first]! + this.#texts[second]!) ?? NONE;
    this.#pairs.set(first, second, found);
    return found;
  }

  #makeRoom(count: number): void {
    if (this.#before.length >= count) return;
    this.#before = new Int32Array(2 * count);
    this.#after = new Int32Array(2 * count);
  }
}

/** A hash table from two ids to the piece that they make. */
class PairTable {
  #slots = 2 ** 14;
  #keys = new Int32Array(2 * this.#slots).fill(NONE);
  #values = new Int32Array(this.#slots);
  #size = 0;

  get(first: number, second: number): number {
    const slot = this.#slot(first, second);
    return this.#keys[2 * slot] === NONE ? NOT_LOOKED_UP : this.#values[slot]!;
  }

  set(first: number, second: number, value: number): void {
    if (2 * this.#size >= this.#slots) this.#grow();
    const slot = this.#slot(first, second);
    this.#keys[2 * slot] = first;
    this.#keys[2 * slot + 1] = second;
    this.#values[slot] = value;
    this.#size++;
  }

  #grow(): void {
    const keys = this.#keys, values = this.#values;
    const isFull = this.#size >= MOST_PAIRS;
    if (!isFull) this.#slots *= 4;
    this.#keys = new Int32Array(2 * this.#slots).fill(NONE);
    this.#values = new Int32Array(this.#slots);
    this.#size = 0;
    if (isFull) return;
    for (const [slot, value] of values.entries()) {
      if (keys[2 * slot] === NONE) continue;
      this.set(keys[2 * slot]!, keys[2 * slot + 1]!, value);
    }
  }

  #slot(first: number, second: number): number {
    const mask = this.#slots - 1;
    let slot =
      (Math.imul(first, 0x9e3779b1) ^ Math.imul(second, 0x85ebca6b)) >>>
      0;
    slot = (slot ^ (slot >>> 15)) & mask;
    while (
      this.#keys[2 * slot] !== NONE &&
      (this.#keys[2 * slot] !== first || this.#keys[2 * slot + 1] !== second)
    ) slot = (slot + 1) & mask;
    return slot;
  }
}

/** A binary heap of pairs: the best score first, of equal ones the leftmost. */
class PairQueue {
  lefts = new Int32Array(64);
  firsts = new Int32Array(64);
  seconds = new Int32Array(64);
  joined = new Int32Array(64);
  #scores = new Float64Array(64);
  #heap = new Int32Array(64);
  #size = 0;
  #count = 0;

  /** The place of a new pair, whose other fields the caller sets. */
  push(left: number, score: number): number {
    if (this.#count === this.lefts.length) this.#grow();
    const pair = this.#count++;
    this.lefts[pair] = left;
    this.#scores[pair] = score;
    const heap = this.#heap;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(pair, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = pair;
    return pair;
  }

  /** The place of the best pair, -1 when none waits. */
  pop(): number {
    if (this.#size === 0) {
      this.#count = 0;
      return NONE;
    }
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap[--this.#size]!;
    let at = 0;
    for (let child = 1; child < this.#size; child = 2 * at + 1) {
      if (
        child + 1 < this.#size && this.#isBefore(heap[child + 1]!, heap[child]!)
      ) child++;
      if (!this.#isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }

  #isBefore(one: number, other: number): boolean {
    const a = this.#scores[one]!, b = this.#scores[other]!;
    return a !== b ? a > b : this.lefts[one]! < this.lefts[other]!;
  }

  #grow(): void {
    const wider = (from: Int32Array): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(2 * from.length);
      to.set(from);
      return to;
    };
    this.lefts = wider(this.lefts);
    this.firsts = wider(this.firsts);
    this.seconds = wider(this.seconds);
    this.joined = wider(this.joined);
    this.#heap = wider(this.#heap);
    const scores = new Float64Array(this.lefts.length);
    scores.set(this.#scores);
    this.#scores = scores;
  }
}
