/**
 * Encodes a beginning that many texts share once for all of them, as instructions
 * and system messages are. A text may be cut between two characters that no token
 * reaches across, and whose sides the tokenizer treats alike, whatever stands on
 * the other side. Two kinds of tokenizer.json are known well enough to tell; texts
 * of others are not cut.
 *
 * @module
 */

import type { NativeEncoding, NativeTokenizer } from "./native_tokenizer.ts";
import { jsonList } from "./special_tokens.ts";
import { isJsonObject, type JsonObject } from "./tokenizer_files.ts";

/** Whether a text can be cut between two characters that stand side by side. */
type IsCut = (left: string, right: string) => boolean;

/** Shorter ones are not worth the two texts that they cost. */
const SHORTEST = 48;
const FEWEST_TEXTS = 8;
/** Where there is no place to cut in so many characters, there is hardly one farther back. */
const FARTHEST_BACK = 4096;
/** Ids that are cut off need not be made: a text this long mostly has more than are kept. */
const ENOUGH_CHARACTERS = 8192;
const CHARACTERS_PER_ID = 16;

/** Cuts texts for one tokenizer. */
export class PrefixCutter {
  readonly #isCut: IsCut;

  /** Cuts where `isCut` says; {@linkcode PrefixCutter.of} knows where that is. */
  constructor(isCut: IsCut) {
    this.#isCut = isCut;
  }

  /** For the tokenizer of a tokenizer.json; null where it is not known where texts can be cut. */
  static of(json: JsonObject): PrefixCutter | null {
    const tokens = jsonList(json["added_tokens"]);
    // such a token looks at the character beside it
    if (tokens.some((token) => token["single_word"] === true)) return null;
    const isCut = byteLevelCut(json) ?? pieceCut(json);
    if (isCut === null) return null;
    const inside = charactersInside(
      tokens.map((token) => String(token["content"])),
    );
    return new PrefixCutter((left, right) =>
      !inside.has(right) && isCut(left, right)
    );
  }

  /**
   * Encodes `texts` to the same ids and offsets as `encoder` alone. What is left of
   * each text is encoded behind the last character of the shared beginning, so that
   * nothing is added to it as at the beginning of a text.
   */
  async encodeBatch(
    texts: readonly string[],
    { encoder, addSpecialTokens }: {
      readonly encoder: Pick<NativeTokenizer, "encodeBatch">;
      readonly addSpecialTokens: boolean;
    },
  ): Promise<NativeEncoding[]> {
    const length = this.#sharedBy(texts);
    if (length === 0) {
      return await encoder.encodeBatch(texts, { addSpecialTokens });
    }
    const beginning = texts[0]!.slice(0, length);
    const anchor = beginning.slice(-1);
    const plain = await encoder.encodeBatch(
      [beginning, anchor],
      { addSpecialTokens: false },
    );
    const rest = await encoder.encodeBatch(
      texts.map((text) => text.slice(length - 1)),
      { addSpecialTokens },
    );
    const shared: Shared = {
      ids: plain[0]!.getIds(),
      offsets: plain[0]!.getOffsets?.() ?? null,
      anchorIds: plain[1]!.getIds().length,
      shift: [...beginning].length - 1,
      start: rest[0]!.getSpecialTokensMask().indexOf(0),
    };
    return rest.map((encoding) => new JoinedEncoding(shared, encoding));
  }

