/**
 * Reads the fields of `config.json` that nearly all families share. A family's
 * page gives its own defaults, and reads its other fields.
 *
 * @module
 */

import {
  type Activation,
  ACTIVATION_NAMES,
  type HeadSizes,
  type MlpOptions,
  type RopeParameters,
} from "../nn/mod.ts";
import type { ModelConfig } from "./causal_lm.ts";
import type { ConfigReader } from "./config_reader.ts";
import { readRope } from "./rope_config.ts";

/** The numbers that most decoders have. */
export interface DecoderConfig extends ModelConfig, HeadSizes, MlpOptions {
  /** Width between the MLP's projections. */
  readonly intermediateSize: number;
  /** The activation of the MLP's gate. */
  readonly activation: Activation;
  /** Added to the mean square, or the variance, in every norm. */
  readonly normEps: number;
  /** Share of the attention weights that dropout sets to zero in training. */
  readonly attentionDropout: number;
  /** Whether the attention's projections have biases. */
  readonly attentionBias: boolean;
  /** The rotary embedding; its head size is that of the rotated part of a head. */
  readonly rope: RopeParameters;
}

/**
 * A family's defaults for fields that are missing in `config.json`: those of
 * its class in transformers.
 */
export interface DecoderDefaults {
  /** The family's `model_type`. */
  readonly modelType: string;
  /** Default 32000. */
  readonly vocabSize?: number;
  /** Default 4096. */
  readonly hiddenSize?: number;
  /** Default 11008. */
  readonly intermediateSize?: number;
  /** Default 32. */
  readonly layers?: number;
  /** Default 32. */
  readonly heads?: number;
  /** Default as many as heads. */
  readonly keyValueHeads?: number;
  /** Default `hidden_size / num_attention_heads`. */
  readonly headSize?: number;
  /** Default 2048. */
  readonly maxPositions?: number;
  /** Name of the epsilon's field. Default `rms_norm_eps`. */
  readonly epsField?: string;
  /** Default 1e-6. */
  readonly normEps?: number;
  /** Name of the activation's field. Default `hidden_act`. */
  readonly activationField?: string;
  /** Default `silu`. */
  readonly activation?: Activation;
  /** Default `false`; `null` where the family has no such field. */
  readonly attentionBias?: boolean | null;
  /** Default 0. */
  readonly attentionDropout?: number;
  /** Default 0.02. */
  readonly initializerRange?: number;
  /** Default `false`. */
  readonly tieWordEmbeddings?: boolean;
  /** Default 10000. */
  readonly ropeTheta?: number;
  /**
   * Reads the rotary parameters of families that spell them in their own way.
   * Default `readRope`.
   */
  readonly readRope?: typeof readRope;
  /** The rotated fraction of a head. Default: all of it. */
  readonly partialRotaryFactor?: number;
  /** Default 2; `null` for none. */
  readonly eosTokenId?: number | readonly number[] | null;
  /** Default 1; `null` for none. */
  readonly bosTokenId?: number | null;
}

/** Reads the fields that most families share; problems are collected in `reader`. */
export function readDecoderConfig(
  reader: ConfigReader,
  defaults: DecoderDefaults,
): DecoderConfig {
  reader.refuseQuantized();
  // Attention to later tokens, and layers that differ in their fields.
  reader.refuse("is_causal", (value) => value === true);
  reader.refuse("per_layer_config", isEmptyObject);
  const hiddenSize = reader.count("hidden_size", defaults.hiddenSize ?? 4096);
  const sizes = readHeads(reader, { hiddenSize, defaults });
  const maxPositions = reader.positions(
    "max_position_embeddings",
    defaults.maxPositions ?? 2048,
  );
  const { attentionBias = false, partialRotaryFactor } = defaults;
  return {
    ...sizes,
    ...readSize(reader, defaults),
    modelType: defaults.modelType,
    path: reader.path,
    source: reader.json,
    hiddenSize,
    maxPositions,
    normEps: reader.number(
      defaults.epsField ?? "rms_norm_eps",
      defaults.normEps ?? 1e-6,
      { least: 0 },
    ),
    activation: reader.choice(
      defaults.activationField ?? "hidden_act",
      defaults.activation ?? "silu",
      ACTIVATION_NAMES,
    ),
    attentionBias: attentionBias !== null &&
      reader.flag("attention_bias", attentionBias),
    attentionDropout: reader.share(
      "attention_dropout",
      defaults.attentionDropout ?? 0,
    ),
    initializerRange: reader.number(
      "initializer_range",
      defaults.initializerRange ?? 0.02,
      { least: 0 },
    ),
    tieWordEmbeddings: reader.flag(
      "tie_word_embeddings",
      defaults.tieWordEmbeddings ?? false,
    ),
    rope: (defaults.readRope ?? readRope)(reader, {
      headSize: sizes.headSize,
      maxPositions,
      theta: defaults.ropeTheta,
      partialRotaryFactor,
    }),
  };
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === "object" && Object.keys(value ?? {}).length === 0;
}

