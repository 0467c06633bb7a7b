/**
 * What is known of a pattern before it is matched: published tokenizers' patterns
 * are used on long texts, patterns without end are refused.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { patternFacts } from "../../lib/tokenizer/pattern_cost.ts";

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";

/** Patterns of the kinds that published models have. */
const USUAL: readonly string[] = [
  String
    .raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  String
    .raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String
    .raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`,
  String
    .raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+${CONTRACTIONS}?|\p{N}{1,3}|\s+`,
  String
    .raw`[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}`,
  String
    .raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~][A-Za-z]+|[\p{P}\p{S}]+[\r\n]*`,
  String.raw` ?[^(\s|[.,!?…。，、।۔،])]+`,
  String.raw`[一-龥぀-ゟ゠-ヿ]+`,
  String.raw`\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))`,
  " {2,}",
  "[0-9][0-9][0-9]",
  String.raw`<\|startoftext\|>|<\|endoftext\|>|[\p{L}]+`,
  "",
];

Deno.test("patternFacts lets the usual patterns match texts of a million characters", () => {
  for (const pattern of USUAL) {
    const { longestText } = patternFacts(pattern);
    assert(longestText >= 1e6, `${longestText} for ${pattern}`);
  }
});

Deno.test("patternFacts refuses patterns that take a time without end", () => {
  const endless = [
    "(a+)+$",
    "(a*)*b",
    "(a|a)*$",
    "(a|ab)*c",
    "a*a*a*a*b",
    String.raw`(\w+\s?)+$`,
    `${"a?".repeat(30)}${"a".repeat(30)}`,
    "(?:a+){3,}b",
    "(?:a*b)*c",
    "(?=(a+)+$)b",
    "(?i:(a+)+)$",
  ];
  for (const pattern of endless) {
    assert.throws(() => patternFacts(pattern), /a time without end/, pattern);
  }
});

Deno.test("patternFacts gives a shorter limit where repetitions follow each other", () => {
  assert.equal(patternFacts("a+").longestText, Infinity);
  assert.equal(patternFacts("a+$").longestText, 2 ** 23 + 611_392);
  assert.equal(patternFacts("a+b+$").longestText, 584);
  assert.equal(patternFacts("a++b++$").longestText, 4_499_999);
});

Deno.test("patternFacts refuses what it cannot bound or read", () => {
  const cases: [string, RegExp][] = [
    ["(?~abc)", /an absence function/],
    [String.raw`(a)\1`, /a back reference/],
    [String.raw`(a)\g<1>`, /a subroutine call/],
    ["(a{1000}){1000}b", /counts of repetitions are too large/],
    ["(", /Unclosed group/],
    ["a".repeat(20_001), /has 20001 characters, at most 20000/],
    ["(".repeat(9000) + ")".repeat(9000), /nested too deeply/],
  ];
  for (const [pattern, message] of cases) {
    assert.throws(() => patternFacts(pattern), message);
  }
});

Deno.test("patternFacts knows which patterns can match nothing", () => {
  for (const pattern of ["", "^", "a*", "(?:|a)", "(?=a)", String.raw`\b`]) {
    assert.equal(patternFacts(pattern).canBeEmpty, true, pattern);
  }
  for (const pattern of ["a", "a+", "(?:a|b)", "^a*b", "(?i)a"]) {
    assert.equal(patternFacts(pattern).canBeEmpty, false, pattern);
  }
});
