#!/usr/bin/env python3
"""Random models in every form of checkpoint, trained here and by the reference recipe on the same numbers.

  python bench/parity/checkpoints.py SCRATCH [--seeds 0 1] [--only llama-bin "phi3-gguf" …] [--train all-linear]

As families.py, whose configs, runs and comparisons these are; only how the weights are stored is chosen here. The
reference of a GGUF file is the folder of the model that it was written from, by the names and changes of llama.cpp's
converter; it has a byte-level tokenizer, which both kinds of files hold exactly.
"""
import json, pathlib, random, shutil, sys, zlib

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "fixtures"))
import families, family_cases
import torch
from make_case import sentence
from make_gguf_models import write_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

FAMILIES = ["llama", "qwen2", "gemma2", "phi3", "olmo2", "starcoder2"]
GGUF = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma": "gemma", "gemma2": "gemma2", "phi3": "phi3"}
TYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def index(folder, stem, ending, parts, save):
    places = {}
    for number, part in enumerate(parts, 1):
        file = f"{stem}-{number:05}-of-{len(parts):05}.{ending}"
        save(part, folder / file)
        places.update({name: file for name in part})
    families.write(folder / f"{stem}.{ending}.index.json", dict(metadata=dict(total_size=1), weight_map=places))


def shards(tensors, count):
    names = sorted(tensors)
    return [{name: tensors[name] for name in names[part::count]} for part in range(count)]


def mixed(tensors, types=TYPES):
    return {name: tensors[name].to(types[place % len(types)]) for place, name in enumerate(sorted(tensors))}


def save_plain(tensors, file):
    save_file(tensors, file, metadata=dict(format="pt"))


def one_safetensors(folder, tensors):
    save_plain(tensors, folder / "model.safetensors")


def sharded_safetensors(folder, tensors):
    index(folder, "model", "safetensors", shards(tensors, 3), save_plain)


def zipped(folder, tensors):
    torch.save({name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}, folder / "pytorch_model.bin")


def before_1_6(folder, tensors):
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def sharded_bin(folder, tensors):
    formats = iter([True, False])
    index(folder, "pytorch_model", "bin", shards(tensors, 2),
          lambda part, file: torch.save(part, file, _use_new_zipfile_serialization=next(formats)))


def mixed_safetensors(folder, tensors):
    one_safetensors(folder, mixed(tensors))


def mixed_bin(folder, tensors):
    zipped(folder, mixed(tensors))


def float8(folder, tensors):
    """The layers' matrices in both kinds of float8, without scales."""
    matrices = {name: tensor for name, tensor in tensors.items() if tensor.dim() == 2 and ".layers." in name}
    one_safetensors(folder, {**tensors, **mixed(matrices, [torch.float8_e4m3fn, torch.float8_e5m2])})


def strided(folder, tensors):
    """Views of one storage, transposed, every second element, expanded; the tied head shares its embedding's."""
    stored, at = {}, 0
    whole = torch.cat([tensor.flatten() for tensor in tensors.values()])
    for place, (name, tensor) in enumerate(tensors.items()):
        apart = torch.full((*tensor.shape, 2), 7.0)
        apart[..., 1] = tensor
        views = [whole[at:at + tensor.numel()].view(tensor.shape), tensor.t().contiguous().t() if tensor.dim() == 2 else tensor,
                 apart[..., 1]]
        stored[name] = views[place % 3]
        at += tensor.numel()
    norms = [name for name, tensor in tensors.items() if tensor.dim() == 1]
    stored[norms[0]] = torch.tensor([0.8]).expand(tensors[norms[0]].shape)
    if "lm_head.weight" not in stored:
        stored["lm_head.weight"] = stored["model.embed_tokens.weight"]
    torch.save(stored, folder / "pytorch_model.bin")


def strided_before_1_6(folder, tensors):
    strided(folder, tensors)
    before_1_6(folder, torch.load(folder / "pytorch_model.bin"))


