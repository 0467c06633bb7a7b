/**
 * A GGUF file as a model folder: what its `config.json` would say, and its tensors
 * under the names of the model's own checkpoint. llama.cpp keeps the rows of a
 * Llama's queries and keys interleaved; that is undone when they are loaded.
 *
 * @module
 */

import { FileBytes } from "../formats/file_bytes.ts";
import { type GgufFile, readGguf } from "../formats/gguf.ts";
import type { GgufValue } from "../formats/gguf_values.ts";
import { readStored, type StoredTensor } from "../formats/stored_tensor.ts";
import { InputError, quoted } from "../input_error.ts";
import { inverseFrequencies } from "../nn/rope_scaling.ts";
import type { ConfigJson } from "./config_reader.ts";

/** What llama.cpp calls an architecture, and what that is here. */
interface GgufArchitecture {
  /** `model_type` and the class in `config.json`. */
  readonly modelType: string;
  readonly className: string;
  /** Whether the rows of queries and keys lie interleaved. */
  readonly isInterleaved: boolean;
}

const ARCHITECTURES: ReadonlyMap<GgufValue, GgufArchitecture> = new Map([
  ["llama", {
    modelType: "llama",
    className: "LlamaForCausalLM",
    isInterleaved: true,
  }],
]);

/** Parts of names: in the file, in the checkpoint. */
const LAYER_NAMES: ReadonlyMap<string, string> = new Map([
  ["attn_q", "self_attn.q_proj"],
  ["attn_k", "self_attn.k_proj"],
  ["attn_v", "self_attn.v_proj"],
  ["attn_output", "self_attn.o_proj"],
  ["ffn_gate", "mlp.gate_proj"],
  ["ffn_up", "mlp.up_proj"],
  ["ffn_down", "mlp.down_proj"],
  ["attn_norm", "input_layernorm"],
  ["ffn_norm", "post_attention_layernorm"],
]);
const OUTER_NAMES: ReadonlyMap<string, string> = new Map([
  ["token_embd", "model.embed_tokens"],
  ["output_norm", "model.norm"],
  ["output", "lm_head"],
]);
const HEAD = "output.weight";
/** What the angles of a head's turns are divided by. */
const FREQUENCIES = "rope_freqs.weight";

/** Fields of `config.json` by the names of llama.cpp, after the architecture's. */
const SIZES: ReadonlyMap<string, string> = new Map([
  ["embedding_length", "hidden_size"],
  ["block_count", "num_hidden_layers"],
  ["feed_forward_length", "intermediate_size"],
  ["attention.head_count", "num_attention_heads"],
  ["context_length", "max_position_embeddings"],
  ["attention.layer_norm_rms_epsilon", "rms_norm_eps"],
]);
/** Read elsewhere below, or without a say in what the model computes. */
const OTHER_KEYS: ReadonlySet<string> = new Set([
  "vocab_size",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.value_length",
  "rope.dimension_count",
  "rope.freq_base",
  "rope.scaling.type",
  "rope.scaling.factor",
  "rope.scaling.original_context_length",
  "rope.scaling.finetuned",
  "rope.scale_linear",
  "tensor_data_layout",
  "expert_count",
  "expert_used_count",
]);

/**
 * What `config.json` would say of the model in the GGUF file at `path`.
 *
 * @throws {InputError} when it is damaged or of a model that is not computed.
 */
export function ggufConfig(path: string): ConfigJson {
  return new GgufModel(readGguf(path)).config();
}

/**
 * The tensors of the GGUF file at `path` by the names of the model's checkpoint;
 * one that belongs to no layer keeps its name.
 *
 * @throws {InputError} when it is damaged or of a model that is not computed.
 */
export function ggufWeights(path: string): Map<string, StoredTensor> {
  return new GgufModel(readGguf(path)).weights();
}

class GgufModel {
  readonly #file: GgufFile;
  readonly #name: string;
  readonly #architecture: GgufArchitecture;

