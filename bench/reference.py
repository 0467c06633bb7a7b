#!/usr/bin/env python3
"""What the bench compares `deno task train` with: the recipe on today's transformers, peft, accelerate and datasets.

Takes the flags of `deno task train` that both have. A row is spelled as the recipe spells it, padded on the right to the
longest of its batch, without recomputation of activations, with the loss of transformers' Trainer. As there, each step's
numbers are one printed line; the last line is a JSON object with the tokens of each batch, not counting padding.
"""
import json
from dataclasses import dataclass, field
import datasets, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, HfArgumentParser, Trainer, TrainingArguments, set_seed

datasets.disable_progress_bars()
IGNORED = -100


@dataclass
class RowsAndAdapter:
    model_path: str
    dataset_path: str
    max_seq_length: int = 256
    lora_rank: int = 8
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    target_modules: list[str] = field(default_factory=list)
    torch_dtype: str = "float32"


def encoded(rows, tokenizer, limit):
    """A generator of rows of ids, and how many of them are the prompt."""
    with open(rows, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            prompt = tokenizer.encode(f"<s>Human: {row['instruction']}请回答用户问题: {row['input']}\n</s><s>Assistant:",
                                      max_length=limit, truncation=True)
            answer = tokenizer.encode(row["output"], max_length=limit, truncation=True, add_special_tokens=False)
            yield dict(input_ids=(prompt + answer + [tokenizer.eos_token_id])[:limit], prompt=len(prompt))


class Padded:
    """Collates rows; the first trained label is the prompt's last token, as in the recipe."""

    def __init__(self, pad):
        self.pad, self.tokens = pad, []

    def __call__(self, rows):
        rows = sorted(rows, key=lambda row: len(row["input_ids"]), reverse=True)
        longest = len(rows[0]["input_ids"])
        ids = torch.full((len(rows), longest), self.pad)
        labels = torch.full((len(rows), longest), IGNORED)
        for at, row in enumerate(rows):
            length, first = len(row["input_ids"]), row["prompt"] - 1
            ids[at, :length] = torch.tensor(row["input_ids"])
            labels[at, first:length] = ids[at, first:length]
        self.tokens.append(sum(len(row["input_ids"]) for row in rows))
        return dict(input_ids=ids, labels=labels)


def main():
    mine, training = HfArgumentParser((RowsAndAdapter, TrainingArguments)).parse_args_into_dataclasses()
    tokenizer = AutoTokenizer.from_pretrained(mine.model_path)
    model = AutoModelForCausalLM.from_pretrained(mine.model_path, dtype=getattr(torch, mine.torch_dtype))
    model.config.use_cache = False
    set_seed(training.seed)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=mine.lora_rank, lora_alpha=mine.lora_alpha,
                                             lora_dropout=mine.lora_dropout, target_modules=mine.target_modules))
    rows = datasets.Dataset.from_generator(encoded, gen_kwargs=dict(rows=mine.dataset_path, tokenizer=tokenizer,
                                                                    limit=mine.max_seq_length))
    collate = Padded(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
    trainer = Trainer(model=model, args=training, train_dataset=rows, data_collator=collate)
    trainer.train()
    trainer.save_state()
    model.save_pretrained(training.output_dir)
    print(json.dumps(dict(tokens=collate.tokens, threads=torch.get_num_threads(), torch=torch.__version__)))


if __name__ == "__main__":
    main()
