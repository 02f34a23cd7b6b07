#!/usr/bin/env bash
# GRPO on GUI steps, one node. Edit the block below, then: make train BACKEND=trl
# Every value can also come from the environment: MODEL=... DATA=... make train BACKEND=trl
set -euo pipefail

# ---- edit here ------------------------------------------------------------------------------------------------------
NPROC_PER_NODE="${NPROC_PER_NODE:-1}"                 # processes, one for each GPU
MODEL="${MODEL:-Qwen/Qwen2.5-VL-3B-Instruct}"         # model folder or hub name
IMAGES="${IMAGES:-/path/to/tasks}"                    # image folder(s), separated by ':'
DATA="${DATA:-/path/to/rows.jsonl}"                   # data file(s), separated by ':'
OUTPUT="${OUTPUT:-runs/gui}"                          # checkpoints and logs; a run found here is resumed
MAX_PROMPT_LENGTH="${MAX_PROMPT_LENGTH:-4096}"        # tokens, images included
MAX_PIXELS="${MAX_PIXELS:-1003520}"                   # of each screenshot; 1,272 tokens for 1080 x 2400
EPOCHS="${EPOCHS:-2}"
BATCH="${BATCH:-1}"                                   # completions for each process and step
GENERATIONS="${GENERATIONS:-5}"                       # completions for each prompt; divides processes x batch x ACCUMULATION
ACCUMULATION="${ACCUMULATION:-$GENERATIONS}"
BACKEND="${BACKEND:-vlm-r1}"                          # trl, or vlm-r1
# ---------------------------------------------------------------------------------------------------------------------

if [[ "$BACKEND" != trl ]]; then
  echo "BACKEND=$BACKEND is not here yet: run with BACKEND=trl" >&2
  exit 2
fi

command=(
  torchrun --nproc_per_node "$NPROC_PER_NODE" --master_port "${MASTER_PORT:-29500}" -m overlay.train
  --model_name_or_path "$MODEL"
  --data_file_paths "$DATA" --image_folders "$IMAGES"
  --task_type gui --reward_funcs accuracy format --reward_method gui_action
  --max_prompt_length "$MAX_PROMPT_LENGTH" --max_pixels "$MAX_PIXELS" --max_completion_length 512
  --num_train_epochs "$EPOCHS" --per_device_train_batch_size "$BATCH" --gradient_accumulation_steps "$ACCUMULATION"
  --num_generations "$GENERATIONS" --beta 0.04 --learning_rate 1e-6
  --gradient_checkpointing true --bf16 true --freeze_vision_modules true
  --output_dir "$OUTPUT" --save_steps 100 --logging_steps 1 --report_to tensorboard
  "$@"
)
printf '%q ' "${command[@]}" >&2
echo >&2
if [[ -n "${DRY_RUN:-}" ]]; then exit 0; fi
exec "${command[@]}"
