#!/usr/bin/env python3
"""Peak memory and time to the first use of a random Llama of 2 GB, here and in transformers, one process each in turn.

  python bench/load.py SCRATCH [--deno deno] [--repeats 2]

Run from the repository root, with torch 2.13 and transformers 5.18 installed. Makes SCRATCH/{fp32,bf16,bin} where they
are missing (2.2, 1.1 and 2.2 GB, to be deleted afterwards), then loads each and computes the logits of one row of eight
ids. Peak: the kernel's VmHWM of the process, pages of mapped files that were touched included; wall: the whole process.
"""
import argparse, json, os, pathlib, subprocess, sys, time

FORMS = ("fp32", "bf16", "bin")


def make(scratch):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=2048, intermediate_size=5632, num_hidden_layers=8, num_attention_heads=16,
                         num_key_value_heads=16, vocab_size=32000, max_position_embeddings=512)
    model = LlamaForCausalLM(config)
    model.save_pretrained(scratch / "fp32")
    (scratch / "bin").mkdir()
    config.dtype = "float32"
    config.save_pretrained(scratch / "bin")
    torch.save(model.state_dict(), scratch / "bin" / "pytorch_model.bin")
    model.bfloat16().save_pretrained(scratch / "bf16")


def transformers_load(folder):
    import torch
    from transformers import AutoModelForCausalLM
    started = time.time()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    with torch.no_grad():
        logits = model(torch.arange(3, 11)[None]).logits
    status = pathlib.Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1e3
    print(json.dumps({"seconds": time.time() - started, "peak_mb": peak, "logit": logits[0, -1, 0].item()}))


def measure(command):
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-800:])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {**found, "wall": time.time() - started}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--deno", default="deno")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        return transformers_load(chosen.scratch)
    chosen.scratch.mkdir(exist_ok=True, parents=True)
    if not (chosen.scratch / "bf16").exists():
        make(chosen.scratch)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"{'form':6}{'who':14}{'load+use s':>12}{'wall s':>9}{'peak MB':>10}{'file MB':>10}")
    for form in FORMS:
        folder = chosen.scratch / form
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        commands = {"lorikeet": [chosen.deno, "run", "-q", "-A", "bench/load.ts", str(folder)],
                    "transformers": [sys.executable, __file__, str(folder), "--only", "transformers"]}
        for _ in range(chosen.repeats):
            for who, command in commands.items():
                got = measure(command)
                print(f"{form:6}{who:14}{got['seconds']:12.2f}{got['wall']:9.2f}{got['peak_mb']:10.0f}{size:10.0f}"
                      f"  logit {got['logit']:.6f}", flush=True)


if __name__ == "__main__":
    main()