  /**
   * A beginning of `text` that probably has more than `maxLength` ids, which begin
   * those of `text`; `text` itself where it is short or cannot be cut.
   */
  beginning(text: string, maxLength: number): string {
    const most = Math.max(ENOUGH_CHARACTERS, CHARACTERS_PER_ID * maxLength);
    if (text.length <= most) return text;
    for (let at = most; at > most - FARTHEST_BACK; at--) {
      if (this.#isCut(text[at - 1]!, text[at]!)) return text.slice(0, at);
    }
    return text;
  }

  /** Length of the longest beginning that `texts` share and that can be cut off; 0 where there is none. */
  #sharedBy(texts: readonly string[]): number {
    const [first = ""] = texts;
    if (texts.length < FEWEST_TEXTS) return 0;
    let length = first.length;
    for (const text of texts) length = sharedLength(first, text, length);
    // something must be left of each text
    const shortest = texts.reduce(
      (least, text) => Math.min(least, text.length),
      Infinity,
    );
    for (let at = Math.min(length, shortest - 1); at >= SHORTEST; at--) {
      const anchor = first[at - 1]!;
      // the character behind may be another one in each text
      const follows = at < length
        ? [first[at]!]
        : new Set(texts.map((text) => text[at]!));
      if ([...follows].every((right) => this.#isCut(anchor, right))) return at;
    }
    return 0;
  }
}

/** The encoding of a beginning that texts share. */
interface Shared {
  readonly ids: readonly number[];
  readonly offsets: number[][] | null;
  /** Number of ids of the last character alone. */
  readonly anchorIds: number;
  /** Number of code points before the last character. */
  readonly shift: number;
  /** Number of special tokens that are added before a text. */
  readonly start: number;
}

/** The encoding of a text of which only the part after the shared beginning was encoded. */
class JoinedEncoding implements NativeEncoding {
  readonly #shared: Shared;
  readonly #rest: NativeEncoding;

  constructor(shared: Shared, rest: NativeEncoding) {
    this.#shared = shared;
    this.#rest = rest;
  }

  #joined<T>(beginning: readonly T[], rest: readonly T[]): T[] {
    const { start, anchorIds } = this.#shared;
    return rest.slice(0, start).concat(
      beginning,
      rest.slice(start + anchorIds),
    );
  }

  getIds(): number[] {
    return this.#joined(this.#shared.ids, this.#rest.getIds());
  }

  getSpecialTokensMask(): number[] {
    const { ids } = this.#shared;
    return this.#joined(
      new Array<number>(ids.length).fill(0),
      this.#rest.getSpecialTokensMask(),
    );
  }

  getOffsets(): number[][] {
    const { offsets, shift } = this.#shared;
    return this.#joined(
      offsets!,
      this.#rest.getOffsets!().map((
        [from = 0, to = 0],
      ) => [from + shift, to + shift]),
    );
  }
}

function sharedLength(one: string, other: string, most: number): number {
  if (other.startsWith(one.slice(0, most))) return most;
  let at = 0;
  while (one.charCodeAt(at) === other.charCodeAt(at)) at++;
  return at;
}

