/**
 * Learns a byte-pair encoding from texts (Sennrich et al., arXiv:1508.07909), in the
 * form of Llama's tokenizers: whole characters, no merge across punctuation, bytes for
 * unseen characters. The same texts give the same vocabulary. Encoding is done by the
 * tokenizers library.
 *
 * @module
 */

/** The character that replaces spaces in pieces. */
export const SPACE_PIECE = "▁";

/** Options of {@linkcode trainBpe}. */
export interface BpeTrainerOptions {
  /** Number of pieces, special tokens and bytes included. */
  readonly vocabularySize: number;
  /** Longest piece of Chinese characters; words of Latin letters have no limit. */
  readonly longestHan: number;
  /** How often a pair must occur in the texts to be merged. Default 2. */
  readonly fewest?: number;
}

/** A vocabulary and its merges. */
export interface BpeVocabulary {
  /** Pieces by id: `<unk>`, `<s>`, `</s>`, 256 bytes, characters, merges. */
  readonly pieces: readonly string[];
  /** Pairs in the order in which they are merged. */
  readonly merges: readonly (readonly [left: string, right: string])[];
}

/** A word, split into its present pieces, and how often it occurs. */
interface Word {
  parts: readonly string[];
  readonly count: number;
}

/** A pair of adjacent pieces and how often it occurs. */
interface Pair {
  readonly left: string;
  readonly right: string;
  count: number;
}

const BYTES = 256;
const WORD = /▁?\p{Script=Latin}+|\p{Script=Han}+|./gsu;

/**
 * Learns a vocabulary: every character of `texts` and of printable ASCII, then pairs,
 * the most frequent first; ties are broken by the order of their text.
 *
 * @throws {RangeError} when the characters alone do not fit.
 */
export function trainBpe(
  texts: readonly string[],
  options: BpeTrainerOptions,
): BpeVocabulary {
  const words = countWords(texts);
  const base = basePieces(words);
  const { vocabularySize, fewest = 2 } = options;
  if (base.length > vocabularySize) {
    throw new RangeError(
      `Cannot train a vocabulary of ${vocabularySize} pieces: special tokens, bytes and characters are ${base.length} already`,
    );
  }
  const pieces = new Set(base);
  const merges: [string, string][] = [];
  while (pieces.size < vocabularySize) {
    const best = bestPair(words, options.longestHan);
    if (best === null || best.count < fewest) break;
    merges.push([best.left, best.right]);
    pieces.add(best.left + best.right);
    for (const word of words) word.parts = merged(word.parts, best);
  }
  return { pieces: [...pieces], merges };
}

/** The words in `texts`, with spaces replaced and the prefix added, as a tokenizer sees them. */
function countWords(texts: readonly string[]): Word[] {
  const counts = new Map<string, number>();
  for (const text of texts) {
    const spelled = SPACE_PIECE + text.replaceAll(" ", SPACE_PIECE);
    for (const [word] of spelled.matchAll(WORD)) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return [...counts].map(([word, count]) => ({ parts: [...word], count }));
}

function basePieces(words: readonly Word[]): string[] {
  const bytes = Array.from(
    { length: BYTES },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const ascii = Array.from(
    { length: 0x7f - 0x21 },
    (_, index) => String.fromCharCode(0x21 + index),
  );
  const characters = new Set([
    SPACE_PIECE,
    ...ascii,
    ...words.flatMap(({ parts }) => parts),
  ]);
  // A line feed is encoded as its byte.
  characters.delete("\n");
  return ["<unk>", "<s>", "</s>", ...bytes, ...[...characters].sort()];
}

function bestPair(words: readonly Word[], longestHan: number): Pair | null {
  const pairs = new Map<string, Pair>();
  for (const { parts, count } of words) {
    for (let index = 1; index < parts.length; index++) {
      const left = parts[index - 1]!;
      const right = parts[index]!;
      const key = `${left} ${right}`;
      const pair = pairs.get(key);
      if (pair !== undefined) pair.count += count;
      else if (fits(left + right, longestHan)) {
        pairs.set(key, { left, right, count });
      }
    }
  }
  let best: Pair | null = null;
  for (const pair of pairs.values()) {
    if (best === null || comesBefore(pair, best)) best = pair;
  }
  return best;
}

function fits(piece: string, longestHan: number): boolean {
  return [...piece].length <= longestHan || !/\p{Script=Han}/u.test(piece);
}

function comesBefore(pair: Pair, other: Pair): boolean {
  if (pair.count !== other.count) return pair.count > other.count;
  if (pair.left !== other.left) return pair.left < other.left;
  return pair.right < other.right;
}

/** `parts` with every pair `left`, `right` merged, from left to right. */
function merged(parts: readonly string[], pair: Pair): readonly string[] {
  if (!parts.includes(pair.left)) return parts;
  const result: string[] = [];
  for (let index = 0; index < parts.length; index++) {
    const part = parts[index]!;
    const isPair = part === pair.left && parts[index + 1] === pair.right;
    result.push(isPair ? part + pair.right : part);
    if (isPair) index++;
  }
  return result;
}
