#!/usr/bin/env python3
"""Random models of the families whose code transformers lacks, against published_models.py and peft.

  python bench/parity/published.py SCRATCH [--seeds 0 1 2] [--only qwen chatglm3] [--train all-linear default bf16 …]

As families.py, whose runs and comparisons these are: logits of whole rows and of a prefill with single steps, and
twelve steps of the reference recipe and of `deno task train`. Files hold the buffers of older published code too.
"""
import pathlib, random, sys, zlib

sys.dont_write_bytecode = True
import families
import torch
from published_cases import FAMILIES
from published_models import MODELS
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

LENGTH = 72
# peft names targets for ChatGLM alone; these are the published recipes' (Baichuan, InternLM, InternLM2, Qwen, MiniCPM).
TARGETS = {"baichuan": "W_pack", "internlm": "q_proj,k_proj,v_proj,o_proj", "internlm2": "wqkv,wo",
           "chatglm": "query_key_value", "qwen": "c_attn,attn.c_proj,w1,w2", "minicpm": "q_proj,v_proj"}
BUFFERS = {
    "baichuan": ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.future_mask", "decoder.version"],
    "internlm": ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.1.self_attn.rotary_emb.cos_cached"],
    "internlm2": ["model.layers.0.attention.rotary_emb.inv_freq"],
    "chatglm": ["transformer.rotary_pos_emb.inv_freq"],
    "qwen": ["transformer.rotary_emb.inv_freq", "transformer.h.0.attn.rotary_emb.inv_freq", "transformer.h.1.attn.masked_bias"],
    "minicpm": ["model.layers.0.self_attn.rotary_emb.inv_freq"],
}


def make_golden(folder, vocab_size):
    ids = torch.randint(3, vocab_size, (2, LENGTH), generator=torch.Generator().manual_seed(5))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        golden = dict(ids=ids, short=model(ids[:, :7]).logits, logits=model(ids).logits,
                      steps=model.steps(ids, families.PREFILL))
    save_file({name: tensor.contiguous() for name, tensor in golden.items()}, folder / "golden.safetensors")


def make_model(folder, family, seed, tokenizer, vocab_size):
    source = random.Random(zlib.crc32(f"{family} {seed}".encode()))
    families.shutil.rmtree(folder, ignore_errors=True)
    families.shutil.copytree(tokenizer, folder)
    config = FAMILIES[family](source)
    words = vocab_size + source.choice([0, 0, 5])
    config["padded_vocab_size" if config["model_type"] == "chatglm" else "vocab_size"] = words
    families.write(folder / "config.json", config)
    model_type = config["model_type"]
    config_class = MODELS[model_type].config_class
    model = MODELS[model_type](config_class(**config))
    families.fill(model, source)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    for name in BUFFERS[model_type] if source.random() < 0.5 else []:
        tensors[name] = torch.ones(3)
    save_file(tensors, folder / "model.safetensors", metadata=dict(format="pt"))
    form = families.repack(folder, source)
    make_golden(folder, vocab_size)
    return form


if __name__ == "__main__":
    families.FAMILIES, families.make_model = FAMILIES, make_model
    families.DEFAULT_TARGETS = {name: targets.split(",") for name, targets in TARGETS.items()}
    sys.exit(families.main())
