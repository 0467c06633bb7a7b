"""Random config.json files of the families whose code transformers lacks, for published.py, as their publishers spell them."""


def pick(source, *values):
    return source.choice(values)


def named(file, config_class, model_class, *architectures):
    return dict(architectures=list(architectures) or [model_class], torch_dtype="float32", transformers_version="4.30.2",
                use_cache=True, auto_map=dict(AutoConfig=f"configuration_{file}.{config_class}",
                                              AutoModelForCausalLM=f"modeling_{file}.{model_class}"))


# Not relu: an input within rounding of 0 is on either side of its edge, which shows in gradients.
def sizes(source, key_heads=False, even=True):
    heads = pick(source, 1, 2, 3, 4, 5, 6, 7, 12)
    own = pick(source, 4, 6, 8, 10) if even else pick(source, 3, 4, 5, 8)
    config = dict(hidden_size=heads * own, intermediate_size=source.randint(17, 70), num_hidden_layers=source.randint(2, 4),
                  num_attention_heads=heads, hidden_act=pick(source, "silu", "silu", "silu", "gelu"),
                  initializer_range=0.02, rms_norm_eps=pick(source, 1e-6, 1e-5, 1e-3), bos_token_id=1, eos_token_id=2,
                  pad_token_id=0, tie_word_embeddings=False)
    if key_heads:
        config["num_key_value_heads"] = pick(source, *[count for count in range(1, heads + 1) if heads % count == 0])
    return config


def baichuan_7b(source):
    return dict(named("baichuan", "BaiChuanConfig", "BaiChuanForCausalLM"), **sizes(source), model_type="baichuan",
                max_position_embeddings=pick(source, 20, 4096))


def baichuan_13b(source):
    return dict(named("baichuan", "BaichuanConfig", "BaichuanForCausalLM"), **sizes(source, even=False),
                model_type="baichuan", model_max_length=pick(source, 80, 4096), gradient_checkpointing=False)


def baichuan2_7b(source):
    return dict(named("baichuan", "BaichuanConfig", "BaichuanForCausalLM"), **sizes(source), model_type="baichuan",
                max_position_embeddings=4096, model_max_length=4096, z_loss_weight=0)


def baichuan2_13b(source):
    return dict(baichuan_13b(source), z_loss_weight=0)


def internlm(source):
    config = dict(named("internlm", "InternLMConfig", "InternLMForCausalLM"), **sizes(source), model_type="internlm",
                  bias=pick(source, True, True, False), max_position_embeddings=pick(source, 2048, 30, 17),
                  rotary=dict(base=pick(source, 10000, 500), type=pick(source, "dynamic", "dynamic", "origin")))
    if source.random() < 0.3:
        config["rotary"]["scaling_factor"] = pick(source, 1.0, 2.0)
    if source.random() < 0.2:
        del config["rotary"], config["bias"]
    return config


def internlm2(source):
    config = dict(named("internlm2", "InternLM2Config", "InternLM2ForCausalLM"), **sizes(source, key_heads=True),
                  model_type="internlm2", bias=pick(source, False, False, True), rope_theta=pick(source, 1000000, 10000.0),
                  rope_scaling=pick(source, None, None, dict(type="dynamic", factor=pick(source, 1.0, 2.0, 2.5)),
                                    dict(type="linear", factor=4.0)), max_position_embeddings=pick(source, 32768, 30, 17))
    if source.random() < 0.2:
        del config["num_key_value_heads"]
    return config


def chatglm(source, **fields):
    heads = pick(source, 1, 2, 3, 4, 6)
    many = source.random() < 0.8
    config = dict(
        named("chatglm", "ChatGLMConfig", "ChatGLMForConditionalGeneration", "ChatGLMModel"), model_type="chatglm",
        add_bias_linear=source.random() < 0.2, add_qkv_bias=source.random() < 0.8, apply_query_key_layer_scaling=True,
        apply_residual_connection_post_layernorm=False, attention_dropout=0.0, attention_softmax_in_fp32=True,
        bias_dropout_fusion=True, ffn_hidden_size=source.randint(17, 60), fp32_residual_connection=False,
        hidden_dropout=0.0, hidden_size=2 * source.randint(8, 24), kv_channels=pick(source, 4, 8, 12, 16),
        layernorm_epsilon=pick(source, 1e-5, 1.5625e-07, 1e-3), multi_query_attention=many,
        multi_query_group_num=pick(source, *[count for count in range(1, heads + 1) if heads % count == 0]),
        num_attention_heads=heads, num_layers=source.randint(2, 4), original_rope=True, post_layer_norm=True, rmsnorm=True,
        seq_length=8192, tie_word_embeddings=False, eos_token_id=2, pad_token_id=0)
    return {**config, **fields}


def chatglm2_32k(source):
    return chatglm(source, rope_ratio=pick(source, 4, 16), _name_or_path="THUDM/chatglm2-6b-32k", seq_length=32768,
                   divides_positions=True)  # a field for published_models.py, which no published config has


def glm4_chat(source):
    config = chatglm(source, rope_ratio=pick(source, 1, 50, 500, 10000), classifier_dropout=None)
    return dict(config, num_hidden_layers=config["num_layers"])


def qwen(source):
    config = sizes(source)
    own = config["hidden_size"] // config["num_attention_heads"]
    for field in ("hidden_act", "rms_norm_eps", "bos_token_id", "pad_token_id", "eos_token_id"):
        del config[field]
    config["intermediate_size"] *= 2
    whole = own < 8 or source.random() < 0.7
    return dict(named("qwen", "QWenConfig", "QWenLMHeadModel"), **config, model_type="qwen", kv_channels=own,
                layer_norm_epsilon=pick(source, 1e-6, 1e-3), max_position_embeddings=8192, seq_length=pick(source, 8, 20, 8192),
                rotary_pct=1.0 if whole else 0.5, rotary_emb_base=pick(source, 10000, 1000000),
                use_dynamic_ntk=source.random() < 0.8, use_logn_attn=source.random() < 0.8, no_bias=source.random() < 0.8,
                attn_dropout_prob=0.0, emb_dropout_prob=0.0, scale_attn_weights=True, bf16=False, fp16=False, fp32=False,
                onnx_safe=None, use_flash_attn="auto", tokenizer_class="QWenTokenizer", eos_token_id=2)


def minicpm(source):
    config = dict(named("minicpm", "MiniCPMConfig", "MiniCPMForCausalLM"), **sizes(source, key_heads=True),
                  model_type="minicpm", max_position_embeddings=2048, scale_emb=pick(source, 12, 1, 5.5), dim_model_base=pick(source, 256, 20),
                  scale_depth=pick(source, 1.4, 1.1), attention_bias=source.random() < 0.2,
                  rope_scaling=pick(source, None, None, dict(type="linear", factor=2.0)))
    tied = pick(source, None, True, False)
    if tied is None:
        del config["tie_word_embeddings"]
    else:
        config["tie_word_embeddings"] = tied
    if source.random() < 0.3:
        config["rope_theta"] = 500.0
    return config


FAMILIES = dict(baichuan_7b=baichuan_7b, baichuan_13b=baichuan_13b, baichuan2_7b=baichuan2_7b, baichuan2_13b=baichuan2_13b,
                internlm=internlm, internlm2=internlm2, chatglm3=chatglm, chatglm2_32k=chatglm2_32k, glm4_chat=glm4_chat,
                qwen=qwen, minicpm=minicpm)
