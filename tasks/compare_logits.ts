/**
 * Whether a model that was written computes what base model and adapter do: both read
 * the same tokens, and their logits may differ by the rounding of weights only.
 *
 * @module
 */

import { wideLogits } from "../lib/architectures/mod.ts";
import { quoted } from "../lib/input_error.ts";
import type { MergedModel } from "../lib/peft/mod.ts";
import {
  AutoModelForCausalLM,
  type AutoTokenizer,
  type CausalLm,
  type DType,
  InputError,
  tensorScope,
} from "../mod.ts";

/** How far the logits of two models are apart. */
export interface Comparison {
  /** The largest difference. */
  readonly largest: number;
  /** The largest logit of the first model, without its sign. */
  readonly scale: number;
  /** Number of tokens that were read. */
  readonly tokens: number;
}

const TEXT = "The quick brown fox jumps over the lazy dog, 12 times.\n" +
  "你好，今天天气怎么样？";
const SPREAD = 16;

/**
 * The tokens that both models read: those of a text, `wanted` ones and some from all
 * over the vocabulary.
 */
async function checkedIds(
  model: CausalLm,
  options: {
    readonly tokenizer: AutoTokenizer | null;
    readonly wanted?: readonly number[];
  },
): Promise<number[]> {
  const { vocabSize, maxPositions } = model.config;
  const { tokenizer, wanted = [] } = options;
  const text = await tokenizer?.encode(TEXT, { addSpecialTokens: false }) ?? [];
  const spread = Array.from(
    { length: SPREAD },
    (_, index) => Math.floor((index + 0.5) * vocabSize / SPREAD),
  );
  return [...spread, ...wanted.slice(0, SPREAD), ...text]
    .filter((id) => id < vocabSize).slice(0, Math.min(64, maxPositions));
}

/** The logits of `model` on `ids`. */
export function logitsOf(
  model: CausalLm,
  ids: readonly number[],
): Float64Array {
  using _scope = tensorScope();
  return Float64Array.from(wideLogits(model, ids).toArray());
}

/** Compares logits of the same `tokens`. */
function compareLogits(
  first: Float64Array,
  second: Float64Array,
  tokens: number,
): Comparison {
  let [largest, scale] = [0, 0];
  for (const [at, logit] of first.entries()) {
    largest = Math.max(largest, Math.abs(logit - second[at]!));
    scale = Math.max(scale, Math.abs(logit));
    if (Number.isNaN(second[at])) largest = Infinity;
  }
  return { largest, scale, tokens };
}

/** Bits of a number's fraction, the hidden one included. */
const BITS: Readonly<Partial<Record<DType | "q8_0", number>>> = {
  float32: 24,
  float16: 11,
  bfloat16: 8,
  q8_0: 7,
};
/** Roundings of a layer's weights add up; deep models were seen to have three. */
const ROUNDINGS = 12;
/** Sums in float32 in another order, relative; deep models were seen to have 5e-6. */
const SUMS = 1e-4;

/** How far logits up to `scale` may be apart when weights were rounded to `dtype`. */
function roundingOf(dtype: DType | "q8_0", scale: number): number {
  return scale * (ROUNDINGS * 2 ** -(BITS[dtype] ?? 24) + SUMS);
}

/** Says how far apart they are. */
export function describeComparison({ largest, tokens }: Comparison): string {
  return `largest difference of the logits on ${tokens} tokens: ${
    largest.toPrecision(2)
  }`;
}

/**
 * Reads what was written to `written`, and compares its logits with those of `model`.
 *
 * @throws {InputError} naming `path` where they are further away than the rounding of
 *   weights to `bits` explains.
 */
export async function compareWritten(
  written: string,
  model: MergedModel,
  { path, tokenizer, bits }: {
    readonly path: string;
    readonly tokenizer: AutoTokenizer | null;
    readonly bits: DType | "q8_0";
  },
): Promise<Comparison> {
  const wanted = model.trainedTokens;
  const ids = await checkedIds(model.base, { tokenizer, wanted });
  const expected = logitsOf(model.base, ids);
  using again = AutoModelForCausalLM.fromPretrained(written);
  const comparison = compareLogits(expected, logitsOf(again, ids), ids.length);
  const limit = roundingOf(bits, comparison.scale);
  if (comparison.largest <= limit) return comparison;
  throw new InputError(
    `Cannot write ${quoted(path)}: read again, its ${
      describeComparison(comparison)
    } from base model and adapter, the rounding to ${bits} explains ${
      limit.toPrecision(2)
    }`,
  );
}
