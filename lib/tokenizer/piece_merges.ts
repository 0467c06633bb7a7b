/**
 * Byte pair encoding as SentencePiece and tiktoken do it: of all neighbours that
 * make a piece, the pair with the best piece is joined first, of equal ones the
 * leftmost. (A tokenizer.json ranks pairs instead, which breaks ties otherwise.)
 *
 * @module
 */

/** What joins what. */
export interface Merging {
  /** How good a joined piece is, higher is better; undefined when it is none. */
  scoreOf(piece: string): number | undefined;
  /** Told of each pair that could be joined, for pieces that are cut again. */
  onPair?(piece: string, left: string, right: string): void;
}

/** Joins `symbols`, the first cut of a text, as far as it goes. */
export function merged(
  symbols: readonly string[],
  merging: Merging,
  frozen?: readonly boolean[],
): string[] {
  const pieces: (string | null)[] = [...symbols];
  const before = Int32Array.from(symbols, (_, i) => i - 1);
  const after = Int32Array.from(symbols, (_, i) => i + 1);
  const queue = new PairQueue();
  const offer = (left: number, right: number): void => {
    if (left < 0 || right >= pieces.length) return;
    if (frozen?.[left] || frozen?.[right]) return;
    const piece = pieces[left]! + pieces[right]!;
    const score = merging.scoreOf(piece);
    if (score === undefined) return;
    merging.onPair?.(piece, pieces[left]!, pieces[right]!);
    queue.push({ left, right, score, length: piece.length });
  };
  for (let i = 1; i < pieces.length; i++) offer(i - 1, i);
  for (let pair = queue.pop(); pair !== undefined; pair = queue.pop()) {
    const { left, right } = pair;
    const first = pieces[left]!, second = pieces[right]!;
    // one side has been joined to another since
    if (first === null || second === null) continue;
    if (first.length + second.length !== pair.length) continue;
    pieces[left] = first + second;
    pieces[right] = null;
    after[left] = after[right]!;
    if (after[left]! < pieces.length) before[after[left]!] = left;
    offer(before[left]!, left);
    offer(left, after[left]!);
  }
  return pieces.filter((piece) => piece !== null);
}

interface Pair {
  readonly left: number;
  readonly right: number;
  readonly score: number;
  readonly length: number;
}

/** A binary heap: the best pair first, of equal ones the leftmost. */
class PairQueue {
  readonly #heap: Pair[] = [];

  push(pair: Pair): void {
    const heap = this.#heap;
    let at = heap.push(pair) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(pair, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = pair;
  }

  pop(): Pair | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) {
      return first;
    }
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (
        child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)
      ) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(one: Pair, other: Pair): boolean {
  return one.score !== other.score
    ? one.score > other.score
    : one.left < other.left;
}
