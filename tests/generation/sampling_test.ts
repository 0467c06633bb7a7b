/**
 * Logits processing where a whole model shows too little: ties, long rows, the
 * quick ways against the plain ones.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { argmax, processLogits } from "../../lib/generation/sampling.ts";

/** Numbers that look random and are the same each time, with many ties. */
function scoresOf(length: number): Float32Array {
  return Float32Array.from(
    { length },
    (_, index) => Math.round(((index * 7919) % 1009) / 10) / 10,
  );
}

function kept(scores: Float32Array): number[] {
  return [...scores.keys()].filter((id) => scores[id]! > -Infinity);
}

for (const topK of [1, 3, 50, 512, 513, 900]) {
  Deno.test(`processLogits() with topK ${topK} keeps what a full sort keeps`, () => {
    const scores = scoresOf(1200);
    const least = scores.toSorted().at(-topK)!;
    const expected = kept(scores.map((it) => it < least ? -Infinity : it));
    processLogits(scores, [], { doSample: true, topK });
    assert.deepEqual(kept(scores), expected);
  });
}

Deno.test("processLogits() with topK beyond the vocabulary keeps all", () => {
  const scores = scoresOf(10);
  processLogits(scores, [], { doSample: true, topK: 50 });
  assert.equal(kept(scores).length, 10);
});

Deno.test("processLogits() with topP removes the first of equal scores, as PyTorch's sort does", () => {
  const scores = Float32Array.of(0, 1, 0, 1, 0, 1);
  // probabilities 0.090 and 0.244: 0.27 + 0.244 stay below 0.55
  processLogits(scores, [], { doSample: true, topP: 0.45 });
  assert.deepEqual(kept(scores), [3, 5]);
});

for (const topP of [0.1, 0.9, 0.999, 0.9999999]) {
  Deno.test(`processLogits() with topP ${topP} keeps what a full sort keeps`, () => {
    const scores = scoresOf(1200).map((it) => 2 * it);
    const order = [...scores.keys()].sort((a, b) => scores[a]! - scores[b]!);
    const weights = order.map((id) => Math.exp(scores[id]!));
    const total = weights.reduce((a, b) => a + b);
    let sum = 0;
    const expected = order.filter((_, place) => {
      sum += weights[place]! / total;
      return sum > 1 - topP;
    });
    processLogits(scores, [], { doSample: true, topP });
    assert.deepEqual(kept(scores), expected.sort((a, b) => a - b));
  });
}

Deno.test("processLogits() with a small topP keeps the likeliest token", () => {
  const scores = Float32Array.of(1, 3, 2);
  processLogits(scores, [], { doSample: true, topP: 1e-6 });
  assert.deepEqual(kept(scores), [1]);
});

Deno.test("processLogits() counts topP among the tokens that topK left", () => {
  const scores = Float32Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, 1.5);
  processLogits(scores, [], { doSample: true, topK: 2, topP: 0.6 });
  assert.deepEqual(kept(scores), [9]);
});

Deno.test("processLogits() penalizes a token once, towards less likely on both sides of zero", () => {
  const scores = Float32Array.of(2, -2, 2, 0);
  processLogits(scores, [0, 1, 0, 3], { repetitionPenalty: 2 });
  assert.deepEqual([...scores], [1, -4, 2, 0]);
});

Deno.test("processLogits() leaves temperature, topK and topP to drawing", () => {
  const scores = Float32Array.of(1, 2, 3);
  processLogits(scores, [], { temperature: 0.1, topK: 1, topP: 0.1 });
  assert.deepEqual([...scores], [1, 2, 3]);
});

Deno.test("argmax() gives the first of several, and -1 where a score is not a number", () => {
  assert.equal(argmax(Float32Array.of(1, 5, 5)), 1);
  assert.equal(argmax(Float32Array.of(1, NaN, 5)), -1);
});
