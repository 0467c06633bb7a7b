/**
 * The inverse frequencies of rotary embeddings, plain and scaled, as
 * `transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS` computes them. Plain
 * arithmetic, without tensors.
 *
 * @module
 */

/** The rotary parameters of a `config.json`, with defaults filled in. */
export interface RopeParameters {
  /** `rope_type`. */
  readonly type:
    | "default"
    | "linear"
    | "dynamic"
    | "yarn"
    | "longrope"
    | "llama3";
  /** `rope_theta`: the base of the frequencies. */
  readonly theta: number;
  /**
   * Size of the part of a head that is rotated; where it is odd, one element more
   * is rotated.
   */
  readonly headSize: number;
  /** `max_position_embeddings`. */
  readonly maxPositions: number;
  /** `original_max_position_embeddings`, where the config has one. */
  readonly originalMaxPositions?: number;
  /**
   * Whether `dynamic` frequencies stay those of the longest sequence seen, as in
   * transformers. Otherwise each sequence has the frequencies of its own length.
   * Default yes.
   */
  readonly keepsLongest?: boolean;
  /** `factor` */
  readonly factor?: number;
  /** What `dynamic` raises the base with while sequences fit `maxPositions`. Default 1. */
  readonly alpha?: number;
  /** `attention_factor` */
  readonly attentionFactor?: number;
  /** `beta_fast` of yarn. */
  readonly betaFast?: number;
  /** `beta_slow` of yarn. */
  readonly betaSlow?: number;
  /** `mscale` of yarn. */
  readonly mscale?: number;
  /** `mscale_all_dim` of yarn. */
  readonly mscaleAllDim?: number;
  /** `truncate` of yarn. */
  readonly truncate?: boolean;
  /** `short_factor` of longrope, one per frequency. */
  readonly shortFactor?: readonly number[];
  /** `long_factor` of longrope, one per frequency. */
  readonly longFactor?: readonly number[];
  /** `low_freq_factor` of llama3. */
  readonly lowFreqFactor?: number;
  /** `high_freq_factor` of llama3. */
  readonly highFreqFactor?: number;
}

/**
 * The `⌈headSize / 2⌉` inverse frequencies for a sequence of `length` positions;
 * only `dynamic` and `longrope` depend on the length.
 */
export function inverseFrequencies(
  parameters: RopeParameters,
  length: number,
): Float32Array {
  const plain = plainFrequencies(parameters, parameters.theta);
  switch (parameters.type) {
    case "default":
      return plain;
    case "linear":
      return plain.map((value) => value / parameters.factor!);
    case "dynamic":
      return dynamicFrequencies(parameters, length);
    case "yarn":
      return yarnFrequencies(parameters, plain);
    case "longrope":
      return longFrequencies(parameters, length);
    case "llama3":
      return llama3Frequencies(parameters, plain);
  }
}

/** `θ^(-2i/d)` */
function plainFrequencies(
  parameters: RopeParameters,
  theta: number,
): Float32Array {
  const size = parameters.headSize;
  return Float32Array.from(
    { length: Math.ceil(size / 2) },
    (_, index) => 1 / Math.fround(theta ** Math.fround((2 * index) / size)),
  );
}

/** NTK scaling: the base grows with the length beyond `maxPositions`. */
function dynamicFrequencies(
  parameters: RopeParameters,
  length: number,
): Float32Array {
  const { theta, headSize, maxPositions } = parameters;
  const factor = parameters.factor!;
  const longest = Math.max(length, maxPositions);
  const growth = longest === maxPositions
    ? parameters.alpha ?? 1
    : (factor * longest) / maxPositions - (factor - 1);
  const base = theta * growth ** (headSize / (headSize - 2));
  return plainFrequencies(parameters, base);
}

/**
 * YaRN (Peng et al., arXiv:2309.00071): interpolates low frequencies and keeps
 * high ones.
 */
function yarnFrequencies(
  parameters: RopeParameters,
  plain: Float32Array,
): Float32Array {
  const { headSize, theta } = parameters;
  const betaFast = parameters.betaFast || 32;
  const betaSlow = parameters.betaSlow || 1;
  const original = parameters.originalMaxPositions ?? parameters.maxPositions;
  const boundary = (rotations: number): number =>
    (headSize * Math.log(original / (rotations * 2 * Math.PI))) /
    (2 * Math.log(theta));
  const round = parameters.truncate ?? true;
  const fast = boundary(betaFast);
  const slow = boundary(betaSlow);
  const low = Math.max(round ? Math.floor(fast) : fast, 0);
  let high = Math.min(round ? Math.ceil(slow) : slow, headSize - 1);
  if (low === high) high += 0.001;
  return plain.map((value, index) => {
    const ramp = Math.min(Math.max((index - low) / (high - low), 0), 1);
    return (value / yarnFactor(parameters)) * ramp + value * (1 - ramp);
  });
}

function yarnFactor(parameters: RopeParameters): number {
  return parameters.factor ??
    parameters.maxPositions / parameters.originalMaxPositions!;
}

function longFrequencies(
  parameters: RopeParameters,
  length: number,
): Float32Array {
  const original = parameters.originalMaxPositions ?? parameters.maxPositions;
  const factors = length > original
    ? parameters.longFactor!
    : parameters.shortFactor!;
  const { theta, headSize } = parameters;
  return Float32Array.from(
    factors,
    (factor, index) => 1 / (factor * theta ** ((2 * index) / headSize)),
  );
}

/** Llama 3.1: keeps short wavelengths, stretches long ones, and blends between them. */
function llama3Frequencies(
  parameters: RopeParameters,
  plain: Float32Array,
): Float32Array {
  const original = parameters.originalMaxPositions!;
  const factor = parameters.factor!;
  const lowFactor = parameters.lowFreqFactor!;
  const highFactor = parameters.highFreqFactor!;
  return plain.map((value) => {
    const wavelength = (2 * Math.PI) / value;
    if (wavelength < original / highFactor) return value;
    if (wavelength > original / lowFactor) return value / factor;
    const smooth = (original / wavelength - lowFactor) /
      (highFactor - lowFactor);
    return ((1 - smooth) * value) / factor + smooth * value;
  });
}

/** The factor of `cos` and `sin`: 1 except with yarn and longrope. */
export function rotationScale(parameters: RopeParameters): number {
  if (parameters.type === "yarn") return yarnScale(parameters);
  if (parameters.type === "longrope") return longScale(parameters);
  return 1;
}

function yarnScale(parameters: RopeParameters): number {
  if (parameters.attentionFactor !== undefined) {
    return parameters.attentionFactor;
  }
  const factor = yarnFactor(parameters);
  const { mscale, mscaleAllDim } = parameters;
  const magnitude = (weight: number): number =>
    factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
  return mscale && mscaleAllDim
    ? magnitude(mscale) / magnitude(mscaleAllDim)
    : magnitude(1);
}

function longScale(parameters: RopeParameters): number {
  if (parameters.attentionFactor !== undefined) {
    return parameters.attentionFactor;
  }
  const original = parameters.originalMaxPositions ?? parameters.maxPositions;
  const factor = parameters.factor ?? parameters.maxPositions / original;
  return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
}
