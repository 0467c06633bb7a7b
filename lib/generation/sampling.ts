/**
 * From one row of logits to the scores for drawing the next token, by the rules
 * of transformers' `logits_process.py`, in its order. Works on numbers; the model
 * and the random numbers are elsewhere.
 *
 * @module
 */

/** How the next token is chosen. */
export interface SamplingOptions {
  /** Samples the token; otherwise the most likely one is taken. Default false. */
  readonly doSample?: boolean;
  /** Divides the logits when sampling; more than 0. Default 1. */
  readonly temperature?: number;
  /** Samples among the `topK` most likely tokens; 0 allows all. Default 0. */
  readonly topK?: number;
  /**
   * Samples among the most likely tokens that together have this probability,
   * in (0, 1]. Default 1.
   */
  readonly topP?: number;
  /** Above 1 makes tokens of prompt and answer less likely; more than 0. Default 1. */
  readonly repetitionPenalty?: number;
}

/** Above this, sorting all scores is faster than keeping the best in order. */
const MOST_KEPT_IN_ORDER = 512;

/**
 * All problems of `options`, one sentence each.
 */
export function samplingProblems(options: SamplingOptions): string[] {
  const { temperature, topK, topP, repetitionPenalty } = withDefaults(options);
  const isPositive = (value: number): boolean => value > 0 && value < Infinity;
  const checks: readonly [string, number, boolean, string][] = [
    ["temperature", temperature, isPositive(temperature), "more than 0"],
    [
      "topK",
      topK,
      Number.isInteger(topK) && topK >= 0,
      "a whole number from 0",
    ],
    ["topP", topP, topP > 0 && topP <= 1, "more than 0 and at most 1"],
    [
      "repetitionPenalty",
      repetitionPenalty,
      isPositive(repetitionPenalty),
      "more than 0",
    ],
  ];
  return checks.flatMap(([name, value, legal, expected]) =>
    legal
      ? []
      : [`Cannot generate with ${name} ${value}: it must be ${expected}`]
  );
}

/**
 * Changes `scores`, one number per token of the vocabulary, into the input of
 * softmax: repetition penalty for the tokens in `seen` and, when sampling,
 * temperature, top-k and top-p. Tokens that are ruled out get −∞.
 */
export function processLogits(
  scores: Float32Array,
  seen: Iterable<number>,
  options: SamplingOptions,
): void {
  const { doSample, temperature, topK, topP, repetitionPenalty } = withDefaults(
    options,
  );
  if (repetitionPenalty !== 1) penalize(scores, seen, repetitionPenalty);
  if (!doSample) return;
  if (temperature !== 1) {
    const divisor = Math.fround(temperature);
    for (let id = 0; id < scores.length; id++) scores[id]! /= divisor;
  }
  if (topK > 0 && topK < scores.length) keepTopK(scores, topK);
  if (topP < 1) keepTopP(scores, topP);
}

/** The index of the largest number, the first of several; −1 when one is NaN. */
export function argmax(scores: Float32Array): number {
  let best = 0;
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id]!;
    if (Number.isNaN(score)) return -1;
    if (score > scores[best]!) best = id;
  }
  return best;
}

function withDefaults(options: SamplingOptions): Required<SamplingOptions> {
  return {
    doSample: false,
    temperature: 1,
    topK: 0,
    topP: 1,
    repetitionPenalty: 1,
    ...options,
  };
}

/** Keskar et al., arXiv:1909.05858: applied once per token, however often it occurs. */
function penalize(
  scores: Float32Array,
  seen: Iterable<number>,
  penalty: number,
): void {
  const factor = Math.fround(penalty);
  for (const id of new Set(seen)) {
    const score = scores[id]!;
    scores[id] = score < 0 ? score * factor : score / factor;
  }
}

/** Tokens with the same score as the last one kept are kept too. */
function keepTopK(scores: Float32Array, count: number): void {
  const least = kthLargest(scores, count);
  for (let id = 0; id < scores.length; id++) {
    if (scores[id]! < least) scores[id] = -Infinity;
  }
}

function kthLargest(scores: Float32Array, count: number): number {
  if (count > MOST_KEPT_IN_ORDER) {
    return scores.toSorted()[scores.length - count]!;
  }
  // ascending: the best so far, the smallest first
  const best = scores.slice(0, count).sort();
  for (let id = count; id < scores.length; id++) {
    const score = scores[id]!;
    if (score <= best[0]!) continue;
    let place = 1;
    for (; place < count && best[place]! < score; place++) {
      best[place - 1] = best[place]!;
    }
    best[place - 1] = score;
  }
  return best[0]!;
}

/** Holtzman et al., arXiv:1904.09751; the most likely token always stays. */
function keepTopP(scores: Float32Array, share: number): void {
  const { ascending, removed } = likeliest(scores, Math.fround(1 - share));
  const border = ascending[removed]!;
  // of equal scores, PyTorch's order puts smaller ids first
  let equalsToRemove = removed - ascending.indexOf(border);
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id]!;
    if (score < border || (score === border && equalsToRemove-- > 0)) {
      scores[id] = -Infinity;
    }
  }
}

/** e⁻¹⁰: tokens so far below the best are rarely kept and not worth sorting. */
const FAR_BELOW = 10;

/**
 * The higher scores in ascending order, and how many of them to remove so that
 * the probabilities of all removed tokens add up to at most `rest`.
 */
function likeliest(
  scores: Float32Array,
  rest: number,
): { ascending: Float32Array; removed: number } {
  const highest = scores[argmax(scores)]!;
  let [sum, total, size] = [0, 0, 0];
  const high = new Float32Array(scores.length);
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id]!;
    const weight = Math.exp(score - highest);
    total += weight;
    if (score < highest - FAR_BELOW) sum += weight;
    else high[size++] = score;
  }
  const allFarGo = sum / total <= rest;
  const ascending = (allFarGo ? high.subarray(0, size) : scores).toSorted();
  if (!allFarGo) sum = 0;
  let removed = 0;
  for (; removed < ascending.length - 1; removed++) {
    sum += Math.exp(ascending[removed]! - highest);
    if (Math.fround(sum / total) > rest) break;
  }
  return { ascending, removed };
}
