#!/usr/bin/env python3
"""Times transformers' greedy `generate` on a model folder, for generation.ts.

  python bench/generation.py '{"folder":"smollm2","dtype":"bfloat16","prompts":[[1,2,3]],"new_tokens":64,"warm_tokens":26,"threads":2}'

Prints one JSON object: {"tokens_per_s", "ids"}; reading the prompts counts. One generation before it does not.
"""
import json, sys, time
import torch
from transformers import AutoModelForCausalLM

options = json.loads(sys.argv[1])
torch.set_num_threads(options["threads"])
model = AutoModelForCausalLM.from_pretrained(options["folder"], dtype=getattr(torch, options["dtype"])).eval()
prompts = torch.tensor(options["prompts"])
new = options["new_tokens"]


def generated(count):
    return model.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=count, min_new_tokens=count,
                          do_sample=False, pad_token_id=0)


generated(options["warm_tokens"])
started = time.perf_counter()
ids = generated(new)[:, prompts.shape[1]:]
seconds = time.perf_counter() - started
print(json.dumps({"tokens_per_s": ids.numel() / seconds, "ids": ids.tolist()}))
