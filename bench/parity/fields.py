#!/usr/bin/env python3
"""What an unusual value in config.json does, in transformers and here, field by field.

  python bench/parity/fields.py SCRATCH [--only qwen2 phi3] [--verbose]

Run from the repository root, as families.py. For each family one model, and for each field of its class, of a list of
fields in published files, and of its rope_scaling several values. A value is computed alike, refused on both sides, or
shown: "DIFFERENT" where both compute but not the same (exit 1), "refused" where we refuse what changes no logits in
transformers. With --verbose also what only one side computes.
"""
import argparse, contextlib, io, pathlib, random, shutil, sys

sys.dont_write_bytecode = True
import families
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig
from transformers.utils import logging

HEAVY = ("vocab_size", "num_hidden_layers")
HALVES = ["full_attention", "sliding_attention"]
# Fields that other families or published remote code have; what is not read in one changes nothing there.
PUBLISHED = dict(
    attention_bias=[True], mlp_bias=[True], use_bias=[True], bias=[True], qkv_bias=[True], attention_dropout=[0.3, None],
    sliding_window=[5, None], use_sliding_window=[True, False], max_window_layers=[0, 1], layer_types=["sliding", "mixed"],
    sliding_window_pattern=[2, 1], is_causal=[False, True], per_layer_config=[{"0": {"intermediate_size": 9}}, {}],
    partial_rotary_factor=[0.5, 1.0], original_max_position_embeddings=[8], head_dim=[None], num_key_value_heads=[None],
    attn_logit_softcapping=[1.0], final_logit_softcapping=[1.0], logit_scale=[0.3], query_pre_attn_scalar=[3],
    embedding_multiplier=[3.0], residual_multiplier=[0.5], attention_multiplier=[0.7], logits_scaling=[4.0],
    scale_emb=[12], scale_depth=[1.4], dim_model_base=[16], no_rope_layers=["mixed"], no_rope_layer_interval=[2],
    use_qk_norm=[True, False], qk_layernorm=[True], use_parallel_residual=[True], use_qkv_bias=[True], clip_qkv=[0.1],
    attention_chunk_size=[4], hidden_activation=["relu"], hidden_act=["relu", "gelu", "swish", "gelu_new", "gelu_fast",
    "quick_gelu", "relu2", "sigmoid", "tanh", "mish", "leaky_relu", "gelu_10", "laplace", "relu6", "linear"],
    rms_norm_eps=[0.1], layer_norm_eps=[0.1], norm_eps=[0.1], norm_epsilon=[0.1], rope_theta=[77.0, None],
    rope_local_base_freq=[33.0], rope_interleaved=[True], pretraining_tp=[2], use_cla=[True], cla_share_factor=[2],
    quantization_config=[{"quant_method": "gptq", "bits": 4}, None], torch_dtype=["bfloat16"], dtype=["float16"],
    text_config=[{"hidden_size": 5}], tie_word_embeddings=[None], tie_last_hidden_states=[True], use_cache=[False],
    chunk_size_feed_forward=[4], is_decoder=[False, True], add_cross_attention=[True], output_attentions=[True],
    output_hidden_states=[True], use_bidirectional_attention=[True, False, None], max_position_embeddings=[9, 40],
    num_experts=[4], output_router_logits=[True], router_aux_loss_coef=[0.5], rope_ratio=[3.0], use_mrope=[True],
    embd_pdrop=[0.3], resid_pdrop=[0.3], residual_dropout=[0.3], embedding_dropout=[0.3], hidden_dropout=[0.3],
    use_return_dict=[False], torchscript=[True], pad_token_id=[3, -1], num_local_experts=[3], use_rope=[False],
    attention_out_bias=[True], query_scale=[3.0], rope_parameters=[None, {}], attn_implementation=["eager"],
    _attn_implementation=["eager"], position_embedding_type=["alibi"], alibi=[True], loss_type=["ForMaskedLM"],
    qk_norm=[True], use_rmsnorm=[False], norm_type=["layernorm"], swiglu_limit=[1.0], attention_scaling=[3.0],
    cache_implementation=["hybrid"], mscale=[2.0], bos_token_id=[None], eos_token_id=[[2, 3], None],
)
SCALINGS = [
    None, {}, {"rope_type": "default"}, {"type": "default", "factor": 4.0}, {"type": "linear", "factor": 2.0},
    {"rope_type": "linear", "type": "dynamic", "factor": 2.0}, {"rope_type": "linear", "factor": 2},
    {"rope_type": "linear", "factor": 2.0, "rope_theta": 50.0}, {"rope_type": "linear"}, {"factor": 3.0},
    {"rope_type": "yarn", "factor": 4.0}, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "finetuned": True},
    {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 16},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 2.0, "mscale_all_dim": 0.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 0.5},
    {"rope_type": "yarn", "factor": 0.5, "original_max_position_embeddings": 16},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "truncate": False, "beta_fast": 4,
     "beta_slow": 4}, {"rope_type": "dynamic", "factor": 3.0}, {"rope_type": "dynamic", "factor": 3.0, "alpha": 9.0},
    {"rope_type": "dynamic", "factor": 3.0, "original_max_position_embeddings": 10}, {"type": "ntk", "factor": 2.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 16}, {"rope_type": "proportional", "partial_rotary_factor": 0.5},
    {"type": "mrope", "mrope_section": [1, 1, 1]}, {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5},
    {"rope_type": "default", "partial_rotary_factor": 0.5}, {"rope_type": "default", "attention_factor": 3.0},
]


