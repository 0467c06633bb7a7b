#!/usr/bin/env python3
"""Runs the reference recipe and `deno task train` with the same flags on make_case.py's cases and compares the results.

  python bench/parity/make_case.py SCRATCH
  python bench/parity/compare.py SCRATCH [--recipe ../shared/reference/recipe.py] [--only gqa tied] [--reference-only]

Run from the repository root with torch 2.13, transformers 5.18, peft 0.21, accelerate and datasets installed. Each case
continues its adapter for twelve steps; `fresh` starts a new one on the gqa model, `sharp` is gqa with a clip that is on in
some steps only and a decay that can be seen. The recipe draws a new adapter before
anything seeds torch, whose default generator starts from the operating system's entropy, so its own fresh adapter
differs from run to run; for `fresh` the reference is the recipe run after transformers.set_seed(seed).
Compared: every step's loss, gradient norm, learning rate and epoch, the logits of the saved adapters under peft, and
adapter_model.bin under torch.load(weights_only=True). Exits 1 when anything is off.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys, time
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

LIMITS = dict(loss=1e-4, grad_norm=1e-3, learning_rate=1e-9, epoch=1e-9)
LOGIT_LIMIT = 1e-4
SEED = 7
FLAGS = f"""--lora_rank 8 --lora_alpha 16 --lora_dropout 0 --target_modules q_proj,v_proj,down_proj --max_seq_length 72
--max_steps 12 --per_device_train_batch_size 4 --gradient_accumulation_steps 2 --learning_rate 1e-3
--lr_scheduler_type cosine --warmup_steps 2 --max_grad_norm 0.3 --weight_decay 0.01 --logging_steps 1 --seed {SEED}
--torch_dtype float32 --use_cpu true --remove_unused_columns false --save_strategy no --report_to none
--disable_tqdm true""".split()
CASES = {"gqa": "gqa", "llama3": "llama3", "dynamic": "dynamic", "tied": "tied", "fresh": "gqa", "sharp": "gqa"}
# Adam hides a clip that is always on (it is blind to a constant factor) and a small decay; these values show both.
SHARP = {"--max_grad_norm": "1.3", "--weight_decay": "0.3", "--learning_rate": "5e-3"}
SEEDED = "import runpy, sys, transformers; transformers.set_seed({seed}); sys.argv = sys.argv[1:]; " \
         "runpy.run_path(sys.argv[0], run_name='__main__')"


def flags_for(case, scratch, output):
    folder = scratch / CASES[case]
    flags = ["--model_path", folder / "model", "--dataset_path", scratch / "rows.jsonl", "--output_dir", output, *FLAGS]
    if case != "fresh":
        flags += ["--continue_training", "true", "--checkpoint", folder / "adapter"]
    if case == "sharp":
        for name, value in SHARP.items():
            flags[flags.index(name) + 1] = value
    return [str(flag) for flag in flags]


def run(command, output):
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    # Rows generated from a file are cached by its path, so a rewritten file would train the old rows.
    environment = dict(os.environ, HF_DATASETS_CACHE=str(output / "datasets"), HF_HUB_OFFLINE="1")
    started = time.time()
    with (output / "run.log").open("w") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
    if code != 0:
        tail = (output / "run.log").read_text()[-1500:]
        raise RuntimeError(f"{' '.join(command[:4])} … exited {code}:\n{tail}")
    return time.time() - started


def reference(case, scratch, recipe):
    output = scratch / case / "reference"
    flags = flags_for(case, scratch, output)
    start = ["-c", SEEDED.format(seed=SEED), str(recipe)] if case == "fresh" else [str(recipe)]
    return output, run([sys.executable, *start, *flags], output)


def ours(case, scratch, deno):
    output = scratch / case / "ours"
    return output, run([*deno, "task", "train", *flags_for(case, scratch, output)], output)


def read_steps(output):
    state = json.loads((output / "trainer_state.json").read_text())
    return state, [entry for entry in state["log_history"] if "loss" in entry]


def difference(left, right):
    return abs(left - right) / max(abs(left), abs(right), 1e-12)


def compare_states(theirs, mine):
    """The largest relative differences, and what is wrong in words."""
    state, steps = read_steps(theirs)
    my_state, my_steps = read_steps(mine)
    wrong = []
    missing = sorted(set(state) - set(my_state))
    if missing:
        wrong.append(f"trainer_state.json lacks {', '.join(missing)}")
    if [entry["step"] for entry in steps] != [entry["step"] for entry in my_steps]:
        wrong.append(f"steps logged: {[entry['step'] for entry in my_steps]}")
        return {}, wrong
    worst = {}
    for key, limit in LIMITS.items():
        if any(key not in entry for entry in my_steps):
            wrong.append(f"log_history entries lack {key}")
            continue
        pairs = [(difference(a[key], b[key]), a["step"]) for a, b in zip(steps, my_steps)]
        worst[key], at = max(pairs, key=lambda pair: pair[0])
        if not worst[key] <= limit:
            first = next(step for value, step in pairs if not value <= limit)
            wrong.append(f"{key} differs by {worst[key]:.1e} at step {at}, over {limit:.0e}, first at step {first}")
    return worst, wrong


def logits_with(model_path, adapter):
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter).eval()
    ids = torch.randint(3, model.config.vocab_size, (2, 60), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return model(ids).logits


def compare_adapters(model_path, theirs, mine):
    expected, actual = logits_with(model_path, theirs), logits_with(model_path, mine)
    worst = ((expected - actual).abs().max() / expected.abs().max()).item()
    wrong = [] if worst <= LOGIT_LIMIT else [f"logits of the saved adapter differ by {worst:.1e}"]
    return worst, wrong


def check_bin(mine):
    """The recipe's file with peft's names, so that every peft can load it: equal to the safetensors next to it."""
    saved = torch.load(mine / "adapter_model.bin", weights_only=True)
    tensors = load_file(mine / "adapter_model.safetensors")
    if set(saved) != set(tensors):
        return [f"adapter_model.bin: not the safetensors' tensors: {sorted(set(saved) ^ set(tensors))[:4]}"]
    different = [name for name in tensors if not torch.equal(saved[name], tensors[name])]
    return [f"adapter_model.bin: values differ in {different[:4]}"] if different else []


def compare(case, scratch, theirs, mine):
    worst, wrong = compare_states(theirs, mine)
    for check in (lambda: compare_adapters(scratch / CASES[case] / "model", theirs, mine), lambda: (None, check_bin(mine))):
        try:
            value, more = check()
        except Exception as error:
            value, more = None, [f"{type(error).__name__}: {str(error)[:300]}"]
        if value is not None:
            worst["logits"] = value
        wrong += more
    return worst, wrong


def describe_reference(output):
    for entry in read_steps(output)[1]:
        print(f"    step {entry['step']:2}  loss {entry['loss']:.6f}  grad_norm {entry['grad_norm']:.5f}  "
              f"learning_rate {entry['learning_rate']:.3e}  epoch {entry['epoch']:.4f}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--recipe", type=pathlib.Path, default=pathlib.Path("../shared/reference/recipe.py"))
    parser.add_argument("--deno", nargs="+", default=["deno"], help="how Deno is started, such as: npx -y deno@2.9.6")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--reference-only", action="store_true")
    parser.add_argument("--reuse", action="store_true", help="keep reference runs that are there already")
    return parser.parse_args()


def main():
    chosen = arguments()
    scratch, failed = chosen.scratch.resolve(), False
    logging.set_verbosity_error()
    columns = [*LIMITS, "logits"]
    print(f"{'case':9}" + "".join(f"{column:>15}" for column in columns) + f"{'reference s':>13}{'ours s':>9}")
    for case in chosen.only:
        done = chosen.reuse and (scratch / case / "reference" / "adapter_model.safetensors").exists()
        theirs, their_time = (scratch / case / "reference", 0.0) if done else reference(case, scratch, chosen.recipe)
        if chosen.reference_only:
            print(f"{case:9}{their_time:88.1f}")
            describe_reference(theirs)
            continue
        try:
            mine, my_time = ours(case, scratch, chosen.deno)
            worst, wrong = compare(case, scratch, theirs, mine)
        except Exception as error:
            worst, wrong, my_time = {}, [f"{type(error).__name__}: {error}"], 0.0
        cells = "".join(f"{worst[column]:15.1e}" if column in worst else f"{'-':>15}" for column in columns)
        print(f"{case:9}{cells}{their_time:13.1f}{my_time:9.1f}  {'ok' if not wrong else 'FAILED'}", flush=True)
        for problem in wrong:
            print(f"    {problem}")
        failed = failed or bool(wrong)
    print(f"{'limit':9}" + "".join(f"{limit:15.0e}" for limit in [*LIMITS.values(), LOGIT_LIMIT]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
