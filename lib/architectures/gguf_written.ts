/**
 * A model in the words of llama.cpp: the settings and the names of tensors for a GGUF
 * file, from the same tables that GGUF files are read with.
 *
 * @module
 */

import type { GgufPairs, GgufTyped } from "../formats/gguf_writer.ts";
import { InputError, quoted } from "../input_error.ts";
import { inverseFrequencies, type RopeParameters } from "../nn/rope_scaling.ts";
import type { ModelConfig } from "./causal_lm.ts";
import type { DecoderConfig } from "./decoder_config.ts";
import {
  GGUF_ARCHITECTURES,
  type GgufArchitecture,
} from "./gguf_architectures.ts";
import { OUTER_NAMES } from "./gguf_model.ts";
import { ROPE_TENSORS } from "./gguf_rope.ts";

/** What is done to a tensor of the checkpoint, and what it is called then. */
export interface GgufPlace {
  /** Its name in the file. */
  readonly name: string;
  /** Heads whose rows are interleaved. */
  readonly interleavedHeads?: number;
  /** What is added to its numbers. */
  readonly added?: number;
}

/** Models that llama.cpp computes as another one's. */
const SAME_AS: Readonly<Record<string, string>> = { mistral: "llama" };

/** The families with settings that all of llama.cpp's formats have. */
type Config = DecoderConfig & {
  readonly localRope?: RopeParameters;
  readonly windows?: readonly (number | null)[];
  readonly window?: number | null;
  readonly attnLogitSoftcapping?: number | null;
  readonly finalLogitSoftcapping?: number | null;
};

/**
 * A model's settings, and where its tensors go.
 *
 * @example
 * ```ts
 * import {
 *   GgufWording,
 *   readConfig,
 * } from "@lorikeet/lorikeet/architectures";
 *
 * const wording = new GgufWording(readConfig("models/tiny-atom"));
 * const { name } = wording.place("model.layers.0.self_attn.q_proj.weight");
 * if (name !== "blk.0.attn_q.weight") throw new Error("unexpected name");
 * ```
 */
export class GgufWording {
  /** What llama.cpp calls the architecture. */
  readonly name: string;
  readonly #config: Config;
  readonly #architecture: GgufArchitecture;

  /**
   * Finds llama.cpp's name of the model that `config` describes.
   *
   * @throws {InputError} naming the families that have one.
   */
  constructor(config: ModelConfig) {
    const type = SAME_AS[config.modelType] ?? config.modelType;
    const found = [...GGUF_ARCHITECTURES]
      .find(([, { modelType }]) => modelType === type);
    if (found === undefined) {
      const known = [
        ...Object.keys(SAME_AS),
        ...[...GGUF_ARCHITECTURES.values()].map(({ modelType }) => modelType),
      ];
      throw new InputError(
        `Cannot write ${quoted(config.path)} as GGUF: models of type ${
          quoted(config.modelType)
        } are not written, known are ${
          known.map((it) => quoted(it)).join(", ")
        }`,
      );
    }
    this.name = String(found[0]);
    this.#architecture = found[1];
    this.#config = config as Config;
  }

  /** The settings, after `general.*`. */
  pairs(): GgufPairs {
    const config = this.#config;
    const u32 = (value: number): GgufTyped => ({ u32: value });
    const f32 = (value: number): GgufTyped => ({ f32: value });
    const pairs: [string, GgufTyped | null][] = [
      ["block_count", u32(config.layers)],
      ["context_length", u32(config.maxPositions)],
      ["embedding_length", u32(config.hiddenSize)],
      ["feed_forward_length", u32(config.intermediateSize)],
      ["attention.head_count", u32(config.heads)],
      ["attention.head_count_kv", u32(config.keyValueHeads)],
      ["attention.key_length", u32(config.headSize)],
      ["attention.value_length", u32(config.headSize)],
      ["attention.layer_norm_rms_epsilon", f32(config.normEps)],
      ["vocab_size", u32(config.vocabSize)],
      ["rope.dimension_count", u32(config.rope.headSize)],
      ["rope.freq_base", f32(config.rope.theta)],
      ...this.#ropePairs(),
      ...this.#windowPairs(),
    ];
    return pairs.flatMap(([name, value]) =>
      value === null ? [] : [[`${this.name}.${name}`, value] as const]
    );
  }

