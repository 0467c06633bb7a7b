/**
 * The architectures of llama.cpp that are read: for each, what its tensors and
 * settings are called in the model's own checkpoint, as llama.cpp's converter
 * (`conversion/*.py`) names and changes them.
 *
 * @module
 */

import { type GgufMetadata, shortest } from "./gguf_metadata.ts";
import { ggufRope, phi3Rope } from "./gguf_rope.ts";

type Fields = Readonly<Record<string, unknown>>;

/** What llama.cpp calls an architecture, and what that is here. */
export interface GgufArchitecture {
  /** `model_type` in `config.json`. */
  readonly modelType: string;
  /** The class in `config.json`. */
  readonly className: string;
  /** Whether the rows of queries and keys lie interleaved. */
  readonly isInterleaved?: boolean;
  /** Whether its norms' weights have 1 added, which the model adds itself. */
  readonly hasShiftedNorms?: boolean;
  /** Parts of a layer: in the file, in the checkpoint. */
  readonly layerNames: Readonly<Record<string, string>>;
  /** Settings of its own that `fields` reads. */
  readonly keys?: readonly string[];
  /** Fields of `config.json` beside those that all have. */
  fields(metadata: GgufMetadata): Fields;
}

const ATTENTION = {
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
};
const MLP = {
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};
const NORMS = {
  attn_norm: "input_layernorm",
  ffn_norm: "post_attention_layernorm",
};
const HEAD_NORMS = {
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
};
const FOUR_NORMS = {
  attn_norm: "input_layernorm",
  post_attention_norm: "post_attention_layernorm",
  ffn_norm: "pre_feedforward_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
};

const LLAMA: GgufArchitecture = {
  modelType: "llama",
  className: "LlamaForCausalLM",
  isInterleaved: true,
  layerNames: { ...ATTENTION, ...MLP, ...NORMS },
  keys: ["tensor_data_layout"],
  fields(metadata): Fields {
    metadata.refusePartialRotation();
    const { tensors } = metadata.file;
    return {
      hidden_act: "silu",
      attention_bias: tensors.has("blk.0.attn_q.bias"),
      mlp_bias: tensors.has("blk.0.ffn_gate.bias"),
      rope_parameters: ggufRope(metadata),
    };
  },
};

const QWEN2: GgufArchitecture = {
  modelType: "qwen2",
  className: "Qwen2ForCausalLM",
  layerNames: { ...ATTENTION, ...MLP, ...NORMS },
  fields(metadata): Fields {
    metadata.refusePartialRotation();
    return { hidden_act: "silu", rope_parameters: ggufRope(metadata) };
  },
};

const QWEN3: GgufArchitecture = {
  modelType: "qwen3",
  className: "Qwen3ForCausalLM",
  layerNames: { ...ATTENTION, ...MLP, ...NORMS, ...HEAD_NORMS },
  fields(metadata): Fields {
    metadata.refusePartialRotation();
    return {
      hidden_act: "silu",
      attention_bias: metadata.file.tensors.has("blk.0.attn_q.bias"),
      rope_parameters: ggufRope(metadata),
    };
  },
};

const GEMMA: GgufArchitecture = {
  modelType: "gemma",
  className: "GemmaForCausalLM",
  hasShiftedNorms: true,
  layerNames: { ...ATTENTION, ...MLP, ...NORMS },
  fields(metadata): Fields {
    metadata.refusePartialRotation();
    return {
      hidden_act: "gelu_pytorch_tanh",
      rope_parameters: ggufRope(metadata),
    };
  },
};

/** What scores are divided by the root of: the largest of each line has its own. */
function queryScale(metadata: GgufMetadata, largest: number): number {
  return metadata.needed("block_count") === largest
    ? metadata.needed("embedding_length") / metadata.heads("queries")
    : metadata.headSize();
}

function softcap(metadata: GgufMetadata, key: string): number | null {
  const value = metadata.number(key);
  return value === undefined ? null : shortest(value);
}

const GEMMA2: GgufArchitecture = {
  ...GEMMA,
  modelType: "gemma2",
  className: "Gemma2ForCausalLM",
  layerNames: { ...ATTENTION, ...MLP, ...FOUR_NORMS },
  keys: [
    "attention.sliding_window",
    "attn_logit_softcapping",
    "final_logit_softcapping",
  ],
  fields(metadata): Fields {
    metadata.refusePartialRotation();
    return {
      hidden_activation: "gelu_pytorch_tanh",
      sliding_window: metadata.needed("attention.sliding_window"),
      query_pre_attn_scalar: queryScale(metadata, 46),
      attn_logit_softcapping: softcap(metadata, "attn_logit_softcapping"),
      final_logit_softcapping: softcap(metadata, "final_logit_softcapping"),
      rope_parameters: ggufRope(metadata),
    };
  },
};

const GEMMA3: GgufArchitecture = {
  ...GEMMA,
  modelType: "gemma3_text",
  className: "Gemma3ForCausalLM",
  layerNames: { ...ATTENTION, ...MLP, ...FOUR_NORMS, ...HEAD_NORMS },
  keys: [
    "attention.sliding_window",
    "final_logit_softcapping",
    "rope.freq_base_swa",
  ],
  fields(metadata): Fields {
    metadata.refusePartialRotation();
    const local = shortest(metadata.number("rope.freq_base_swa") ?? 10000);
    return {
      hidden_activation: "gelu_pytorch_tanh",
      sliding_window: metadata.needed("attention.sliding_window"),
      sliding_window_pattern: 6,
      query_pre_attn_scalar: queryScale(metadata, 62),
      final_logit_softcapping: softcap(metadata, "final_logit_softcapping"),
      rope_parameters: {
        full_attention: ggufRope(metadata, 1e6),
        sliding_attention: { rope_type: "default", rope_theta: local },
      },
    };
  },
};

const PHI3: GgufArchitecture = {
  modelType: "phi3",
  className: "Phi3ForCausalLM",
  layerNames: {
    ...NORMS,
    attn_qkv: "self_attn.qkv_proj",
    attn_output: "self_attn.o_proj",
    ffn_up: "mlp.gate_up_proj",
    ffn_down: "mlp.down_proj",
  },
  keys: ["attention.sliding_window", "rope.scaling.attn_factor"],
  fields(metadata): Fields {
    const window = metadata.needed("attention.sliding_window");
    return {
      hidden_act: "silu",
      sliding_window: window === 0 ? null : window,
      original_max_position_embeddings: metadata.needed(
        "rope.scaling.original_context_length",
      ),
      partial_rotary_factor: metadata.turnedSize() / metadata.headSize(),
      rope_parameters: phi3Rope(metadata),
    };
  },
};

/** The architectures by llama.cpp's names. */
export const GGUF_ARCHITECTURES: ReadonlyMap<unknown, GgufArchitecture> =
  new Map([
    ["llama", LLAMA],
    ["qwen2", QWEN2],
    ["qwen3", QWEN3],
    ["gemma", GEMMA],
    ["gemma2", GEMMA2],
    ["gemma3", GEMMA3],
    ["phi3", PHI3],
  ]);
