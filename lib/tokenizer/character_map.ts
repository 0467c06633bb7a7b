/**
 * The character map that SentencePiece puts into its models and a tokenizer.json
 * carries as `precompiled_charsmap`: a double-array trie from bytes to places in a
 * text of replacements. The library reads it without looking where it reads, so
 * every place that a text could lead to is looked at here first.
 *
 * @module
 */

// A unit of the trie, as in Darts-clone: label, whether a value follows, distance
const LABEL = 0x800000ff;
const HAS_VALUE = 1 << 8;
const IS_FAR = 1 << 9;
const VALUE = 0x7fffffff;
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** A character map that the library can read. */
export interface CharacterMap {
  /**
   * The longest rule for the bytes of a text from `start` on: how many bytes it
   * replaces, and by what; null when there is none.
   */
  longestRule(
    text: Uint8Array,
    start: number,
  ): { readonly length: number; readonly replacement: string } | null;
  /** The bytes in base64, as the library wants them. */
  readonly base64: string;
  /** The most bytes that stand for one byte of a text. */
  readonly growth: number;
}

/**
 * Reads a character map, from its bytes or from their base64.
 *
 * @throws {SyntaxError} whose message says what is wrong with it.
 */
export function readCharacterMap(content: string | Uint8Array): CharacterMap {
  const bytes = typeof content === "string" ? bytesOf(content) : content;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bytes.length < 4 ? 0 : view.getUint32(0, true);
  if (size < 1024 || 4 + size > bytes.length) {
    throw new SyntaxError(
      `its trie has ${size} bytes and ${
        Math.max(0, bytes.length - 4)
      } are there, it is cut short or no map of SentencePiece's`,
    );
  }
  const units = new Uint32Array(Math.floor(size / 4));
  for (let i = 0; i < units.length; i++) {
    units[i] = view.getUint32(4 + 4 * i, true);
  }
  const texts = bytes.subarray(4 + 4 * units.length);
  checkText(texts);
  return {
    base64: bytes.toBase64(),
    growth: longestText(placesIn(units), texts),
    longestRule: (text, start) => longestRule(units, texts, text, start),
  };
}

function bytesOf(base64: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" });
  } catch (cause) {
    throw new SyntaxError("it is not base64", { cause });
  }
}

/** Walks the trie along the text; every place was looked at before. */
function longestRule(
  units: Uint32Array,
  texts: Uint8Array,
  text: Uint8Array,
  start: number,
): ReturnType<CharacterMap["longestRule"]> {
  let node = distance(units[0]!);
  let length = 0;
  let place = -1;
  for (let at = start; at < text.length; at++) {
    const byte = text[at]!;
    const unit = units[node ^ byte]!;
    if (byte === 0 || (unit & LABEL) !== byte) break;
    node = (node ^ byte ^ distance(unit)) >>> 0;
    if ((unit & HAS_VALUE) === 0) continue;
    length = at + 1 - start;
    place = units[node]! & VALUE;
  }
  if (place < 0) return null;
  const end = texts.indexOf(0, place);
  const replacement = texts.subarray(place, end < 0 ? texts.length : end);
  return { length, replacement: UTF8.decode(replacement) };
}

function checkText(texts: Uint8Array): void {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(texts);
  } catch (cause) {
    throw new SyntaxError("its replacements are not UTF-8", { cause });
  }
}

/** The places of replacements that the trie leads to, by walking all of it. */
function placesIn(units: Uint32Array): Set<number> {
  const places = new Set<number>();
  const first = distance(units[0]!);
  const open = [first];
  const seen = new Set<number>(open);
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    // any byte of a text is tried here, which changes the lowest eight bits
    if ((node | 0xff) >= units.length) throw leadsOutside();
    for (let byte = 1; byte <= 0xff; byte++) {
      const unit = units[node ^ byte]!;
      if ((unit & LABEL) !== byte) continue;
      const next = (node ^ byte ^ distance(unit)) >>> 0;
      if (unit & HAS_VALUE) {
        if (next >= units.length) throw leadsOutside();
        places.add(units[next]! & VALUE);
      }
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return places;
}

function distance(unit: number): number {
  return ((unit >>> 10) << (unit & IS_FAR ? 8 : 0)) >>> 0;
}

function leadsOutside(): SyntaxError {
  return new SyntaxError("its trie leads outside itself");
}

/** Bytes of the longest replacement; each ends with a zero or where all end. */
function longestText(places: Iterable<number>, texts: Uint8Array): number {
  let longest = 1;
  for (const place of places) {
    const isInside = place <= texts.length &&
      (place === texts.length || (texts[place]! & 0xc0) !== 0x80);
    if (!isInside) {
      throw new SyntaxError("its trie names a replacement that is not there");
    }
    const end = texts.indexOf(0, place);
    longest = Math.max(longest, (end < 0 ? texts.length : end) - place);
  }
  return longest;
}
