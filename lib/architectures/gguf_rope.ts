/**
 * The rotary parameters of a GGUF file in the words of `config.json`. llama.cpp
 * keeps those of Llama 3 and Phi-3 as tensors of what angles are divided by.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import { inverseFrequencies } from "../nn/rope_scaling.ts";
import { type GgufMetadata, shortest } from "./gguf_metadata.ts";

/** Tensors that belong to the rope, not to a layer. */
export const ROPE_TENSORS = {
  llama3: "rope_freqs.weight",
  long: "rope_factors_long.weight",
  short: "rope_factors_short.weight",
} as const;

/** Keys that are read here, or have no say in what is computed. */
export const ROPE_KEYS = [
  "rope.dimension_count",
  "rope.freq_base",
  "rope.scaling.type",
  "rope.scaling.factor",
  "rope.scaling.original_context_length",
  "rope.scaling.finetuned",
  "rope.scaling.yarn_beta_fast",
  "rope.scaling.yarn_beta_slow",
  "rope.scale_linear",
] as const;

type Rope = Readonly<Record<string, unknown>>;

/** Plain, linear, yarn and Llama 3's; `theta` where the file has none. */
export function ggufRope(metadata: GgufMetadata, theta = 10000): Rope {
  const rope_theta = shortest(metadata.number("rope.freq_base") ?? theta);
  const type = metadata.value("rope.scaling.type") ?? "none";
  const factor = shortest(
    metadata.number("rope.scaling.factor") ??
      metadata.number("rope.scale_linear") ?? 1,
  );
  const divisors = metadata.floats(ROPE_TENSORS.llama3);
  if (divisors !== null && factor === 1) {
    return llama3(metadata, divisors, rope_theta);
  }
  if (divisors === null) {
    if (type === "yarn") return { ...yarn(metadata, factor), rope_theta };
    if (type === "none" || type === "linear") {
      return factor === 1
        ? { rope_type: "default", rope_theta }
        : { rope_type: "linear", rope_theta, factor };
    }
  }
  metadata.fail(
    `its ${metadata.architecture}.rope.scaling.type is ${
      quoted(type, 60)
    } with factor ${factor}${
      divisors === null ? "" : ` beside ${ROPE_TENSORS.llama3}`
    }, only "none", "linear", "yarn" or ${ROPE_TENSORS.llama3} alone are computed`,
  );
}

function yarn(metadata: GgufMetadata, factor: number): Rope {
  const given = (key: string, field: string): Rope => {
    const value = metadata.number(`rope.scaling.${key}`);
    return value === undefined ? {} : { [field]: shortest(value) };
  };
  return {
    rope_type: "yarn",
    factor,
    original_max_position_embeddings: metadata.needed(
      "rope.scaling.original_context_length",
    ),
    ...given("yarn_beta_fast", "beta_fast"),
    ...given("yarn_beta_slow", "beta_slow"),
  };
}

/** Phi-3's: plain, or a factor for each angle, one for short texts and one for long. */
export function phi3Rope(metadata: GgufMetadata): Rope {
  const rope_theta = shortest(metadata.number("rope.freq_base") ?? 10000);
  const shares = {
    rope_theta,
    partial_rotary_factor: metadata.turnedSize() / metadata.headSize(),
  };
  const long = metadata.floats(ROPE_TENSORS.long);
  const short = metadata.floats(ROPE_TENSORS.short);
  if (long === null && short === null) {
    const { partial_rotary_factor, ...plain } = {
      ...ggufRope(metadata),
      ...shares,
    };
    return { ...plain, partial_rotary_factor };
  }
  const attention = metadata.number("rope.scaling.attn_factor");
  return {
    ...shares,
    rope_type: "longrope",
    long_factor: long?.map(shortest),
    short_factor: short?.map(shortest),
    ...(attention !== undefined && { attention_factor: shortest(attention) }),
  };
}

/** Llama 3's rope is stored as what its angles are divided by; its settings are looked for. */
function llama3(
  metadata: GgufMetadata,
  stored: readonly number[],
  theta: number,
): Rope {
  const factor = shortest(
    stored.reduce((most, each) => Math.max(most, each), 1),
  );
  const headSize = metadata.headSize();
  const computed = llama3Divisors({ headSize, theta, factor });
  const fits = stored.length === computed.length &&
    computed.every((value, i) => Math.abs(value / stored[i]! - 1) < 1e-4);
  if (fits) {
    return {
      rope_type: "llama3",
      rope_theta: theta,
      factor,
      low_freq_factor: LLAMA3.lowFreqFactor,
      high_freq_factor: LLAMA3.highFreqFactor,
      original_max_position_embeddings: LLAMA3.originalMaxPositions,
    };
  }
  metadata.fail(
    `the frequencies in its ${ROPE_TENSORS.llama3} are not those of Llama 3, others are not computed`,
  );
}

/** What all models of Llama 3.1 to 3.3 have. */
const LLAMA3 = {
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositions: 8192,
} as const;

/** What Llama 3 divides the angles of a plain rope by. */
function llama3Divisors(
  sizes: { headSize: number; theta: number; factor: number },
): number[] {
  const rope = { ...LLAMA3, ...sizes, maxPositions: 1 };
  const plain = inverseFrequencies({ ...rope, type: "default" }, 1);
  const scaled = inverseFrequencies({ ...rope, type: "llama3" }, 1);
  return Array.from(plain, (value, i) => value / scaled[i]!);
}
