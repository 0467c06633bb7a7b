#!/usr/bin/env python3
"""Makes the models, rows and adapter that compare.py trains: random, bigger than the test fixtures, not in the repository.

  python bench/parity/make_case.py SCRATCH [--seed 11] [--rows 59]

Writes SCRATCH/rows.jsonl and, for each case (gqa, llama3, dynamic, tied), SCRATCH/<case>/model with a tokenizer of
its own (a byte-fallback BPE trained here on generated Chinese) and SCRATCH/<case>/adapter, a peft adapter with a
random lora_B to continue from. All of it is a function of the seed. With 59 rows, batch 4 and accumulation 2 an epoch
ends in a window of one batch of three rows, and twelve steps cross into the second epoch.
"""
import argparse, json, pathlib, random, shutil
import torch
from peft import LoraConfig, TaskType, get_peft_model
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SHAPE = dict(hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2,
             max_position_embeddings=512, initializer_range=0.1, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
             tie_word_embeddings=False)
CASES = {
    "gqa": {},
    "llama3": dict(max_position_embeddings=512, rope_parameters=dict(
        rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32)),
    "dynamic": dict(max_position_embeddings=48, rope_parameters=dict(
        rope_type="dynamic", rope_theta=10000.0, factor=8.0)),
    "tied": dict(tie_word_embeddings=True),
}
TARGETS = ["q_proj", "v_proj", "down_proj"]
WHO = "我 你 小猫 老师 邻居 船长 医生 弟弟 园丁 画家 司机 厨师".split()
WHERE = "河边 山上 窗前 学校 车站 院子里 书店 桥头 海边 厨房".split()
WHAT = "看云 读书 种花 修车 煮汤 写信 唱歌 画画 钓鱼 数星星 喂鸽子 补衣服".split()
WHEN = "清晨 傍晚 雨天 去年冬天 昨夜 周末 三点钟 下雪的时候".split()
ASK = "在做什么？ 喜欢什么？ 去哪里？ 为什么高兴？ 几点回家？ 明天呢？".split()


def sentence(source):
    return f"{source.choice(WHEN)}，{source.choice(WHO)}在{source.choice(WHERE)}{source.choice(WHAT)}。"


def make_rows(path, count, source):
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            # Short and long rows, so that batches of every length come up, some past max_seq_length.
            told = "".join(sentence(source) for _ in range(source.choice([0, 0, 0, 1, 2, 8])))
            answer = "".join(sentence(source) for _ in range(source.choice([1, 1, 2, 3])))
            if source.random() < 0.1:
                answer += "𠮷🌸ok"
            row = dict(instruction=told, input=source.choice(WHO) + source.choice(ASK), output=answer)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def make_tokenizer(folder, source):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    named = ["<unk>", "<s>", "</s>"]
    text = [sentence(source) for _ in range(400)] + ["Human: 请回答用户问题: Assistant:"] * 20
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=named + [f"<0x{byte:02X}>" for byte in range(256)],
                                  show_progress=False, max_token_length=6)
    tokenizer.train_from_iterator(text, trainer)
    # The byte pieces have to be ordinary pieces: as special tokens their spelling in a text would match.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in named]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in named])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B",
                                                             special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
                            clean_up_tokenization_spaces=False).save_pretrained(folder)
    return tokenizer.get_vocab_size()


def make_model(folder, seed, vocab_size, differs):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, **{**SHAPE, **differs}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.normal_(1.0, 0.1)
    model.save_pretrained(folder)
    return model


def make_adapter(folder, model, base):
    model = get_peft_model(model, LoraConfig(task_type=TaskType.CAUSAL_LM, r=8, lora_alpha=16, lora_dropout=0.0,
                                             target_modules=TARGETS))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.05)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)


def make_cases(scratch, seed, rows):
    scratch.mkdir(parents=True, exist_ok=True)
    source = random.Random(seed)
    make_rows(scratch / "rows.jsonl", rows, source)
    (scratch / "tokenizer").mkdir(exist_ok=True)
    vocab_size = make_tokenizer(scratch / "tokenizer", source)
    for place, (name, differs) in enumerate(CASES.items()):
        folder = scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        model = make_model(folder / "model", seed + place, vocab_size, differs)
        shutil.copytree(scratch / "tokenizer", folder / "model", dirs_exist_ok=True)
        make_adapter(folder / "adapter", model, folder / "model")
        print(f"{name}: vocabulary {vocab_size}, {sum(p.numel() for p in model.parameters())} parameters")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--rows", type=int, default=59)
    chosen = parser.parse_args()
    make_cases(chosen.scratch.resolve(), chosen.seed, chosen.rows)