/** Vocabulary, width of the MLP, depth and special ids. */
function readSize(
  reader: ConfigReader,
  defaults: DecoderDefaults,
): Pick<
  DecoderConfig,
  "vocabSize" | "intermediateSize" | "layers" | "eosTokenIds" | "bosTokenId"
> {
  const { eosTokenId = 2, bosTokenId = 1 } = defaults;
  return {
    vocabSize: reader.count("vocab_size", defaults.vocabSize ?? 32000),
    intermediateSize: reader.count(
      "intermediate_size",
      defaults.intermediateSize ?? 11008,
    ),
    layers: reader.layers("num_hidden_layers", defaults.layers ?? 32),
    eosTokenIds: reader.ids("eos_token_id", eosTokenId),
    bosTokenId: reader.ids("bos_token_id", bosTokenId)[0] ?? null,
  };
}

function readHeads(
  reader: ConfigReader,
  known: { readonly hiddenSize: number; readonly defaults: DecoderDefaults },
): HeadSizes {
  const { hiddenSize, defaults } = known;
  const heads = reader.count("num_attention_heads", defaults.heads ?? 32);
  const keyValueHeads = reader.countOrNull(
    "num_key_value_heads",
    defaults.keyValueHeads ?? null,
  ) ?? heads;
  if (heads % keyValueHeads !== 0) {
    reader.problems.push(
      `num_attention_heads ${heads} must be a multiple of num_key_value_heads ${keyValueHeads}`,
    );
  }
  const headSize = readHeadSize(reader, {
    hiddenSize,
    heads,
    fallback: defaults.headSize,
  });
  return { heads, keyValueHeads, headSize };
}

function readHeadSize(
  reader: ConfigReader,
  sizes: { hiddenSize: number; heads: number; fallback: number | undefined },
): number {
  const { hiddenSize, heads, fallback } = sizes;
  const size = hiddenSize / heads;
  const isNull = reader.json.head_dim === null;
  if (
    reader.value("head_dim") !== undefined ||
    (fallback !== undefined && !isNull)
  ) {
    return reader.count("head_dim", fallback ?? 2);
  }
  if (Number.isInteger(size)) return size;
  reader.problems.push(
    `hidden_size ${hiddenSize} must be a multiple of num_attention_heads ${heads} where head_dim is not given`,
  );
  return 2;
}

/** What a layer attends to. */
export type LayerType = "full_attention" | "sliding_attention";

/**
 * `layer_types`, one per layer; when the field is missing, `fallback` gives it.
 * Any other value is a problem.
 */
export function readLayerTypes(
  reader: ConfigReader,
  layers: number,
  fallback: (index: number) => LayerType,
): readonly LayerType[] {
  const given = reader.value("layer_types");
  const isType = (type: unknown): type is LayerType =>
    type === "full_attention" || type === "sliding_attention";
  if (given === undefined) {
    return Array.from({ length: layers }, (_, index) => fallback(index));
  }
  if (
    Array.isArray(given) && given.length === layers && given.every(isType)
  ) return given;
  reader.problems.push(
    `layer_types must be a list of ${layers} times "full_attention" or "sliding_attention"`,
  );
  return [];
}

/**
 * For each layer, how many positions a token sees: `window` where the layer has a
 * sliding window, `null` for all. A sliding layer without a window size is a
 * problem.
 */
export function slidingWindows(
  reader: ConfigReader,
  layers: {
    readonly types: readonly LayerType[];
    readonly window: number | null;
  },
): readonly (number | null)[] {
  const { types, window } = layers;
  if (window === null && types.includes("sliding_attention")) {
    reader.problems.push(
      'layer_types has "sliding_attention" but there is no sliding_window',
    );
  }
  return types.map((type) => type === "sliding_attention" ? window : null);
}
