/**
 * Random components of a tokenizer.json for the mutants: of every type, with
 * values that are harmless, odd or deadly.
 *
 * @module
 */

import type { Dice, Json } from "./mutants.ts";

/** Patterns of every kind: harmless, invalid, without end. */
const PATTERNS = [
  "",
  "a",
  "a*",
  "(a+)+$",
  "(a|aa)+$",
  "(a|a)*b",
  "[",
  "(",
  "a{2",
  "a{100000}",
  "(?<=a+)b",
  "\\s*\\s*\\s*x",
  "\\p{L}+\\p{L}+\\p{L}+1",
  "(?>a+)+b",
  "a++b",
  "(\\w+\\s?)+$",
  "^(([a-z])+.)+[A-Z]([a-z])+$",
  "(?i)A+",
  "\\b",
  "$",
  "^",
  ".",
  "(?=a)",
  "(?!a)",
  "\\X+",
  "\\R*",
  "(.*)(.*)(.*)x",
  "(?:(?:a{1,30}){1,30}){1,30}",
  "\\1",
  "\\g<0>",
  "(?~x)",
  "\\K",
  "a?".repeat(30) + "a".repeat(30),
  "(".repeat(300) + ")".repeat(300),
  "\\p{Nope}",
  "[[:alpha:]&&[^a]]+|.",
  "\\h+",
  "(?#x)a",
];

const split = [
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
];
const metaspace = (dice: Dice): Json => ({
  type: "Metaspace",
  replacement: dice.pick(["▁", " ", "a", "\u{20bb7}", "ab", ""]),
  prepend_scheme: dice.pick(["first", "always", "never"]),
  split: dice.pick([true, false]),
});
const pattern = (dice: Dice): Json =>
  dice.pick([
    { Regex: dice.pick(PATTERNS) },
    { Regex: randomPattern(dice, 3) },
    { String: dice.pick(["", "a", " ", "▁", "aa"]) },
  ]);
const replace = (dice: Dice): Json => ({
  type: "Replace",
  pattern: pattern(dice),
  content: dice.pick(["", "a", "▁", "aa", "x".repeat(500)]),
});
const byteLevel = (dice: Dice): Json => ({
  type: "ByteLevel",
  add_prefix_space: dice.pick([true, false]),
  trim_offsets: dice.pick([true, false]),
  use_regex: dice.pick([true, false]),
});

/** Makers of components, by the field that holds such a component. */
export const COMPONENTS: Readonly<
  Record<string, readonly ((dice: Dice) => Json)[]>
> = {
  normalizer: [
    (d): Json => ({
      type: "BertNormalizer",
      clean_text: d.pick([true, false]),
      handle_chinese_chars: true,
      strip_accents: d.pick([null, true, false]),
      lowercase: d.pick([true, false]),
    }),
    (d): Json => ({
      type: "Strip",
      strip_left: d.pick([true, false]),
      strip_right: d.pick([true, false]),
    }),
    (d): Json => ({
      type: d.pick([
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Nmt",
        "Lowercase",
        "StripAccents",
        "ByteLevel",
      ]),
    }),
    replace,
    (d): Json => ({ type: "Prepend", prepend: d.pick(["", "▁", "aa", " "]) }),
  ],
  pre_tokenizer: [
    metaspace,
    byteLevel,
    (d): Json => ({
      type: d.pick([
        "BertPreTokenizer",
        "Whitespace",
        "WhitespaceSplit",
        "UnicodeScripts",
      ]),
    }),
    (d): Json => ({
      type: "CharDelimiterSplit",
      delimiter: d.pick(["a", " ", "", "aa"]),
    }),
    (d): Json => ({
      type: "Split",
      pattern: pattern(d),
      behavior: d.pick(split),
      invert: d.pick([true, false]),
    }),
    (d): Json => ({ type: "Punctuation", behavior: d.pick(split) }),
    (d): Json => ({
      type: "Digits",
      individual_digits: d.pick([true, false]),
    }),
    (d): Json => ({
      type: "FixedLength",
      length: d.pick([0, 1, 5, 2 ** 40]),
    }),
  ],
  decoder: [
    metaspace,
    byteLevel,
    replace,
    (d): Json => ({ type: "BPEDecoder", suffix: d.pick(["", "</w>", "a"]) }),
    (d): Json => ({
      type: "WordPiece",
      prefix: d.pick(["", "##", "a"]),
      cleanup: d.pick([true, false]),
    }),
    (d): Json => ({
      type: "CTC",
      pad_token: d.pick(["", "a", "<pad>"]),
      word_delimiter_token: d.pick(["", "|", "a"]),
      cleanup: d.pick([true, false]),
    }),
    (d): Json => ({ type: d.pick(["Fuse", "ByteFallback"]) }),
    (d): Json => ({
      type: "Strip",
      content: d.pick([" ", "a", ""]),
      start: d.pick([0, 1, 5, 1e9]),
      stop: d.pick([0, 0, 1, 3]),
    }),
  ],
  post_processor: [
    byteLevel,
    (d): Json => ({
      type: d.pick(["BertProcessing", "RobertaProcessing"]),
      sep: ["a", d.pick([0, 1, 2 ** 32])],
      cls: ["b", 1],
      trim_offsets: d.pick([true, false]),
      add_prefix_space: d.pick([true, false]),
    }),
    (d): Json => ({
      type: "TemplateProcessing",
      single: pieces(d),
      pair: pieces(d),
      special_tokens: {
        "<s>": { id: "<s>", ids: d.pick([[1], [], [1, 2]]), tokens: ["<s>"] },
      },
    }),
  ],
};

/** The field of a Sequence that holds its parts. */
export const SEQUENCES: Readonly<Record<string, string>> = {
  normalizer: "normalizers",
  pre_tokenizer: "pretokenizers",
  decoder: "decoders",
  post_processor: "processors",
};

function pieces(dice: Dice): Json {
  return Array.from({ length: dice.below(4) }, (): Json =>
    dice.pick<Json>([
      { Sequence: { id: "A", type_id: 0 } },
      { Sequence: { id: "B", type_id: 0 } },
      { SpecialToken: { id: "<s>", type_id: 0 } },
      { SpecialToken: { id: "no", type_id: 0 } },
    ]));
}

/** A random regular expression over few characters, so that its parts overlap. */
function randomPattern(dice: Dice, depth: number): string {
  const atoms = [
    "a",
    "b",
    " ",
    "[ab]",
    "[^a]",
    ".",
    "\\s",
    "\\S",
    "\\w",
    "\\p{L}",
    "\\p{N}",
    "$",
  ];
  const part = (): string => {
    const inner = depth > 0 && dice.below(3) === 0
      ? `${dice.pick(["(", "(?:", "(?>", "(?=", "(?!", "(?i:"])}${
        randomPattern(dice, depth - 1)
      })`
      : dice.pick(atoms);
    return inner +
      dice.pick([
        "",
        "",
        "*",
        "+",
        "?",
        "*?",
        "+?",
        "++",
        "*+",
        "{2}",
        "{1,3}",
        "{2,}",
      ]);
  };
  const sequence = (): string =>
    Array.from({ length: 1 + dice.below(4) }, part).join("");
  return Array.from({ length: 1 + dice.below(3) }, sequence).join("|");
}
