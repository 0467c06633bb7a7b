#!/usr/bin/env python3
"""A grid of training runs against transformers' Trainer and peft: optimizers, schedules, samplers, kinds of adapter,
precisions, evaluations and their settings, drawn at random.

  python bench/parity/grid.py SCRATCH [--runs 100] [--seed 1] [--deno "npx -y deno@2.9.6"]

Run from the repository root, with transformers 5.18, peft 0.21 and schedulefree installed. Every run trains
tests/fixtures/models/llama_gqa for ten steps on the same random rows, from the same fresh adapter, which peft makes
here and grid.ts makes again. Compared are loss, gradient norm, learning rate and evaluation loss of each step, which
checkpoint is the best, and the logits of our adapter in peft. Exits 1 when anything is off.
"""
import argparse, json, os, pathlib, random, shlex, shutil, subprocess, sys
os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging

logging.set_verbosity_error()
MODEL = "tests/fixtures/models/llama_gqa"
STEPS, VOCABULARY = 10, 96
LIMITS = dict(loss=1e-4, eval_loss=1e-4, grad_norm=1e-3, learning_rate=1e-9)
BF16_LIMITS = dict(loss=2e-2, eval_loss=2e-2, grad_norm=0.2, learning_rate=1e-9)

OPTIMIZERS = [
    dict(optim="adamw_torch"), dict(optim="adamw_torch_fused", adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6),
    dict(optim="sgd"), dict(optim="sgd", optim_args="momentum=0.9,nesterov=true"), dict(optim="adagrad"),
    dict(optim="rmsprop", optim_args="momentum=0.5,alpha=0.95"), dict(optim="adafactor"),
    dict(optim="schedule_free_adamw", warmup_steps=3),
]
SCHEDULES = [
    dict(lr_scheduler_type="linear"), dict(lr_scheduler_type="cosine", warmup_steps=2), dict(lr_scheduler_type="constant"),
    dict(lr_scheduler_type="constant_with_warmup", warmup_steps=0.3), dict(lr_scheduler_type="inverse_sqrt", warmup_steps=2),
    dict(lr_scheduler_type="polynomial", lr_scheduler_kwargs=dict(power=2.0)),
    dict(lr_scheduler_type="cosine_with_restarts", lr_scheduler_kwargs=dict(num_cycles=2)),
    dict(lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs=dict(min_lr_rate=0.1)),
    dict(lr_scheduler_type="reduce_lr_on_plateau", lr_scheduler_kwargs=dict(patience=0, factor=0.5, threshold=0.01)),
    dict(lr_scheduler_type="warmup_stable_decay", warmup_steps=2, lr_scheduler_kwargs=dict(num_decay_steps=3)),
]
SAMPLERS = ["random", "sequential", "group_by_length"]
ADAPTERS = [
    dict(), dict(use_rslora=True), dict(use_dora=True), dict(bias="lora_only"), dict(bias="all"), dict(lora_bias=True),
    dict(modules_to_save=["lm_head"]), dict(target_modules=["embed_tokens", "q_proj", "lm_head"]),
    dict(trainable_token_indices=[5, 6, 7]), dict(init_lora_weights="olora"), dict(init_lora_weights="pissa"),
    dict(rank_pattern=dict(q_proj=2), alpha_pattern=dict(v_proj=3)), dict(target_modules="all-linear"),
]
EVALUATIONS = [
    dict(), dict(), dict(eval_strategy="steps", eval_steps=3), dict(eval_strategy="epoch", eval_delay=1),
    dict(eval_strategy="steps", eval_steps=2, eval_on_start=True, save_strategy="best", metric_for_best_model="loss"),
    dict(eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2, load_best_model_at_end=True),
]
OTHERS = [
    dict(), dict(), dict(label_smoothing_factor=0.1), dict(weight_decay=0.1), dict(max_grad_norm=0.1), dict(max_grad_norm=0.0),
    dict(gradient_checkpointing=True), dict(gradient_accumulation_steps=2), dict(dataloader_drop_last=True), dict(bf16=True),
]


def draw(source):
    adapter = dict(r=source.choice([2, 4]), lora_alpha=source.choice([4, 8]), target_modules=["q_proj", "v_proj", "down_proj"])
    adapter.update(source.choice(ADAPTERS))
    args = dict(max_steps=STEPS, per_device_train_batch_size=source.choice([1, 2, 3]), learning_rate=source.choice([1e-3, 5e-3]),
                train_sampling_strategy=source.choice(SAMPLERS), seed=source.randrange(1000), logging_steps=1, save_strategy="no",
                per_device_eval_batch_size=1)
    for table in (OPTIMIZERS, SCHEDULES, EVALUATIONS, OTHERS):
        chosen = source.choice(table)
        # each evaluation moves on the stream from which transformers draws this order
        if table is not EVALUATIONS or args["train_sampling_strategy"] != "group_by_length":
            args.update(chosen)
    if args["lr_scheduler_type"] == "reduce_lr_on_plateau" and "eval_strategy" not in args:
        args.update(train_sampling_strategy="random", eval_strategy="steps", eval_steps=1)
    return dict(adapter=adapter, args=args)