def base_config(family):
    """A config without anything unusual."""
    source = random.Random(f"fields {family}")
    for _ in range(1000):
        config = families.draw(source, family)
        groups = config["num_attention_heads"] > config.get("num_key_value_heads", 99) > 1
        if groups and config["rope_scaling"] is None and config["num_hidden_layers"] == 2:
            # Gemma 3 has a rotation for each of the two kinds of layers.
            kinds = dict(layer_types=HALVES) if family == "gemma3_text" else {}
            return {**config, **kinds, "vocab_size": 70, "max_position_embeddings": 100}


def another(value):
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value * 2 + 1, value // 2, 0]
    if isinstance(value, float):
        return [value * 2 + 0.1, value / 3, 0.0]
    return []


def changes(config):
    """Name and config of each change; `rope_parameters` is the spelling of transformers 5."""
    spelled = {"sliding": [HALVES[1]] * 2, "mixed": HALVES}
    for field, values in PUBLISHED.items():
        for value in values:
            if field == "no_rope_layers":
                value = [1, 0]
            yield f"{field}={value}", {**config, field: spelled.get(value, value) if isinstance(value, str) else value}
    for field, value in AutoConfig.for_model(**config).to_dict().items():
        if field not in HEAVY:
            yield f"without {field}", {key: kept for key, kept in config.items() if key != field}
            for other in another(config.get(field, value)):
                yield f"{field}={other}", {**config, field: other}
    for scaling in SCALINGS:
        yield f"rope_scaling={scaling}", {**config, "rope_scaling": scaling}
        five = {key: value for key, value in config.items() if key not in ("rope_theta", "rope_scaling")}
        yield f"rope_parameters={scaling}", {**five, "rope_parameters": scaling}
        yield f"both, rope_scaling={scaling}", {**config, "rope_scaling": scaling, "rope_parameters": dict(
            rope_type="linear", factor=5.0, rope_theta=200.0)}


def theirs(folder, ids):
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(0)
        output = families.load(folder)(input_ids=ids, use_cache=False)
        return output.logits


def make(folder, family):
    """The base model, and the folders with a changed config, which share its weights."""
    config = base_config(family)
    shutil.rmtree(folder, ignore_errors=True)
    base = folder / "base"
    base.mkdir(parents=True)
    families.write(base / "config.json", config)
    torch.manual_seed(1)
    model = families.AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    families.fill(model, random.Random(3))
    model.save_pretrained(base)
    families.write(base / "config.json", config)
    ids = torch.randint(3, 70, (2, 30), generator=torch.Generator().manual_seed(5))
    made = {}
    for place, (name, changed) in enumerate([("nothing", config), *changes(config)]):
        own = folder / str(place)
        own.mkdir()
        (own / "model.safetensors").hardlink_to(base / "model.safetensors")
        families.write(own / "config.json", changed)
        try:
            logits = theirs(own, ids)
        except Exception as error:
            made[own] = (name, f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:100]}")
            logits = torch.zeros(2, 30, 70)
        else:
            made[own] = (name, None)
        with torch.no_grad():
            save_file(dict(ids=ids, logits=logits.contiguous(), short=logits[:, :7].contiguous()), own / "golden.safetensors")
    return made


def judge(family, made, said, verbose):
    """Shows what is not alike; how many are different."""
    reference, different = load_file(next(iter(made)) / "golden.safetensors")["logits"], 0
    shown = {}
    for folder, (name, error) in made.items():
        mine = said[folder]
        if "error" in mine:
            logits = load_file(folder / "golden.safetensors")["logits"]
            unchanged = error is None and torch.equal(logits, reference)
            if error is None and (unchanged or verbose):
                words = mine["error"].split("config.json ")[-1][:150]
                shown[f"{'refused' if unchanged else 'refused, though transformers computes'}: {words}"] = name
        elif error is not None and verbose:
            shown[f"computed: {name}"] = error
        elif error is None and mine["logits"] is None:
            shown[f"no numbers here: {name}"] = ""
        elif error is None and not mine["logits"] <= families.LIMIT:
            different += 1
            shown[f"DIFFERENT by {mine['logits']:.0e}: {name}"] = ""
    for words, rest in shown.items():
        print(f"{family:12} {words}  {f'[{rest}]' if rest else ''}", flush=True)
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--deno", nargs="+", default=["deno"])
    parser.add_argument("--only", nargs="+", choices=list(families.FAMILIES), default=list(families.FAMILIES))
    parser.add_argument("--verbose", action="store_true")
    chosen = parser.parse_args()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    different = 0
    for family in chosen.only:
        made = make(chosen.scratch.resolve() / family, family)
        said = families.compare_logits(list(made), chosen.deno, "--whole")
        print(f"{family:12} {len(made)} configs", flush=True)
        different += judge(family, made, said, chosen.verbose)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
