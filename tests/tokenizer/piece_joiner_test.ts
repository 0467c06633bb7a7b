/**
 * Joining with ids against joining with texts, which has no tables and no queue in
 * flat arrays.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { PieceJoiner } from "../../lib/tokenizer/piece_joiner.ts";
import { merged } from "../../lib/tokenizer/piece_merges.ts";
import type { Piece } from "../../lib/tokenizer/sentencepiece_model.ts";

Deno.test("PieceJoiner joins random texts as merged() does, with equal scores, unknown characters and texts of users", () => {
  let state = 5;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
  const letters = [..."abcd🌸é"];
  const word = (length: number): string =>
    Array.from({ length }, () => letters[random(letters.length)]).join("");
  // "é" is no piece, though it stands in some
  const texts = new Set(["a", "b", "c", "d", "🌸"]);
  while (texts.size < 400) texts.add(word(2 + random(4)));
  const pieces: Piece[] = [...texts].map((piece, i) => ({
    piece,
    score: -random(40),
    type: i % 50 === 7 ? "user_defined" : "normal",
  }));
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]));
  const joiner = new PieceJoiner(pieces, ids);
  const frozenTexts = new Set(
    pieces.filter(({ type }) => type === "user_defined").map((it) => it.piece),
  );
  // texts of users stand where they begin, the longest first
  const longest = [...frozenTexts].toSorted((a, b) => b.length - a.length);
  const cut = new RegExp(`${longest.join("|")}|.`, "gu");
  for (let round = 0; round < 400; round++) {
    const frozen = [...frozenTexts];
    const text = Array.from(
      { length: 1 + random(120) },
      () => random(9) === 0 ? frozen[random(frozen.length)]! : word(1),
    ).join("");
    const symbols = text.match(cut)!;
    const want = merged(
      symbols,
      { scoreOf: (piece) => pieces[ids.get(piece) ?? -1]?.score },
      symbols.map((it) => frozenTexts.has(it)),
    );
    const own = Int32Array.from(symbols, (it) => joiner.idOf(it));
    const count = joiner.join(own, own.length);
    const found = [...own.subarray(0, count)].map((id) => joiner.textOf(id));
    assert.deepEqual(found, want);
  }
});

Deno.test("PieceJoiner remembers more pairs than its table begins with", () => {
  const characters = Array.from(
    { length: 300 },
    (_, i) => String.fromCharCode(0x4e00 + i),
  );
  const pieces: Piece[] = [
    ...characters,
    ...characters.map((it) => it + it),
  ].map((piece, i) => ({ piece, score: -i, type: "normal" }));
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]));
  const joiner = new PieceJoiner(pieces, ids);
  for (let round = 0; round < 2; round++) {
    for (const left of characters) {
      for (const right of characters) {
        const own = Int32Array.of(joiner.idOf(left), joiner.idOf(right));
        assert.equal(joiner.join(own, 2), left === right ? 1 : 2);
      }
    }
  }
});