  #ropePairs(): [string, GgufTyped | null][] {
    const { rope, localRope, modelType, maxPositions } = this.#config;
    const number = (value: number | undefined): GgufTyped | null =>
      value === undefined ? null : { f32: value };
    const scales = rope.type === "linear" || rope.type === "yarn";
    const original = rope.originalMaxPositions ??
      (modelType === "phi3" ? maxPositions : undefined);
    const keepsOriginal = rope.type === "yarn" || modelType === "phi3";
    return [
      ["rope.freq_base_swa", number(localRope?.theta)],
      ["rope.scaling.type", scales ? { text: rope.type } : null],
      ["rope.scaling.factor", scales ? number(rope.factor) : null],
      [
        "rope.scaling.original_context_length",
        keepsOriginal && original !== undefined ? { u32: original } : null,
      ],
      ["rope.scaling.yarn_beta_fast", number(rope.betaFast)],
      ["rope.scaling.yarn_beta_slow", number(rope.betaSlow)],
      [
        "rope.scaling.attn_factor",
        rope.type === "longrope" ? number(longFactor(rope)) : null,
      ],
    ];
  }

  #windowPairs(): [string, GgufTyped | null][] {
    const { modelType, windows, window } = this.#config;
    const size = windows?.find((each) => each !== null) ?? window;
    const caps = {
      attn_logit_softcapping: this.#config.attnLogitSoftcapping,
      final_logit_softcapping: this.#config.finalLogitSoftcapping,
    };
    const isRead = (key: string): boolean =>
      this.#architecture.keys?.includes(key) ?? false;
    return [
      [
        "attention.sliding_window",
        isRead("attention.sliding_window") &&
          (size !== null && size !== undefined || modelType === "phi3")
          ? { u32: size ?? 0 }
          : null,
      ],
      ...Object.entries(caps).map((
        [key, value],
      ): [string, GgufTyped | null] => [
        key,
        isRead(key) && value ? { f32: value } : null,
      ]),
    ];
  }

  /** Tensors that no checkpoint has: what angles are divided by. */
  derived(): { name: string; numbers: Float32Array }[] {
    const { rope } = this.#config;
    if (rope.type === "llama3") {
      const plain = inverseFrequencies({ ...rope, type: "default" }, 1);
      const scaled = inverseFrequencies(rope, 1);
      const numbers = plain.map((value, i) => value / scaled[i]!);
      return [{ name: ROPE_TENSORS.llama3, numbers }];
    }
    if (rope.type !== "longrope") return [];
    return [
      { name: ROPE_TENSORS.long, numbers: Float32Array.from(rope.longFactor!) },
      {
        name: ROPE_TENSORS.short,
        numbers: Float32Array.from(rope.shortFactor!),
      },
    ];
  }

  /**
   * Where the tensor called `path` in the checkpoint goes.
   *
   * @throws {InputError} when llama.cpp's model has no place for it.
   */
  place(path: string): GgufPlace {
    const [, layer, part = "", kind = ""] =
      /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(path) ?? [];
    const names = layer === undefined
      ? OUTER_NAMES
      : this.#architecture.layerNames;
    const short = Object.keys(names).find((each) => names[each] === part);
    if (short === undefined) {
      throw new InputError(
        `Cannot write ${quoted(this.#config.path)} as GGUF: llama.cpp's ${
          quoted(this.name)
        } has no place for ${quoted(path)}`,
      );
    }
    const name = layer === undefined
      ? `${short}.${kind}`
      : `blk.${layer}.${short}.${kind}`;
    const { isInterleaved, hasShiftedNorms } = this.#architecture;
    const { heads, keyValueHeads } = this.#config;
    if (isInterleaved && short === "attn_q") {
      return { name, interleavedHeads: heads };
    }
    if (isInterleaved && short === "attn_k") {
      return { name, interleavedHeads: keyValueHeads };
    }
    return hasShiftedNorms && short.endsWith("norm")
      ? { name, added: 1 }
      : { name };
  }

  /**
   * Checks that `read`, the settings in a file that was written, compute what these do.
   *
   * @throws {InputError} naming what llama.cpp's format does not hold.
   */
  refuseOther(read: ModelConfig): void {
    const [own, other] = [computed(this.#config), computed(read)];
    const names = new Set([...own.keys(), ...other.keys()]);
    const lost = [...names].filter((name) => own.get(name) !== other.get(name));
    if (lost.length === 0) return;
    throw new InputError(
      `Cannot write ${quoted(this.#config.path)} as GGUF: llama.cpp's ${
        quoted(this.name)
      } does not hold its ${
        lost.map((name) => `${name} ${own.get(name)}`).join(", ")
      }`,
    );
  }
}

/** What longrope multiplies cosines and sines with. */
function longFactor(rope: RopeParameters): number | undefined {
  const { attentionFactor, maxPositions, originalMaxPositions } = rope;
  if (attentionFactor !== undefined) return attentionFactor;
  const original = originalMaxPositions ?? maxPositions;
  const scale = rope.factor ?? maxPositions / original;
  return scale <= 1 ? 1 : Math.sqrt(1 + Math.log(scale) / Math.log(original));
}

/** Settings without a say in what a model computes, or that are written elsewhere. */
const NOT_COMPUTED: readonly string[] = [
  "modelType",
  "path",
  "source",
  "initializerRange",
  "attentionDropout",
  "eosTokenIds",
  "bosTokenId",
];

/** The settings that a model computes with, as text; numbers as float32 has them. */
function computed(config: ModelConfig): ReadonlyMap<string, string> {
  const rope = (value: RopeParameters): unknown => ({
    ...value,
    ...(value.type === "longrope"
      ? { attentionFactor: longFactor(value), factor: undefined }
      : {}),
    ...(value.type === "default" ? { originalMaxPositions: undefined } : {}),
  });
  const entries = Object.entries(config)
    .filter(([name]) => !NOT_COMPUTED.includes(name))
    .map(([name, value]): [string, string] => [
      name,
      JSON.stringify(
        /rope/i.test(name) ? rope(value as RopeParameters) : value,
        (_, each) =>
          typeof each === "number" ? Math.fround(each) : sorted(each),
      ) ?? "null",
    ]);
  return new Map(entries);
}

function sorted(value: unknown): unknown {
  const isPlain = typeof value !== "object" || value === null ||
    Array.isArray(value);
  if (isPlain) return value;
  const entries = Object.entries(value)
    .sort(([one], [other]) => one < other ? -1 : 1);
  return Object.fromEntries(entries);
}
