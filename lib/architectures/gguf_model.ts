/**
 * A GGUF file as a model folder: what its `config.json` would say, and its tensors
 * under the names of the model's own checkpoint. What llama.cpp changed in them
 * (rows interleaved, 1 added to norms) is undone when they are loaded.
 *
 * @module
 */

import { type GgufFile, readGguf } from "../formats/gguf.ts";
import type { StoredTensor } from "../formats/stored_tensor.ts";
import { quoted } from "../input_error.ts";
import type { ConfigJson } from "./config_reader.ts";
import {
  GGUF_ARCHITECTURES,
  type GgufArchitecture,
} from "./gguf_architectures.ts";
import { GgufMetadata, shortest } from "./gguf_metadata.ts";
import { ROPE_KEYS, ROPE_TENSORS } from "./gguf_rope.ts";

/** Parts outside of the layers: in the file, in the checkpoint. */
export const OUTER_NAMES: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};
const HEAD = "output.weight";

/** Fields of `config.json` by the names of llama.cpp, after the architecture's. */
const SIZES: ReadonlyMap<string, string> = new Map([
  ["embedding_length", "hidden_size"],
  ["block_count", "num_hidden_layers"],
  ["feed_forward_length", "intermediate_size"],
  ["attention.head_count", "num_attention_heads"],
  ["context_length", "max_position_embeddings"],
  ["attention.layer_norm_rms_epsilon", "rms_norm_eps"],
]);
/** Read elsewhere, or without a say in what the model computes. */
const OTHER_KEYS: readonly string[] = [
  "vocab_size",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.value_length",
  "expert_count",
  "expert_used_count",
];

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
  readonly #metadata: GgufMetadata;
  readonly #architecture: GgufArchitecture;

  constructor(file: GgufFile) {
    this.#file = file;
    this.#metadata = new GgufMetadata(file);
    const name = file.metadata.get("general.architecture");
    const architecture = GGUF_ARCHITECTURES.get(name);
    if (architecture === undefined) {
      const known = [...GGUF_ARCHITECTURES.keys()].map((each) => quoted(each));
      this.#metadata.fail(
        `its general.architecture is ${
          name === undefined ? "missing" : quoted(name, 60)
        }, known are ${known.join(", ")}`,
      );
    }
    this.#architecture = architecture;
  }

  config(): ConfigJson {
    this.#refuseUnknown();
    const metadata = this.#metadata;
    const { modelType, className } = this.#architecture;
    const sizes = [...SIZES].map(([key, field]) => [
      field,
      shortest(metadata.needed(key)),
    ]);
    return {
      architectures: [className],
      model_type: modelType,
      ...Object.fromEntries(sizes),
      num_key_value_heads: metadata.heads("keys"),
      head_dim: metadata.headSize(),
      vocab_size: this.#vocabulary(),
      tie_word_embeddings: !this.#file.tensors.has(HEAD),
      bos_token_id: metadata.id("bos"),
      eos_token_id: this.#endIds(),
      ...this.#architecture.fields(metadata),
    };
  }

  weights(): Map<string, StoredTensor> {
    const found = new Map<string, StoredTensor>();
    const ropes: readonly string[] = Object.values(ROPE_TENSORS);
    for (const [name, tensor] of this.#file.tensors) {
      if (ropes.includes(name)) continue;
      const [full, short] = this.#checkpointName(name);
      found.set(full, { ...tensor, ...this.#undone(short) });
    }
    return found;
  }

  /** What is to be done to a tensor to have it as in the checkpoint. */
  #undone(
    short: string,
  ): Pick<StoredTensor, "interleavedHeads" | "added"> {
    const { isInterleaved, hasShiftedNorms } = this.#architecture;
    if (isInterleaved && (short === "attn_q" || short === "attn_k")) {
      const of = short === "attn_q" ? "queries" : "keys";
      return { interleavedHeads: this.#metadata.heads(of) };
    }
    return hasShiftedNorms && short.endsWith("norm") ? { added: 1 } : {};
  }

  /** A key that is not known may change what the model computes. */
  #refuseUnknown(): void {
    const metadata = this.#metadata;
    const { keys = [] } = this.#architecture;
    const known = new Set<string>([
      ...SIZES.keys(),
      ...OTHER_KEYS,
      ...ROPE_KEYS,
      ...keys,
    ]);
    const unknown = [...this.#file.metadata.keys()].filter((name) => {
      const [owner = "", ...rest] = name.split(".");
      return owner === metadata.architecture && !known.has(rest.join("."));
    });
    if (unknown.length > 0) {
      metadata.fail(
        `it sets ${
          unknown.map((each) => quoted(each)).join(", ")
        }, which lorikeet does not compute`,
      );
    }
    if ((metadata.number("expert_count") ?? 0) > 0) {
      metadata.fail(
        "it is a mixture of experts, which lorikeet does not compute",
      );
    }
  }

  #vocabulary(): number {
    const rows = this.#file.tensors.get("token_embd.weight")?.shape[0];
    return rows ?? this.#metadata.needed("vocab_size");
  }

  /** The ids that end an answer: of the text, and of the turn where that is another. */
  #endIds(): number | number[] | null {
    const ids = [this.#metadata.id("eos"), this.#metadata.id("eot")]
      .filter((id) => id !== null);
    const unique = [...new Set(ids)];
    return unique.length > 1 ? unique : unique[0] ?? null;
  }

  /** A tensor's name in the checkpoint, and the part of its own that tells which it is. */
  #checkpointName(name: string): [full: string, short: string] {
    const [, layer, short = "", kind] =
      /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
    const names = layer === undefined
      ? OUTER_NAMES
      : this.#architecture.layerNames;
    if (!Object.hasOwn(names, short)) return [name, ""];
    const owner = layer === undefined
      ? names[short]
      : `model.layers.${layer}.${names[short]}`;
    return [`${owner}.${kind}`, short];
  }
}
