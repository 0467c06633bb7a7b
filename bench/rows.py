#!/usr/bin/env python3
"""Seconds to tokenise rows in the recipe's format, here and with datasets and a fast tokenizer, one process each in turn: cold, then from the cache.

  python bench/rows.py SCRATCH ROWS.jsonl [--model models/tiny-atom] [--rows 50000] [--deno deno] [--repeats 3]

Run from the repository root, with datasets and transformers 5.18 installed. ROWS are instruction rows; they are repeated
with a number behind each input until there are enough. Loading the tokenizer and the libraries is not counted.
"""
import argparse, json, os, pathlib, shutil, statistics, subprocess, sys, time


def make(path, source, count):
    rows = [json.loads(line) for line in open(source, encoding="utf-8")]
    with open(path, "w", encoding="utf-8") as file:
        for i in range(count):
            row = dict(rows[i % len(rows)])
            row["input"] = row.get("input", "") + str(i // len(rows))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def reference(model, rows, cache):
    import datasets
    from transformers import AutoTokenizer
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(model)

    def encode(batch):
        prompts = [f"<s>Human: {i}请回答用户问题: {x}\n</s><s>Assistant:" for i, x in zip(batch["instruction"], batch["input"])]
        asked = tokenizer(prompts, truncation=True, max_length=512)["input_ids"]
        said = tokenizer(batch["output"], add_special_tokens=False, truncation=True, max_length=512)["input_ids"]
        return {"input_ids": [(a + b + [tokenizer.eos_token_id])[:512] for a, b in zip(asked, said)], "seq_len": [len(a) for a in asked]}

    started = time.time()
    found = datasets.load_dataset("json", data_files=rows, split="train", cache_dir=cache)
    found = found.map(encode, batched=True, remove_columns=found.column_names)
    seconds = time.time() - started
    peak = int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "rows": len(found), "tokens": sum(map(len, found["input_ids"]))}))


def measure(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-800:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("source")
    parser.add_argument("--model", default="models/tiny-atom")
    parser.add_argument("--rows", type=int, default=50000)
    parser.add_argument("--deno", default="deno")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        return reference(chosen.model, chosen.source, str(chosen.scratch))
    chosen.scratch.mkdir(exist_ok=True, parents=True)
    rows = chosen.scratch / f"rows{chosen.rows}.jsonl"
    if not rows.exists():
        make(rows, chosen.source, chosen.rows)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {rows.stat().st_size / 1e6:.0f} MB")
    caches = {"lorikeet": chosen.scratch / "ours", "datasets": chosen.scratch / "theirs"}
    commands = {"lorikeet": [chosen.deno, "run", "-q", "-A", "bench/rows.ts", chosen.model, str(rows), str(caches["lorikeet"])],
                "datasets": [sys.executable, __file__, str(caches["datasets"]), str(rows), "--model", chosen.model, "--only", "datasets"]}
    seconds = {}
    for _ in range(chosen.repeats):
        for who, command in commands.items():
            shutil.rmtree(caches[who], ignore_errors=True)
            for kind in ("cold", "cached"):
                got = measure(command)
                seconds.setdefault((who, kind), []).append(got["seconds"])
                print(f"{who:10}{kind:8}{got['seconds']:9.3f} s{got['peak_mb']:8.0f} MB  {got['rows']} rows, {got['tokens']} tokens", flush=True)
    median = {key: statistics.median(values) for key, values in seconds.items()}
    cold = median["datasets", "cold"]
    print(f"against datasets cold: {cold / median['lorikeet', 'cold']:.2f} times as fast cold, {cold / median['lorikeet', 'cached']:.1f} times from the cache")


if __name__ == "__main__":
    main()
