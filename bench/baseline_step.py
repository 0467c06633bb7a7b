#!/usr/bin/env python3
"""Times one LoRA training step of a random fp32 Llama on the CPU: plain PyTorch, or transformers with peft.

  python bench/baseline_step.py '{"hidden":256,"layers":4,"heads":8,"kv_heads":4,"intermediate":704,"vocab":4096,
                                  "batch":4,"length":128,"rank":8,"steps":20,"threads":2}' [--through plain|peft]

Prints one JSON object, {"median_ms", "tokens_per_s", ...}. The plain path is a hand-written Llama with fused kernels only
(scaled_dot_product_attention, rms_norm, AdamW(fused=True)): the step that ours is measured against. A step is forward,
backward, clip_grad_norm_, AdamW and zero_grad on the same batch; the first three are not counted.
"""
import argparse, json, math, statistics, time
import torch
import torch.nn.functional as F
from torch import nn

WARMUP = 3


class Lora(nn.Module):
    """A frozen linear layer with a trained low-rank part, as peft computes it without dropout."""

    def __init__(self, inputs, outputs, rank, alpha=32):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).normal_(0, 0.02), requires_grad=False)
        self.a = nn.Parameter(torch.empty(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        self.scaling = alpha / rank
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x):
        return F.linear(x, self.weight) + F.linear(F.linear(x, self.a), self.b) * self.scaling


def rotated(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        hidden, rank = shape["hidden"], shape["rank"]
        self.heads, self.kv_heads = shape["heads"], shape["kv_heads"]
        self.size = hidden // self.heads
        self.q, self.o = Lora(hidden, hidden, rank), Lora(hidden, hidden, rank)
        self.k, self.v = (Lora(hidden, self.kv_heads * self.size, rank) for _ in range(2))
        self.gate, self.up = (Lora(hidden, shape["intermediate"], rank) for _ in range(2))
        self.down = Lora(shape["intermediate"], hidden, rank)
        self.before = nn.Parameter(torch.ones(hidden), requires_grad=False)
        self.after = nn.Parameter(torch.ones(hidden), requires_grad=False)

    def attend(self, x, cos, sin):
        batch, length, hidden = x.shape
        q = rotated(self.q(x).view(batch, length, self.heads, self.size).transpose(1, 2), cos, sin)
        k = rotated(self.k(x).view(batch, length, self.kv_heads, self.size).transpose(1, 2), cos, sin)
        v = self.v(x).view(batch, length, self.kv_heads, self.size).transpose(1, 2)
        grouped = self.heads != self.kv_heads
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        return self.o(mixed.transpose(1, 2).reshape(batch, length, hidden))

    def forward(self, x, cos, sin):
        x = x + self.attend(F.rms_norm(x, x.shape[-1:], self.before, 1e-5), cos, sin)
        normed = F.rms_norm(x, x.shape[-1:], self.after, 1e-5)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    def __init__(self, shape):
        super().__init__()
        vocab, hidden = shape["vocab"], shape["hidden"]
        self.embedding = nn.Parameter(torch.empty(vocab, hidden).normal_(0, 0.02), requires_grad=False)
        self.head = nn.Parameter(torch.empty(vocab, hidden).normal_(0, 0.02), requires_grad=False)
        self.norm = nn.Parameter(torch.ones(hidden), requires_grad=False)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape["layers"]))
        self.size = hidden // shape["heads"]

    def forward(self, ids, labels):
        inverse = 1.0 / 10000.0 ** (torch.arange(0, self.size, 2) / self.size)
        angles = torch.outer(torch.arange(ids.shape[1]), inverse)
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos(), angles.sin()
        x = F.embedding(ids, self.embedding)
        for layer in self.layers:
            x = layer(x, cos, sin)
        logits = F.linear(F.rms_norm(x, x.shape[-1:], self.norm, 1e-5), self.head)
        shifted = F.pad(labels, (0, 1), value=-100)[:, 1:]
        return F.cross_entropy(logits.flatten(0, 1), shifted.flatten())


def plain_loss(shape):
    model = Llama(shape)
    return model, model


def peft_loss(shape):
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=shape["vocab"], hidden_size=shape["hidden"], intermediate_size=shape["intermediate"],
        num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"], num_key_value_heads=shape["kv_heads"],
        rms_norm_eps=1e-5, use_cache=False))
    targets = [name + "_proj" for name in "q k v o gate up down".split()]
    model = get_peft_model(model, LoraConfig(task_type=TaskType.CAUSAL_LM, r=shape["rank"], lora_alpha=32,
                                             lora_dropout=0.0, target_modules=targets))
    model.train()
    return model, lambda ids, labels: model(input_ids=ids, labels=labels).loss


def measure(shape, through):
    torch.manual_seed(0)
    torch.set_num_threads(shape["threads"])
    model, loss_of = plain_loss(shape) if through == "plain" else peft_loss(shape)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.01, fused=True)
    ids = torch.randint(0, shape["vocab"], (shape["batch"], shape["length"]))
    took = []
    for _ in range(WARMUP + shape["steps"]):
        started = time.perf_counter()
        loss = loss_of(ids, ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        last = loss.item()
        took.append(time.perf_counter() - started)
    median = statistics.median(took[WARMUP:])
    return dict(median_ms=median * 1e3, tokens_per_s=shape["batch"] * shape["length"] / median, through=through,
                trained_parameters=sum(parameter.numel() for parameter in trained), last_loss=last,
                threads=torch.get_num_threads(), torch=torch.__version__)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", type=json.loads)
    parser.add_argument("--through", choices=["plain", "peft"], default="plain")
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.shape, chosen.through)))