  constructor(file: GgufFile) {
    this.#file = file;
    const name = file.metadata.get("general.architecture");
    const architecture = name === undefined
      ? undefined
      : ARCHITECTURES.get(name);
    if (architecture === undefined) {
      const known = [...ARCHITECTURES.keys()].map((each) => quoted(each));
      this.#fail(
        `its general.architecture is ${
          name === undefined ? "missing" : quoted(name, 60)
        }, known are ${known.join(", ")}`,
      );
    }
    this.#name = String(name);
    this.#architecture = architecture;
  }

  config(): ConfigJson {
    this.#refuseUnknown();
    const { tensors } = this.#file;
    const { modelType, className } = this.#architecture;
    const sizes = [...SIZES].map(([key, field]) => [
      field,
      shortest(this.#needed(key)),
    ]);
    return {
      architectures: [className],
      model_type: modelType,
      ...Object.fromEntries(sizes),
      num_key_value_heads: this.#heads("attn_k"),
      head_dim: this.#headSize(),
      vocab_size: this.#vocabulary(),
      hidden_act: "silu",
      attention_bias: tensors.has("blk.0.attn_q.bias"),
      mlp_bias: tensors.has("blk.0.ffn_gate.bias"),
      tie_word_embeddings: !tensors.has(HEAD),
      bos_token_id: this.#id("bos"),
      eos_token_id: this.#endIds(),
      rope_parameters: this.#rope(),
    };
  }

  weights(): Map<string, StoredTensor> {
    const found = new Map<string, StoredTensor>();
    for (const [name, tensor] of this.#file.tensors) {
      if (name === FREQUENCIES) continue;
      const [full, short] = checkpointName(name);
      const isTurned = short === "attn_q" || short === "attn_k";
      found.set(
        full,
        isTurned && this.#architecture.isInterleaved
          ? { ...tensor, interleavedHeads: this.#heads(short) }
          : tensor,
      );
    }
    return found;
  }

  #fail(reason: string): never {
    throw new InputError(`Cannot load ${quoted(this.#file.path)}: ${reason}`);
  }

  #value(key: string): GgufValue | undefined {
    return this.#file.metadata.get(`${this.#name}.${key}`);
  }

  /** A number that may be missing. */
  #number(key: string): number | undefined {
    const value = this.#value(key);
    if (value === undefined || typeof value === "number") return value;
    this.#fail(
      `its ${this.#name}.${key} is ${quoted(value, 60)}, a number is needed`,
    );
  }

  #needed(key: string): number {
    return this.#number(key) ??
      this.#fail(`its ${this.#name}.${key} is missing`);
  }

  /** A key that this page does not know may change what the model computes. */
  #refuseUnknown(): void {
    const unknown = [...this.#file.metadata.keys()].filter((name) => {
      const [owner = "", ...rest] = name.split(".");
      const key = rest.join(".");
      return owner === this.#name && !SIZES.has(key) && !OTHER_KEYS.has(key);
    });
    if (unknown.length > 0) {
      this.#fail(
        `it sets ${
          unknown.map((each) => quoted(each)).join(", ")
        }, which lorikeet does not compute`,
      );
    }
    if ((this.#number("expert_count") ?? 0) > 0) {
      this.#fail("it is a mixture of experts, which lorikeet does not compute");
    }
  }

  #heads(projection: string): number {
    const heads = this.#needed("attention.head_count");
    const count = projection === "attn_k"
      ? this.#number("attention.head_count_kv") ?? heads
      : heads;
    if (Number.isSafeInteger(count) && count > 0) return count;
    this.#fail(`its number of heads is ${count}, a positive one is needed`);
  }

  #headSize(): number {
    const width = this.#needed("embedding_length") / this.#heads("attn_q");
    const size = this.#number("attention.key_length") ?? width;
    const sizes = {
      "attention.value_length": this.#number("attention.value_length"),
      "rope.dimension_count": this.#number("rope.dimension_count"),
    };
    for (const [key, other] of Object.entries(sizes)) {
      if (other === undefined || other === size) continue;
      this.#fail(
        `its ${this.#name}.${key} is ${other}, only ${size}, the size of a head, is computed`,
      );
    }
    return size;
  }

  #vocabulary(): number {
    const rows = this.#file.tensors.get("token_embd.weight")?.shape[0];
    return rows ?? this.#needed("vocab_size");
  }

  #id(role: string): number | null {
    const id = this.#file.metadata.get(`tokenizer.ggml.${role}_token_id`);
    return typeof id === "number" ? id : null;
  }

  /** The ids that end an answer: of the text, and of the turn where that is another. */
  #endIds(): number | number[] | null {
    const ids = [this.#id("eos"), this.#id("eot")].filter((id) => id !== null);
    const unique = [...new Set(ids)];
    return unique.length > 1 ? unique : unique[0] ?? null;
  }

  #rope(): Readonly<Record<string, unknown>> {
    const theta = shortest(this.#number("rope.freq_base") ?? 10000);
    const type = this.#value("rope.scaling.type") ?? "none";
    const factor = this.#number("rope.scaling.factor") ??
      this.#number("rope.scale_linear") ?? 1;
    const divisors = this.#file.tensors.get(FREQUENCIES);
    if (divisors !== undefined && factor === 1) {
      return this.#llama3(divisors, theta);
    }
    if (divisors === undefined && (type === "none" || type === "linear")) {
      return factor === 1
        ? { rope_type: "default", rope_theta: theta }
        : { rope_type: "linear", rope_theta: theta, factor: shortest(factor) };
    }
    this.#fail(
      `its ${this.#name}.rope.scaling.type is ${
        quoted(type, 60)
      } with factor ${factor}${
        divisors === undefined ? "" : ` beside ${FREQUENCIES}`
      }, only "none", "linear" or ${FREQUENCIES} alone are computed`,
    );
  }

  /** Llama 3's rope is stored as what its angles are divided by; its settings are looked for. */
  #llama3(
    divisors: StoredTensor,
    theta: number,
  ): Readonly<Record<string, unknown>> {
    using file = new FileBytes(this.#file.path);
    const { bytes, dtype } = readStored(file, divisors);
    const stored = dtype === "float32"
      ? Array.from(new Float32Array(bytes.slice().buffer))
      : [];
    const factor = shortest(
      stored.reduce((most, each) => Math.max(most, each), 1),
    );
    const computed = llama3Divisors({
      headSize: this.#headSize(),
      theta,
      factor,
    });
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
    this.#fail(
      `the frequencies in its ${FREQUENCIES} are not those of Llama 3, others are not computed`,
    );
  }
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

/** A tensor's name in the checkpoint, and the part of its own that tells which it is. */
function checkpointName(name: string): [full: string, short: string] {
  const [, layer, short = "", kind] =
    /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const mapped = (layer === undefined ? OUTER_NAMES : LAYER_NAMES).get(short);
  if (mapped === undefined) return [name, ""];
  const owner = layer === undefined
    ? mapped
    : `model.layers.${layer}.${mapped}`;
  return [`${owner}.${kind}`, short];
}

/** The shortest decimal number that is the same in float32: 1e-5, not 9.999999747378752e-6. */
function shortest(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
