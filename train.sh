#!/usr/bin/env bash
# LoRA 指令微调：bash train.sh
# Fine-tunes with the settings of the recipe. MODEL_PATH names another base model,
# and flags given to this script override its own:
#   MODEL_PATH=models/Atom-7B-Chat bash train.sh --max_steps 300
set -euo pipefail
cd "$(dirname "$0")"
# the paths below are relative to this folder, even if another task calls this script
export INIT_CWD="$PWD"

flags=(
  # 数据集路径 (the rows for training)
  --dataset_path dataset/huanhuan.jsonl
  # 指令模板 (rows in the recipe's own words, whatever the model's template)
  --prompt_format recipe
  # 基座模型路径 (the base model)
  --model_path "${MODEL_PATH:-models/tiny-atom}"
  # lora 秩 (the rank)
  --lora_rank 8
  # batch_size
  --per_device_train_batch_size 16
  # 梯度累积轮次 (batches per optimizer step)
  --gradient_accumulation_steps 1
  # 训练最大步数，训练 epoch 数 = max_steps / (num_whole_data / batch_size)
  --max_steps 120000
  # 每训练多少步保存一次参数 (steps between checkpoints)
  --save_steps 40000
  # 最多保存多少个参数 (checkpoints to keep)
  --save_total_limit 3
  # 学习率
  --learning_rate 1e-4
  # 使用 float16 的精度
  --fp16
  # 数据集处理时是否去除没有使用的特征
  --remove_unused_columns false
  # 每训练多少步输出一次 (steps between log rows)
  --logging_steps 10
  # 输出路径
  --output_dir output
)

# otherwise Deno asks the network for a newer version of itself
export DENO_NO_UPDATE_CHECK=1
deno=(deno)
command -v deno >/dev/null || deno=(npx -y deno@2.9.6)
exec "${deno[@]}" task train "${flags[@]}" "$@"
