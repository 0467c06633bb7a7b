/**
 * Reads the `config.json` of a Llama-architecture model, in the spelling of
 * transformers 4 and of 5, and refuses by name what the model page does not
 * compute.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import type { RopeParameters } from "../nn/mod.ts";
import type { ModelConfig } from "./causal_lm.ts";

/** The numbers of one Llama. */
export interface LlamaConfig extends ModelConfig {
  /** Width between the MLP's projections. */
  readonly intermediateSize: number;
  /** Query heads of a layer. */
  readonly heads: number;
  /** Key and value heads of a layer; divides `heads`. */
  readonly keyValueHeads: number;
  /** Width of one head, even. */
  readonly headSize: number;
  /** Added to the mean square in every norm. */
  readonly rmsNormEps: number;
  /** Whether the attention's projections have biases. */
  readonly attentionBias: boolean;
  /** Whether the MLP's projections have biases. */
  readonly mlpBias: boolean;
  /** How positions are rotated. */
  readonly rope: RopeParameters;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * The configuration in `json`, read from the folder `path`.
 *
 * @throws {InputError} naming every field that cannot be computed or is missing.
 */
export function llamaConfig(path: string, json: Json): LlamaConfig {
  const complaints = unsupported(json);
  const read = new Fields(json, complaints);
  const hiddenSize = read.whole("hidden_size", 4096);
  const heads = read.whole("num_attention_heads", 32);
  const headSize = read.whole("head_dim", hiddenSize / heads);
  const maxPositions = read.whole("max_position_embeddings", 2048);
  const config: LlamaConfig = {
    modelType: "llama",
    path,
    source: json,
    hiddenSize,
    heads,
    headSize,
    maxPositions,
    vocabSize: read.whole("vocab_size", 32000),
    intermediateSize: read.whole("intermediate_size", 11008),
    layers: read.whole("num_hidden_layers", 32),
    keyValueHeads: read.whole("num_key_value_heads", heads),
    rmsNormEps: read.number("rms_norm_eps", 1e-6),
    attentionBias: json.attention_bias === true,
    mlpBias: json.mlp_bias === true,
    initializerRange: read.number("initializer_range", 0.02),
    tieWordEmbeddings: json.tie_word_embeddings === true,
    eosTokenIds: idList(
      json.eos_token_id === undefined ? 2 : json.eos_token_id,
    ),
    bosTokenId:
      idList(json.bos_token_id === undefined ? 1 : json.bos_token_id)[0] ??
        null,
    rope: ropeParameters(json, { read, headSize, maxPositions }),
  };
  if (heads % config.keyValueHeads !== 0) {
    complaints.push(
      `num_attention_heads ${heads} is no multiple of num_key_value_heads ${config.keyValueHeads}`,
    );
  }
  if (headSize % 2 !== 0) complaints.push(`head_dim ${headSize} must be even`);
  if (complaints.length > 0) {
    throw new InputError(
      `Cannot compute model "${path}": in config.json ${complaints.join("; ")}`,
    );
  }
  return config;
}

/** What the model page does not compute, by name. */
function unsupported(json: Json): string[] {
  const complaints: string[] = [];
  const refuse = (field: string, fine: (value: unknown) => boolean): void => {
    const value = json[field];
    if (value !== undefined && value !== null && !fine(value)) {
      complaints.push(`${field} ${JSON.stringify(value)} is not supported`);
    }
  };
  refuse("hidden_act", (value) => value === "silu" || value === "swish");
  refuse("attention_dropout", (value) => value === 0);
  refuse("quantization_config", () => false);
  refuse("partial_rotary_factor", (value) => value === 1);
  refuse("sliding_window", () => false);
  return complaints;
}

/** Reads numbers and collects complaints about what is not one. */
class Fields {
  constructor(readonly json: Json, readonly complaints: string[]) {}

  number(field: string, fallback: number): number {
    const value = this.json[field] ?? fallback;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    this.complaints.push(
      `${field} must be a number, got ${JSON.stringify(value)}`,
    );
    return fallback;
  }

  whole(field: string, fallback: number): number {
    const value = this.number(field, fallback);
    if (Number.isInteger(value) && value > 0) return value;
    this.complaints.push(`${field} must be a positive integer, got ${value}`);
    return Number.isInteger(fallback) ? fallback : 2;
  }
}

function idList(value: unknown): number[] {
  if (typeof value === "number") return [value];
  return Array.isArray(value)
    ? value.filter((each): each is number => typeof each === "number")
    : [];
}

interface RopeContext {
  readonly read: Fields;
  readonly headSize: number;
  readonly maxPositions: number;
}

const ROPE_FACTORS: Readonly<
  Record<RopeParameters["type"], readonly string[]>
> = {
  default: [],
  linear: ["factor"],
  dynamic: ["factor"],
  yarn: ["factor"],
  longrope: ["short_factor", "long_factor"],
  llama3: ["factor", "low_freq_factor", "high_freq_factor"],
};

/** transformers 4 has `rope_theta` and `rope_scaling`, 5 has `rope_parameters`. */
function ropeParameters(json: Json, context: RopeContext): RopeParameters {
  const scaling = {
    ...(json.rope_scaling as Json | null | undefined),
    ...(json.rope_parameters as Json | null | undefined),
  };
  const { complaints } = context.read;
  const type = String(scaling.rope_type ?? scaling.type ?? "default");
  const theta = new Fields(
    { rope_theta: scaling.rope_theta ?? json.rope_theta },
    complaints,
  ).number("rope_theta", 10000);
  const base = {
    theta,
    headSize: context.headSize,
    maxPositions: context.maxPositions,
  };
  if (!(type in ROPE_FACTORS)) {
    complaints.push(
      `rope_type "${type}" is not supported (${
        Object.keys(ROPE_FACTORS).join(", ")
      } are)`,
    );
    return { ...base, type: "default" };
  }
  const known = type as RopeParameters["type"];
  for (const field of ROPE_FACTORS[known]) {
    if (scaling[field] === undefined || scaling[field] === null) {
      complaints.push(`rope_type "${type}" needs ${field}`);
    }
  }
  if (
    scaling.partial_rotary_factor !== undefined &&
    scaling.partial_rotary_factor !== 1
  ) {
    complaints.push(
      `partial_rotary_factor ${scaling.partial_rotary_factor} is not supported`,
    );
  }
  return {
    ...base,
    type: known,
    ...scalingFields(scaling, {
      json,
      type: known,
      maxPositions: context.maxPositions,
    }),
  };
}

const SCALING_FIELDS = {
  factor: "factor",
  attention_factor: "attentionFactor",
  beta_fast: "betaFast",
  beta_slow: "betaSlow",
  mscale: "mscale",
  mscale_all_dim: "mscaleAllDim",
  truncate: "truncate",
  short_factor: "shortFactor",
  long_factor: "longFactor",
  low_freq_factor: "lowFreqFactor",
  high_freq_factor: "highFreqFactor",
} as const;

function scalingFields(
  scaling: Json,
  context: { json: Json; type: RopeParameters["type"]; maxPositions: number },
): Partial<RopeParameters> {
  const fields: Record<string, unknown> = {};
  for (const [spelled, name] of Object.entries(SCALING_FIELDS)) {
    const value = scaling[spelled];
    if (value !== undefined && value !== null) fields[name] = value;
  }
  if (["llama3", "yarn", "longrope"].includes(context.type)) {
    fields.originalMaxPositions =
      context.json.original_max_position_embeddings ??
        scaling.original_max_position_embeddings ?? context.maxPositions;
  }
  return fields;
}