/** The characters of added tokens but their first ones: a cut before another one is inside of no token. */
function charactersInside(contents: readonly string[]): ReadonlySet<string> {
  return new Set(
    contents.flatMap((content) => [
      ...content.slice(1),
      // tokens may be looked for in the text as it is normalized
      ...content.normalize("NFC").slice(1),
    ]),
  );
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const UPPER = "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}";
const LOWER = "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}";
const PUNCTUATION_AND_SPACES =
  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/**
 * Patterns that end a word after its last letter where punctuation follows, and
 * that look at no character before the one where they begin: those of Llama 3,
 * Qwen 2, and o200k.
 */
const WORD_PATTERNS: ReadonlySet<unknown> = new Set([
  ...["\\p{N}{1,3}", "\\p{N}"].map((digits) =>
    `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}|${PUNCTUATION_AND_SPACES}`
  ),
  [
    `[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]*[${LOWER}]+${CONTRACTIONS}?`,
    `[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]+[${LOWER}]*${CONTRACTIONS}?`,
    "\\p{N}{1,3}",
    PUNCTUATION_AND_SPACES.replace("[\\r\\n]*", "[\\r\\n/]*"),
  ].join("|"),
]);

/**
 * Cuts between a letter and ASCII punctuation, for byte-level tokenizers whose
 * words end there. Left out are the apostrophe, behind which a word may go on, and
 * `<=>`, which NFC joins to what follows.
 */
function byteLevelCut(json: JsonObject): IsCut | null {
  const normalizer = partOf(json, "normalizer");
  if (normalizer !== null && normalizer["type"] !== "NFC") return null;
  if (!endsWords(partOf(json, "pre_tokenizer")) || hasDropout(json)) {
    return null;
  }
  return (left, right) => /^[!-&(-/:;?@[-`{-~]$/.test(right) && isLetter(left);
}

/** Letters that every version of Unicode counts as such, here and in the library. */
const LETTERS =
  /^[A-Za-z\u00c0-\u024f\u0391-\u03c9\u0410-\u044f\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3]$/;

function isLetter(character: string): boolean {
  return LETTERS.test(character) && /^\p{L}$/u.test(character);
}

/** Whether a pre-tokenizer ends a word between letter and punctuation. */
function endsWords(pre: JsonObject | null): boolean {
  if (pre === null) return false;
  const steps = pre["type"] === "Sequence"
    ? jsonList(pre["pretokenizers"])
    : [pre];
  const ends = steps.some((step) =>
    step["type"] === "Split" || step["use_regex"] !== false &&
      step["type"] === "ByteLevel"
  );
  return ends && steps.every((step) => {
    if (step["type"] === "ByteLevel" || step["type"] === "Digits") return true;
    const pattern = step["pattern"] as JsonObject | undefined;
    return step["type"] === "Split" && step["behavior"] === "Isolated" &&
      step["invert"] !== true && WORD_PATTERNS.has(pattern?.["Regex"]);
  });
}

/**
 * Cuts between two pieces of one character that stand side by side in no piece, for
 * byte pair encoding of whole texts as SentencePiece does it: see
 * {@linkcode PieceSegments} for the proof. Spaces are not cut at, since the
 * normalizer changes them.
 */
function pieceCut(json: JsonObject): IsCut | null {
  const model = partOf(json, "model") ?? {};
  const vocab = model["vocab"];
  const isPlain = model["type"] === "BPE" && isJsonObject(vocab) &&
    !model["ignore_merges"] && !model["continuing_subword_prefix"] &&
    !model["end_of_word_suffix"] && !hasDropout(json);
  if (!isPlain || !changesSpacesOnly(json)) return null;
  // collected when they are first asked for: few tokenizers encode many texts
  let pairs: ReadonlySet<string> | null = null;
  const isPiece = (character: string): boolean =>
    !/[\s▁\ud800-\udfff]/.test(character) && Object.hasOwn(vocab, character);
  return (left, right) => {
    if (!isPiece(left) || !isPiece(right)) return false;
    pairs ??= neighbours(Object.keys(vocab));
    return !pairs.has(left + right);
  };
}

/** All pairs of UTF-16 code units that stand side by side in `pieces`. */
function neighbours(pieces: readonly string[]): Set<string> {
  const pairs = new Set<string>();
  for (const piece of pieces) {
    for (let at = 1; at < piece.length; at++) {
      pairs.add(piece.slice(at - 1, at + 1));
    }
  }
  return pairs;
}

/** Whether nothing is done to a text but to its spaces and its beginning. */
function changesSpacesOnly(json: JsonObject): boolean {
  const normalizer = partOf(json, "normalizer");
  const steps = normalizer?.["type"] === "Sequence"
    ? jsonList(normalizer["normalizers"])
    : normalizer === null
    ? []
    : [normalizer];
  const isOfSpaces = (step: JsonObject): boolean =>
    (step["pattern"] as JsonObject | undefined)?.["String"] === " ";
  const pre = partOf(json, "pre_tokenizer");
  return steps.every((step) =>
    step["type"] === "Prepend" || step["type"] === "Replace" && isOfSpaces(step)
  ) &&
    (pre === null || pre["type"] === "Metaspace" ||
      pre["type"] === "Split" && isOfSpaces(pre));
}

function hasDropout(json: JsonObject): boolean {
  return Boolean(partOf(json, "model")?.["dropout"]);
}

function partOf(json: JsonObject, name: string): JsonObject | null {
  const part = json[name];
  return isJsonObject(part) ? part : null;
}
