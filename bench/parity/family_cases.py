"""Random config.json files of the families that transformers computes, for families.py.

Every draw is a function of the random source. A config is drawn in the spelling of transformers 4, with rope_theta and
rope_scaling; families.py also writes it as transformers 5 does. Windows, original lengths and caps are small, so that
rows of 72 tokens lie beyond them.
"""
LENGTH = 72


def pick(source, *values):
    return source.choice(values)


def sizes(source, divides=True):
    """Widths with odd factors; `divides`: the heads share the hidden size.

    No activation has a kink, where rounding alone decides on a gradient.
    """
    key_heads = pick(source, 1, 1, 2, 3)
    heads = key_heads * pick(source, 1, 2, 3, 4)
    own = pick(source, 4, 6, 8, 10, 12)
    hidden = heads * own if divides or source.random() < 0.5 else 2 * source.randint(9, 30)
    return dict(hidden_size=hidden, intermediate_size=source.randint(17, 70), num_hidden_layers=source.randint(2, 4),
                num_attention_heads=heads, num_key_value_heads=key_heads, initializer_range=0.02,
                rms_norm_eps=pick(source, 1e-6, 1e-5, 1e-3), hidden_act=pick(source, "silu", "silu", "gelu", "gelu_new",
                                                                            "gelu_pytorch_tanh", "relu2"),
                tie_word_embeddings=pick(source, True, False), attention_dropout=0.0, use_cache=True, bos_token_id=1,
                eos_token_id=2, pad_token_id=pick(source, None, 0), max_position_embeddings=pick(source, 2048, 100))