def make_rows(source, count, length=None):
    rows = []
    for _ in range(count):
        ids = [source.randrange(3, VOCABULARY) for _ in range(length or source.randrange(6, 14))]
        rows.append(dict(input_ids=ids, labels=[-100] * 3 + ids[3:]))
    return rows


def pad(features):
    most = max(len(each["input_ids"]) for each in features)
    filled = lambda key, value: torch.tensor([each[key] + [value] * (most - len(each[key])) for each in features])
    mask = torch.tensor([[1] * len(each["input_ids"]) + [0] * (most - len(each["input_ids"])) for each in features])
    return dict(input_ids=filled("input_ids", 0), labels=filled("labels", -100), attention_mask=mask)


def reference(case, train, dev, folder):
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    base.config.use_cache = False
    torch.manual_seed(case["args"]["seed"])
    model = get_peft_model(base, LoraConfig(task_type=TaskType.CAUSAL_LM, lora_dropout=0.0, **case["adapter"]))
    trainer = Trainer(model=model, train_dataset=train, eval_dataset=dev, data_collator=pad, args=TrainingArguments(
        str(folder), use_cpu=True, report_to="none", remove_unused_columns=False, disable_tqdm=True, **case["args"]))
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    best = trainer.state.best_model_checkpoint
    return dict(rows=trainer.state.log_history, best=best and pathlib.Path(best).name)


def compare(case, theirs, mine):
    """What is off, and the largest difference of each number."""
    limits = BF16_LIMITS if case["args"].get("bf16") else LIMITS
    wrong, worst = [], dict.fromkeys(limits, 0.0)
    steps = lambda rows, key: [(row["step"], row[key]) for row in rows if key in row]
    for key, limit in limits.items():
        left, right = steps(theirs["rows"], key), steps(mine["rows"], key)
        if [step for step, _ in left] != [step for step, _ in right]:
            wrong.append(f"{key} at {[step for step, _ in left]}, ours at {[step for step, _ in right]}")
            continue
        for (_, one), (_, other) in zip(left, right):
            worst[key] = max(worst[key], abs(one - other) / max(1.0, abs(one)))
        if worst[key] > limit:
            wrong.append(f"{key} differs by {worst[key]:.2g}")
    # in bfloat16 evaluations may be as good as equal
    if not case["args"].get("bf16") and theirs["best"] != mine["best"]:
        wrong.append(f"best {theirs['best']}, ours {mine['best']}")
    return wrong, worst


def adapter_logits(folder, ids, mine):
    """How far the logits of our adapter in peft are from our own."""
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    with torch.no_grad():
        logits = PeftModel.from_pretrained(base, folder).eval()(torch.tensor([ids])).logits[0, -1]
    return (logits - torch.tensor(mine)).abs().max().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deno", default="npx -y deno@2.9.6")
    chosen = parser.parse_args()
    shutil.rmtree(chosen.scratch, ignore_errors=True)
    chosen.scratch.mkdir(parents=True)
    source = random.Random(chosen.seed)
    cases = [draw(source) for _ in range(chosen.runs)]
    train, dev = make_rows(source, 12), make_rows(source, 4, length=10)
    given = dict(model=MODEL, cases=cases, train=train, dev=dev, folder=str(chosen.scratch.resolve()))
    (chosen.scratch / "grid.json").write_text(json.dumps(given))
    subprocess.run([*shlex.split(chosen.deno), "run", "-A", "-q", "bench/parity/grid.ts", str(chosen.scratch / "grid.json")], check=True)
    failures, largest = 0, {}
    for number, case in enumerate(cases):
        mine = json.loads((chosen.scratch / f"{number}.json").read_text())
        if "error" in mine:
            wrong, worst = [mine["error"]], {}
        else:
            theirs = reference(case, train, dev, chosen.scratch / f"theirs{number}")
            wrong, worst = compare(case, theirs, mine)
            worst["logits"] = adapter_logits(chosen.scratch / f"ours{number}", dev[0]["input_ids"], mine["logits"])
            if worst["logits"] > 1e-4:
                wrong.append(f"logits in peft differ by {worst['logits']:.2g}")
        kind = "bf16" if case["args"].get("bf16") else "fp32"
        for key, value in worst.items():
            largest[kind, key] = max(largest.get((kind, key), 0.0), value)
        if wrong:
            failures += 1
            print(number, json.dumps(case), "; ".join(wrong), flush=True)
    for (kind, key), value in sorted(largest.items()):
        print(f"{kind} {key}: {value:.2g}")
    print(f"{len(cases)} runs, {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