FORMS = {
    "safetensors": one_safetensors, "sharded": sharded_safetensors, "zip": zipped, "before 1.6": before_1_6,
    "sharded bin": sharded_bin, "mixed": mixed_safetensors, "mixed bin": mixed_bin, "float8": float8, "strided": strided,
    "strided before 1.6": strided_before_1_6,
}


def byte_level(folder):
    """A tokenizer that GGUF's names are exact for; the entries that a GGUF file has of it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<|endoftext|>", "<|start|>", "<|end|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=6)
    source = random.Random(3)
    tokenizer.train_from_iterator([sentence(source) for _ in range(400)], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<|endoftext|>", bos_token="<|start|>",
                            eos_token="<|end|>", pad_token="<|end|>").save_pretrained(folder)
    state = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)

    def add(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
        writer.add_token_merges([" ".join(pair) for pair in state["merges"]])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_pad_token_id(2)
        writer.add_add_bos_token(False)

    return len(tokens), add


def gguf_config(source, family):
    """What a GGUF file can say: the family's own activation, biases and ropes."""
    config = family_cases.draw(source, family)
    for field in ("head_dim", "attention_bias", "mlp_bias", "hidden_act", "hidden_activation", "pretraining_tp", "layer_types"):
        config.pop(field, None)
    own = config["hidden_size"] // config["num_attention_heads"]
    heads, whole = config["num_attention_heads"], 2 * max(own // 2, 2)
    config.update(hidden_size=heads * whole, max_position_embeddings=2048, rope_scaling=None)
    if family in ("qwen3", "gemma", "gemma2"):
        config["head_dim"] = whole
    if family == "phi3":
        config.update(original_max_position_embeddings=2048, partial_rotary_factor=1.0)
    if family == "gemma2":
        config["query_pre_attn_scalar"] = whole
    if family in ("gemma", "gemma2"):
        config.update(rope_theta=10000.0, tie_word_embeddings=True)
    if family == "qwen2":
        config["use_sliding_window"] = False
    return config


def make_gguf(folder, family, seed, source):
    shutil.rmtree(folder, ignore_errors=True)
    original = folder / families.SOURCE
    original.mkdir(parents=True)
    vocab_size, add_tokenizer = byte_level(original)
    families.write(original / "config.json", dict(gguf_config(source, family), vocab_size=vocab_size, bos_token_id=1,
                                                  eos_token_id=2, pad_token_id=2))
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(original)).float()
    families.fill(model, source)
    with torch.no_grad():
        # Gemma's norms are stored with 1 added; the numbers have to survive that.
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.copy_((parameter + 1) - 1)
    model.save_pretrained(original)
    if family == "gemma2":
        saved = json.loads((original / "config.json").read_text())
        families.write(original / "config.json", dict(saved, attn_implementation="eager"))
    write_model(folder / "model.gguf", model, GGUF[family], add_tokenizer)
    families.make_golden(original, vocab_size)
    shutil.move(original / "golden.safetensors", folder)


def make_model(folder, name, seed, tokenizer, vocab_size):
    family, _, form = name.partition("-")
    source = random.Random(zlib.crc32(f"{name} {seed}".encode()))
    if form == "gguf":
        make_gguf(folder, family, seed, source)
        return form
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tokenizer, folder)
    config = dict(family_cases.draw(source, family), vocab_size=vocab_size)
    if form.startswith("strided"):
        config["tie_word_embeddings"] = True
    families.write(folder / "config.json", config)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).float()
    families.fill(model, source)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    families.write(folder / "config.json", config)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    FORMS[form](folder, tensors)
    families.make_golden(folder, vocab_size)
    return form


if __name__ == "__main__":
    names = [f"{family}-{form}" for form in FORMS for family in FAMILIES] + [f"{family}-gguf" for family in GGUF]
    families.FAMILIES, families.make_model = dict.fromkeys(names), make_model
    sys.exit(families.main())