def head_size(source, config, required=False, least=4):
    """A head_dim of its own, or none where the sizes allow that."""
    fits = config["hidden_size"] % config["num_attention_heads"] == 0 and (
        config["hidden_size"] // config["num_attention_heads"] % 2 == 0)
    if required or not fits or source.random() < 0.5:
        config["head_dim"] = 2 * source.randint(least // 2, 9)
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def rope(source, config, size, kinds=("default", "linear", "dynamic", "yarn", "longrope", "llama3")):
    """rope_theta and rope_scaling for a rotated part of `size`."""
    config["rope_theta"] = pick(source, 10000.0, 10000, 500.0, 1e6)
    kind = pick(source, "default", *kinds)
    original = source.randint(10, 60)
    if kind == "default":
        config["rope_scaling"] = None
        return
    config["max_position_embeddings"] = source.randint(20, 160)
    scaling = {"rope_type": kind, "factor": pick(source, 2.0, 4.0, 8.0, 1.5)}
    if kind == "dynamic":
        config["max_position_embeddings"] = original
    if kind in ("yarn", "longrope", "llama3") and (kind == "llama3" or source.random() < 0.8):
        scaling["original_max_position_embeddings"] = original
    if kind == "yarn":
        scaling.update(source.choice([{}, dict(attention_factor=1.3), dict(beta_fast=8.0, beta_slow=0.5),
                                      dict(mscale=0.7, mscale_all_dim=1.4), dict(mscale=1.0), dict(truncate=False),
                                      dict(beta_fast=16, beta_slow=2, truncate=False)]))
    if kind == "longrope":
        scaling["short_factor"] = [round(1 + source.random(), 3) for _ in range(size // 2)]
        scaling["long_factor"] = [round(1 + 4 * source.random(), 3) for _ in range(size // 2)]
        scaling.update(source.choice([{}, dict(attention_factor=1.2)]))
        if source.random() < 0.5:
            del scaling["factor"]
    if kind == "llama3":
        scaling.update(low_freq_factor=1.0, high_freq_factor=pick(source, 4.0, 2.0))
    spelled = source.random()
    if spelled < 0.3:
        scaling["type"] = scaling.pop("rope_type")
    elif spelled < 0.5:
        scaling["type"] = kind
    config["rope_scaling"] = scaling


def types(source, config, share=0.5):
    return [pick(source, "sliding_attention", "full_attention") for _ in range(config["num_hidden_layers"])]


def window(source):
    return source.randint(2, 40)


def flags(source, config, *names):
    for name in names:
        config[name] = source.random() < 0.5


def llama(source):
    config = sizes(source)
    flags(source, config, "attention_bias", "mlp_bias")
    rope(source, config, head_size(source, config))
    config["pretraining_tp"] = pick(source, 1, 2)
    if source.random() < 0.3:
        del config["num_key_value_heads"]
    return config


def mistral(source):
    config = sizes(source, divides=False)
    rope(source, config, head_size(source, config))
    config["sliding_window"] = pick(source, None, window(source), window(source), 4096)
    return config


def ministral(source):
    config = sizes(source, divides=False)
    rope(source, config, head_size(source, config, required=True))
    config["sliding_window"] = window(source)
    if source.random() < 0.8:
        config["layer_types"] = types(source, config)
    return config


def qwen_window(source, config):
    config.update(use_sliding_window=source.random() < 0.6, sliding_window=pick(source, window(source), 131072, None),
                  max_window_layers=source.randint(0, config["num_hidden_layers"]))
    if config["use_sliding_window"] and config["sliding_window"] and source.random() < 0.3:
        config["layer_types"] = types(source, config)


def qwen2(source):
    config = sizes(source)
    rope(source, config, head_size(source, config))
    qwen_window(source, config)
    return config


def qwen3(source):
    config = sizes(source, divides=False)
    rope(source, config, head_size(source, config, required=True))
    flags(source, config, "attention_bias")
    qwen_window(source, config)
    return config


def qwen3_moe(source):
    config = sizes(source, divides=False)
    rope(source, config, head_size(source, config, required=True))
    flags(source, config, "attention_bias", "norm_topk_prob", "use_sliding_window")
    experts = source.randint(2, 6)
    # PyTorch multiplies groups of matrices whose rows are multiples of 16 bytes only.
    config["hidden_size"] = 4 * source.randint(5, 15)
    config.update(num_experts=experts, num_experts_per_tok=source.randint(1, experts),
                  moe_intermediate_size=4 * source.randint(3, 9), decoder_sparse_step=pick(source, 1, 1, 2),
                  mlp_only_layers=pick(source, [], [0], [1]), sliding_window=window(source), router_aux_loss_coef=0.001)
    return config


def gemma(source):
    config = sizes(source)
    rope(source, config, head_size(source, config, required=True))
    config["hidden_act"] = pick(source, "gelu", "gelu_pytorch_tanh")
    flags(source, config, "attention_bias")
    if source.random() < 0.5:
        del config["tie_word_embeddings"]
    return config


def gemma2(source):
    config = gemma(source)
    del config["hidden_act"]
    config.update(hidden_activation=pick(source, "gelu_pytorch_tanh", "silu"), query_pre_attn_scalar=source.randint(2, 60),
                  sliding_window=window(source), attn_logit_softcapping=pick(source, None, 1.5, 50.0),
                  final_logit_softcapping=pick(source, None, 2.0, 30.0),
                  # Its usual attention in transformers passes the cap of scores over.
                  attn_implementation="eager")
    if source.random() < 0.4:
        config["layer_types"] = types(source, config)
    return config


def gemma3(source):
    config = gemma2(source)
    size = config["head_dim"]
    rope(source, config, size, ("linear", "dynamic", "yarn", "llama3"))
    config["attn_logit_softcapping"] = None
    if config["rope_scaling"] is not None:
        kind = config["rope_scaling"].pop("type", None)
        config["rope_scaling"].setdefault("rope_type", kind)
    config.update(rope_local_base_freq=pick(source, 10000.0, 100.0), sliding_window_pattern=pick(source, 2, 3, 6))
    return config


def phi3(source):
    config = sizes(source)
    if config["hidden_size"] // config["num_attention_heads"] == 4:
        config["hidden_size"] *= 2
    whole = config["hidden_size"] // config["num_attention_heads"]
    turned = 2 * source.randint(1, whole // 2)
    if source.random() < 0.6:
        # A little more than needed, since the product is rounded down.
        config["partial_rotary_factor"] = min(turned / whole + 1e-4, 1.0)
    else:
        turned = whole
    rope(source, config, turned, ("longrope",))
    config["original_max_position_embeddings"] = source.randint(10, 60)
    if config["rope_scaling"] is not None:
        scaling = config["rope_scaling"]
        scaling["original_max_position_embeddings"] = config["original_max_position_embeddings"]
        if "type" in scaling and "rope_type" not in scaling:
            scaling["type"] = pick(source, "longrope", "su", "yarn")
            if scaling["type"] == "yarn":
                scaling["factor"] = 2.0
    config.update(sliding_window=pick(source, None, window(source), 2047), resid_pdrop=0.0, embd_pdrop=0.0,
                  attention_bias=False)
    return config


def glm(source):
    config = sizes(source, divides=False)
    size = 4 * source.randint(1, 5)
    config["head_dim"] = size
    factor = pick(source, None, 0.5, 1.0, 0.5)
    if factor is not None:
        config["partial_rotary_factor"] = factor
    rope(source, config, int(size * (factor or 0.5)), ("linear", "yarn", "longrope", "llama3"))
    flags(source, config, "attention_bias")
    return config


def smollm3(source):
    config = sizes(source)
    rope(source, config, head_size(source, config, required=True))
    flags(source, config, "attention_bias", "mlp_bias", "use_sliding_window")
    config.update(sliding_window=pick(source, None, window(source)), no_rope_layer_interval=pick(source, 1, 2, 4))
    if source.random() < 0.5:
        config["no_rope_layers"] = [source.randint(0, 1) for _ in range(config["num_hidden_layers"])]
    return config


def granite(source):
    config = sizes(source)
    rope(source, config, head_size(source, config, required=True))
    flags(source, config, "attention_bias", "mlp_bias")
    config.update(attention_multiplier=pick(source, 0.0078125, 0.2, 1.0), embedding_multiplier=pick(source, 12.0, 1.0, 3),
                  logits_scaling=pick(source, 8.0, 16, 0.7), residual_multiplier=pick(source, 0.22, 1.0))
    return config


def olmo2(source):
    config = sizes(source)
    rope(source, config, config["hidden_size"] // config["num_attention_heads"], ("linear", "llama3"))
    flags(source, config, "attention_bias")
    return config


def layer_norm(config, name):
    config[name] = config.pop("rms_norm_eps")
    return config


def cohere(source):
    config = layer_norm(sizes(source), "layer_norm_eps")
    rope(source, config, config["hidden_size"] // config["num_attention_heads"], ("linear", "llama3"))
    flags(source, config, "attention_bias", "use_qk_norm")
    config["logit_scale"] = pick(source, 0.0625, 0.8, 1.0)
    return config


def starcoder2(source):
    config = layer_norm(sizes(source), "norm_epsilon")
    rope(source, config, config["hidden_size"] // config["num_attention_heads"], ("linear", "llama3"))
    flags(source, config, "use_bias")
    config.update(sliding_window=pick(source, None, window(source)), residual_dropout=0.0, embedding_dropout=0.0)
    return config


def stablelm(source):
    config = layer_norm(sizes(source), "layer_norm_eps")
    if config["hidden_size"] // config["num_attention_heads"] % 4:
        config["hidden_size"] *= 2
    whole = config["hidden_size"] // config["num_attention_heads"]
    factor = pick(source, 0.5, 1.0, 0.5 if whole % 8 else 0.25)
    config["partial_rotary_factor"] = factor
    rope(source, config, int(whole * factor), ("linear", "llama3"))
    flags(source, config, "use_qkv_bias", "qk_layernorm", "use_parallel_residual")
    config["hidden_dropout"] = 0.0
    return config


def exaone4(source):
    config = sizes(source, divides=False)
    rope(source, config, head_size(source, config, required=True))
    config["sliding_window"] = pick(source, None, window(source), window(source))
    if config["sliding_window"] is None:
        config["layer_types"] = ["full_attention"] * config["num_hidden_layers"]
    elif source.random() < 0.5:
        config.update(layer_types=types(source, config), sliding_window_pattern=pick(source, "LLLG", 4))
    else:
        config["sliding_window_pattern"] = pick(source, 2, 4)
    return config


def hunyuan(source):
    config = sizes(source, divides=False)
    rope(source, config, head_size(source, config, required=True))
    flags(source, config, "attention_bias")
    if source.random() < 0.4:
        config["rope_scaling"] = dict(type="dynamic", alpha=pick(source, 1000.0, 50), factor=pick(source, 1.0, 2.0),
                                      beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0)
        config["max_position_embeddings"] = pick(source, 40, 200)
    return config


def ernie4_5(source):
    config = sizes(source, divides=False)
    rope(source, config, head_size(source, config, required=True), ("linear", "llama3", "yarn"))
    flags(source, config, "use_bias")
    return config


def seed_oss(source):
    config = sizes(source, divides=False)
    rope(source, config, head_size(source, config, required=True))
    flags(source, config, "attention_bias", "attention_out_bias", "mlp_bias")
    config["residual_dropout"] = 0.0
    return config


# For each model_type its class, and what draws a config.
FAMILIES = {
    "llama": ("LlamaForCausalLM", llama), "mistral": ("MistralForCausalLM", mistral),
    "ministral": ("MinistralForCausalLM", ministral), "qwen2": ("Qwen2ForCausalLM", qwen2),
    "qwen3": ("Qwen3ForCausalLM", qwen3), "qwen3_moe": ("Qwen3MoeForCausalLM", qwen3_moe),
    "gemma": ("GemmaForCausalLM", gemma), "gemma2": ("Gemma2ForCausalLM", gemma2),
    "gemma3_text": ("Gemma3ForCausalLM", gemma3), "phi3": ("Phi3ForCausalLM", phi3), "glm": ("GlmForCausalLM", glm),
    "glm4": ("Glm4ForCausalLM", glm), "smollm3": ("SmolLM3ForCausalLM", smollm3),
    "granite": ("GraniteForCausalLM", granite), "olmo2": ("Olmo2ForCausalLM", olmo2),
    "cohere": ("CohereForCausalLM", cohere), "starcoder2": ("Starcoder2ForCausalLM", starcoder2),
    "stablelm": ("StableLmForCausalLM", stablelm), "exaone4": ("Exaone4ForCausalLM", exaone4),
    "hunyuan_v1_dense": ("HunYuanDenseV1ForCausalLM", hunyuan), "ernie4_5": ("Ernie4_5ForCausalLM", ernie4_5),
    "seed_oss": ("SeedOssForCausalLM", seed_oss),
}


def draw(source, family):
    """The config.json of a random model of `family`, without its vocabulary."""
    architecture, fields = FAMILIES[family]
    return dict(fields(source), model_type=family, architectures=[architecture], torch_dtype="float32")
