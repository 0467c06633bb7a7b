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

/** A character map that the library can read. */
export interface CharacterMap {
  /** The bytes in base64, as the library wants them. */
  readonly base64: string;
  /** The most bytes that stand for one byte of a text. */
  readonly growth: number;
}

/**
 * Reads a character map.
 *
 * @throws {SyntaxError} whose message says what is wrong with it.
 */
export function readCharacterMap(base64: string): CharacterMap {
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" });
  } catch (cause) {
    throw new SyntaxError("it is not base64", { cause });
  }
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
  };
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
