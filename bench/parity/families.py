#!/usr/bin/env python3
"""Random models of every family that transformers computes, against transformers and peft.

  python bench/parity/families.py SCRATCH [--seeds 0 1 2] [--only qwen2 phi3] [--train all-linear default bf16 …]

Run from the repository root, as compare.py. Each seed gives each family another config (family_cases.py), spelled as
transformers 4 or 5 writes it, and another form of checkpoint: safetensors or .bin, sharded or not, float32 or bfloat16.
First logits.ts computes logits of rows longer than windows and original lengths, also from a prefill and single
steps; then, with --train, each model is trained for twelve steps by the reference recipe and by `deno task train` with
the same flags, rows and seed, and steps and saved adapters are compared as compare.py does. Exits 1 when anything is off.
"""
import argparse, contextlib, io, json, os, pathlib, random, runpy, shutil, subprocess, sys, zlib

# Models this small are slower with several threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch, transformers
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto import tokenization_auto
from transformers.utils import logging

sys.dont_write_bytecode = True
import compare
from family_cases import FAMILIES, LENGTH, draw
from make_case import make_rows, make_tokenizer

LIMIT = 1e-4
# Tokens that a cache gets at once, as in logits.ts.
PREFILL = 9
# What a run adds to or changes in the flags.
RUNS = {
    "all-linear": {"--target_modules": "all-linear"},
    "default": {},
    "recomputed": {"--target_modules": "all-linear", "--gradient_checkpointing": "true"},
    "bf16": {"--target_modules": "all-linear", "--bf16": "true"},
}
# In the place of another tokenizer, transformers would give Qwen2 models one that splits as Qwen2 does.
tokenization_auto.TOKENIZER_MAPPING_NAMES.pop("qwen2")
tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS.add("qwen2")
# Sums are rounded to bfloat16 in another order. The reference's own norms differ by up to 0.16 from those in float32.
BF16_LIMITS = dict(loss=1e-2, grad_norm=0.2)
# Where a folder of a form that transformers does not load has the model that it was made from.
SOURCE = "source"
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


def fill(model, source):
    """Norms and biases are ones and zeros in a fresh model, which would hide their being dropped."""
    generator = torch.Generator().manual_seed(source.randrange(2**31))
    centred = type(model).__name__.startswith("Gemma")
    with torch.no_grad():
        for path, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if path.endswith(".bias"):
                parameter.copy_(0.2 * noise)
            elif parameter.dim() == 1 or "norm" in path:
                parameter.copy_((0 if centred else 1) + 0.2 * noise)
            elif "embed" in path:
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(noise / parameter.shape[-1] ** 0.5)


def write(file, value):
    file.write_text(json.dumps(value, indent=1) + "\n")


def repack(folder, source):
    """model.safetensors in another form of checkpoint; its name."""
    form = source.choice(["safetensors", "sharded safetensors", "bin", "sharded bin", "bfloat16"])
    tensors = load_file(folder / "model.safetensors")
    if form == "safetensors":
        return form
    (folder / "model.safetensors").unlink()
    if form == "bfloat16":
        save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, folder / "model.safetensors",
                  metadata=dict(format="pt"))
        return form
    if form == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
        return form
    names, count = list(tensors), 3
    source.shuffle(names)
    stem, ending = ("model", "safetensors") if "safetensors" in form else ("pytorch_model", "bin")
    places = {}
    for shard in range(count):
        file = f"{stem}-{shard + 1:05}-of-{count:05}.{ending}"
        part = {name: tensors[name] for name in names[shard::count]}
        save_file(part, folder / file, metadata=dict(format="pt")) if ending == "safetensors" else torch.save(part, folder / file)
        places.update({name: file for name in part})
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write(folder / f"{stem}.{ending}.index.json", dict(metadata=dict(total_size=size), weight_map=places))
    return form


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def steps(model, ids):
    """Logits of a prefill and single steps, where rotations that follow the length make them others."""
    cache, parts = transformers.DynamicCache(config=model.config), []
    for start, end in [(0, PREFILL), *((at, at + 1) for at in range(PREFILL, ids.shape[1]))]:
        parts.append(model(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True).logits)
    return torch.cat(parts, 1)


def make_golden(folder, vocab_size):
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(3, vocab_size, (2, LENGTH), generator=generator)
    with torch.no_grad():
        # Some rotations keep the longest length that they have seen.
        model = load(folder)
        short = model(input_ids=ids[:, :7], use_cache=False).logits
        golden = dict(ids=ids, short=short, logits=model(input_ids=ids, use_cache=False).logits)
        rope = model.config.rope_parameters.get("full_attention", model.config.rope_parameters)
        # Cached keys stay as they were rotated; only Phi-3 computes them again, in its generate().
        if rope.get("rope_type") in ("dynamic", "longrope") and model.config.model_type != "phi3":
            golden["steps"] = steps(load(folder), ids)
    save_file({name: tensor.contiguous() for name, tensor in golden.items()}, folder / "golden.safetensors")


