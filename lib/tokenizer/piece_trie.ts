/**
 * A trie over texts with ids: which of them begin at a place of a text. Nodes and
 * steps are in flat arrays, so a vocabulary of 250,000 pieces takes little room.
 *
 * @module
 */

/** Finds the texts that begin at a place. */
export class PieceTrie {
  // a hash table from (node, code unit) to the next node
  readonly #nodes: Int32Array;
  readonly #units: Uint16Array;
  readonly #next: Int32Array;
  readonly #ids: Int32Array;
  readonly #mask: number;
  // the steps from the root, by code unit: most steps that lead nowhere are these
  readonly #first = new Int32Array(0x10000).fill(-1);
  #size = 1;

  /** Builds the trie of `[text, id]`; no text is empty and none comes twice. */
  constructor(texts: ReadonlyArray<readonly [string, number]>) {
    const steps = texts.reduce((sum, [text]) => sum + text.length, 0);
    const slots = 2 ** Math.ceil(Math.log2(2 * steps + 2));
    this.#mask = slots - 1;
    this.#nodes = new Int32Array(slots).fill(-1);
    this.#units = new Uint16Array(slots);
    this.#next = new Int32Array(slots);
    this.#ids = new Int32Array(steps + 1).fill(-1);
    for (const [text, id] of texts) {
      let node = 0;
      for (let i = 0; i < text.length; i++) {
        node = this.#grow(node, text.charCodeAt(i));
      }
      this.#ids[node] = id;
    }
  }

  /** The node behind `node` (0 is the root) for a code unit, -1 for none. */
  step(node: number, unit: number): number {
    if (node === 0) return this.#first[unit]!;
    const slot = this.#slot(node, unit);
    return this.#nodes[slot] === -1 ? -1 : this.#next[slot]!;
  }

  /** The id of the text that ends at a node, -1 for none. */
  idAt(node: number): number {
    return this.#ids[node]!;
  }

  /** Length of the longest text that begins at `start` of `text`, 0 for none. */
  longestAt(text: string, start: number): number {
    let length = 0;
    let node = 0;
    if (this.#size === 1) return 0;
    for (let at = start; at < text.length; at++) {
      node = this.step(node, text.charCodeAt(at));
      if (node < 0) break;
      if (this.#ids[node]! >= 0) length = at + 1 - start;
    }
    return length;
  }

  #grow(node: number, unit: number): number {
    const slot = this.#slot(node, unit);
    if (this.#nodes[slot] === -1) {
      this.#nodes[slot] = node;
      this.#units[slot] = unit;
      this.#next[slot] = this.#size++;
      if (node === 0) this.#first[unit] = this.#next[slot]!;
    }
    return this.#next[slot]!;
  }

  /** Where a step is kept, or would be: the table is never more than half full. */
  #slot(node: number, unit: number): number {
    let slot = (Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)) >>>
      0;
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    while (
      this.#nodes[slot] !== -1 &&
      (this.#nodes[slot] !== node || this.#units[slot] !== unit)
    ) slot = (slot + 1) & this.#mask;
    return slot;
  }
}
