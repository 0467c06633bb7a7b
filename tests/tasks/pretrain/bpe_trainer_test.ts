/**
 * Merges by frequency, where words end, and what happens at the edges.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { trainBpe } from "../../../tasks/pretrain/bpe_trainer.ts";

const OWN = 3 + 256 + 1 + 94;

Deno.test("trainBpe merges the most frequent pair first and builds on it", () => {
  const { merges, pieces } = trainBpe(
    ["听雪轩。", "听雪轩，", "听雪。", "雪轩！"],
    { vocabularySize: 1000, longestHan: 4 },
  );
  // 听雪 and 雪轩 both stand three times; 听 comes first in the order of text.
  assert.deepEqual(merges, [["听", "雪"], ["听雪", "轩"]]);
  assert.deepEqual(pieces.slice(-2), ["听雪", "听雪轩"]);
});

Deno.test("trainBpe puts special tokens, bytes and characters in front", () => {
  const { pieces } = trainBpe(["甲"], { vocabularySize: 1000, longestHan: 4 });
  assert.deepEqual(pieces.slice(0, 4), ["<unk>", "<s>", "</s>", "<0x00>"]);
  assert.equal(pieces[3 + 255], "<0xFF>");
  assert.equal(pieces.length, OWN + 1);
  assert.ok(pieces.includes("~") && pieces.includes("▁"));
});

Deno.test("trainBpe merges neither over punctuation nor beyond the longest piece", () => {
  const { merges } = trainBpe(
    ["天地，玄黄天地", "天地，玄黄天地"],
    { vocabularySize: 1000, longestHan: 2 },
  );
  assert.deepEqual(merges, [["天", "地"], ["玄", "黄"]]);
});

Deno.test("trainBpe lets Latin words take their space in and grow past the limit", () => {
  const { pieces } = trainBpe(
    ["Assistant Assistant"],
    { vocabularySize: 1000, longestHan: 2 },
  );
  assert.equal(pieces.at(-1), "▁Assistant");
});

Deno.test("trainBpe stops at the size asked for and at pairs that are too rare", () => {
  const texts = ["甲乙丙丁", "甲乙丙丁", "戊己"];
  const small = trainBpe(texts, { vocabularySize: OWN + 8, longestHan: 4 });
  assert.equal(small.pieces.length, OWN + 8);
  const full = trainBpe(texts, { vocabularySize: 1000, longestHan: 4 });
  assert.equal(full.pieces.includes("戊己"), false);
});

Deno.test("trainBpe refuses a vocabulary that the characters do not fit in", () => {
  assert.throws(
    () => trainBpe(["甲"], { vocabularySize: 100, longestHan: 4 }),
    RangeError(
      `Cannot train a vocabulary of 100 pieces: special tokens, bytes and characters are ${
        OWN + 1
      } already`,
    ),
  );
});