def make_model(folder, family, seed, tokenizer, vocab_size):
    """Makes the model of this family and seed; how it is spelled and stored."""
    source = random.Random(zlib.crc32(f"{family} {seed}".encode()))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tokenizer, folder)
    config = dict(draw(source, family), vocab_size=vocab_size + source.choice([0, 0, 5]))
    write(folder / "config.json", config)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    fill(model, source)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    spelling = source.choice([4, 5])
    if spelling == 4:
        write(folder / "config.json", config)
    elif "attn_implementation" in config:
        saved = json.loads((folder / "config.json").read_text())
        write(folder / "config.json", dict(saved, attn_implementation=config["attn_implementation"]))
    form = repack(folder, source)
    make_golden(folder, vocab_size)
    return f"transformers {spelling}, {form}"


def source_of(folder):
    return folder / SOURCE if (folder / SOURCE).exists() else folder


def flags_for(run, folder, rows, output):
    changes = dict(RUNS[run])
    family = json.loads((source_of(folder) / "config.json").read_text())["model_type"]
    if run == "default":
        named = DEFAULT_TARGETS.get(family, ["qkv_proj", "o_proj"] if family == "phi3" else ATTENTION)
        changes["--target_modules"] = ",".join(named)
    flags = ["--model_path", folder, "--dataset_path", rows, "--output_dir", output, *compare.FLAGS]
    for name, value in changes.items():
        if name in flags:
            flags[flags.index(name) + 1] = value
        else:
            flags += [name, value]
    return [str(flag) for flag in flags]


def reference(recipe, flags):
    """The recipe in this process, which has the libraries already; its steps end in trainer_state.json."""
    output = pathlib.Path(flags[flags.index("--output_dir") + 1])
    shutil.rmtree(output, ignore_errors=True)
    before, sys.argv = sys.argv, [str(recipe), *flags]
    transformers.set_seed(compare.SEED)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_path(str(recipe), run_name="__main__")
    finally:
        sys.argv = before


def train(run, folder, rows, chosen):
    """The largest differences, and what is wrong."""
    theirs, mine = folder / f"{run} reference", folder / f"{run} ours"
    shutil.rmtree(mine, ignore_errors=True)
    mine.mkdir(parents=True)
    with (mine / "run.log").open("w") as log:
        ours = subprocess.Popen([*chosen.deno, "task", "train", *flags_for(run, folder, rows, mine)], stdout=log,
                                stderr=subprocess.STDOUT)
        try:
            reference(chosen.recipe, flags_for(run, source_of(folder), rows, theirs))
        finally:
            code = ours.wait()
    if code != 0:
        return {}, [(mine / "run.log").read_text().strip()[-600:]]
    worst, wrong = compare.compare_states(theirs, mine)
    if run == "bf16":
        return worst, [f"{key} differs by {worst[key]:.1e}" for key, limit in BF16_LIMITS.items() if not worst[key] <= limit]
    worst["logits"], more = compare.compare_adapters(source_of(folder), theirs, mine)
    return worst, wrong + more


def compare_logits(folders, deno, *flags):
    """What logits.ts says of each folder."""
    command = [*deno, "run", "-q", "-P=train", "--no-prompt", "bench/parity/logits.ts", *flags, *map(str, folders)]
    lines = subprocess.run(command, capture_output=True, text=True)
    if lines.returncode != 0:
        raise RuntimeError(lines.stderr[-2000:])
    return dict(zip(folders, map(json.loads, lines.stdout.splitlines())))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--recipe", type=pathlib.Path, default=pathlib.Path("../shared/reference/recipe.py"))
    parser.add_argument("--deno", nargs="+", default=["deno"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--train", nargs="*", choices=list(RUNS), default=[])
    return parser.parse_args()


def make_all(chosen, scratch):
    tokenizer, rows = scratch / "tokenizer", scratch / "rows.jsonl"
    tokenizer.mkdir(parents=True, exist_ok=True)
    source = random.Random(11)
    make_rows(rows, 59, source)
    vocab_size = make_tokenizer(tokenizer, source)
    made = {}
    for family in chosen.only:
        for seed in chosen.seeds:
            folder = scratch / f"{family}-{seed}"
            try:
                made[folder] = make_model(folder, family, seed, tokenizer, vocab_size)
            except Exception as error:
                # Not every draw is a model that transformers computes.
                print(f"{folder.name:22} not made: {type(error).__name__}: {str(error)[:150]}", flush=True)
    return made, rows


def show(name, worst, wrong, note=""):
    cells = "  ".join(f"{key} {value:.1e}" for key, value in worst.items() if key not in ("learning_rate", "epoch"))
    print(f"{name:34} {cells}  {'FAILED' if wrong else 'ok'} {note}", flush=True)
    for problem in wrong:
        print(f"    {problem}", flush=True)


def main():
    chosen = arguments()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    made, rows = make_all(chosen, chosen.scratch.resolve())
    failed = 0
    for folder, said in compare_logits(list(made), chosen.deno).items():
        wrong = [said["error"]] if "error" in said else [
            f"{key} differ by {value:.1e}" for key, value in said.items() if not value <= LIMIT]
        failed += bool(wrong)
        show(folder.name, {} if "error" in said else said, wrong, made[folder])
    for folder in made:
        for run in chosen.train:
            try:
                worst, wrong = train(run, folder, rows, chosen)
            except Exception as error:
                worst, wrong = {}, [f"{type(error).__name__}: {str(error)[:600]}"]
            failed += bool(wrong)
            show(f"{folder.name} {run}", worst, wrong)
    print(f"{len(made)} models, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
