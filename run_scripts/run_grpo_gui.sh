#!/usr/bin/env bash
# GRPO on GUI steps, one node. Edit the block below, then: make train
# Every value can also come from the environment: MODEL=... DATA=... BACKEND=trl make train
set -euo pipefail

# ---- edit here ------------------------------------------------------------------------------------------------------
NPROC_PER_NODE="${NPROC_PER_NODE:-5}"                 # processes, one for each GPU
MODEL="${MODEL:-Qwen/Qwen2.5-VL-3B-Instruct}"         # model folder or hub name
IMAGES="${IMAGES:-/path/to/tasks}"                    # image folder(s), separated by ':'
DATA="${DATA:-/path/to/rows.jsonl}"                   # data file(s), separated by ':'
OUTPUT="${OUTPUT:-runs/gui}"                          # checkpoints and logs; a run found here is resumed
MAX_PROMPT_LENGTH="${MAX_PROMPT_LENGTH:-4096}"        # tokens, images included
OVERLONG="${OVERLONG:-fail}"                          # longer prompts: fail, filter (leave out), shrink (their images)
MAX_PIXELS="${MAX_PIXELS:-1003520}"                   # of each screenshot; 1,272 tokens for 1080 x 2400
COORDINATE_SPACE="${COORDINATE_SPACE:-auto}"          # original, resized, norm1000; auto: as the model was trained
EPOCHS="${EPOCHS:-2}"
GENERATIONS="${GENERATIONS:-5}"                       # completions for each prompt; divides processes x batch
BATCH="${BATCH:-$GENERATIONS}"                        # completions for each process and step; whole groups share a prompt
BACKEND="${BACKEND:-vlm-r1}"                          # vlm-r1: the patched stock script; trl: TRL's trainer
ATTENTION="${ATTENTION:-flash_attention_2}"           # sdpa where flash-attn is not installed
METHOD="${METHOD:-gui_action}"                        # reward method; llm: set JUDGE_MODEL, OPENAI_API_BASE and _KEY
JUDGE_MODEL="${JUDGE_MODEL:-}"                        # model name that the judge's server knows
DEEPSPEED="${DEEPSPEED-run_scripts/zero3.json}"       # DeepSpeed's settings; empty: plain data parallelism
EXTRA=()                                              # further flags, such as --use_peft true --lora_r 16
# ---------------------------------------------------------------------------------------------------------------------

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
export CUDA_DEVICE_MAX_CONNECTIONS="${CUDA_DEVICE_MAX_CONNECTIONS:-1}"

# A refusal is not to be repeated: see overlay/nodes/launch.py.
fail() {
  echo "run_grpo_gui.sh: $*" >&2
  [[ -z "${OVERLAY_ENDED:-}" || -n "${DRY_RUN:-}" ]] || echo "2 run_grpo_gui.sh: $*" >"$OVERLAY_ENDED"
  exit "${STOPPED_STATUS:-2}"
}
((${NNODES:-1} * NPROC_PER_NODE * BATCH % GENERATIONS == 0)) ||
  fail "processes x batch = $((NPROC_PER_NODE * BATCH)) is not divisible by GENERATIONS=$GENERATIONS"
if [[ -z "${DRY_RUN:-}" ]]; then
  IFS=: read -ra files <<<"$DATA"
  IFS=: read -ra folders <<<"$IMAGES"
  for file in "${files[@]}"; do [[ -f "$file" ]] || fail "DATA: no file $file"; done
  for folder in "${folders[@]}"; do [[ -d "$folder" ]] || fail "IMAGES: no folder $folder"; done
fi

[[ -z "$JUDGE_MODEL" ]] || EXTRA+=(--judge_model "$JUDGE_MODEL")
[[ ":$METHOD:" != *:llm:* || (-n "$JUDGE_MODEL" && -n "${OPENAI_API_BASE:-}") ]] ||
  fail "METHOD=$METHOD asks a judge: set JUDGE_MODEL and OPENAI_API_BASE (and OPENAI_API_KEY)"

# DeepSpeed keeps 32-bit weights beside those of 16 bits; plain data parallelism does not, and would round steps away.
if [[ -n "$DEEPSPEED" ]]; then dtype=bfloat16; else dtype=float32; fi
case "$BACKEND" in
  vlm-r1)
    [[ -e VLM-R1/.git || -e VLM-R1/.patched ]] || fail "VLM-R1/ is empty: make patch fetches it, BACKEND=trl does without it"
    [[ "$(python -m overlay.patching status)" == *": applied "* ]] || fail "the patches are not on VLM-R1/: make patch"
    export PYTHONPATH="$root/VLM-R1/src/open-r1-multimodal/src:$root${PYTHONPATH:+:$PYTHONPATH}"
    program=(VLM-R1/src/open-r1-multimodal/src/open_r1/grpo_jsonl.py --dataset_name none
      --attn_implementation "$ATTENTION" --torch_dtype "$dtype")
    ;;
  trl)
    program=(-m overlay.backends.trl.train --attn_implementation "$ATTENTION" --dtype "$dtype")
    ;;
  *) fail "BACKEND=$BACKEND is neither vlm-r1 nor trl" ;;
esac

[[ -z "$DEEPSPEED" ]] || program+=(--deepspeed "$DEEPSPEED")
[[ -z "${ARROW_CACHE_DIR:-}" ]] || EXTRA+=(--arrow_cache_dir "$ARROW_CACHE_DIR")
# run_grpo_gui_multinode.sh says where this node stands; alone it is one node.
read -ra launch <<<"${TORCHRUN_ARGS:---nproc_per_node $NPROC_PER_NODE --master_port ${MASTER_PORT:-29500}}"
command=(
  torchrun "${launch[@]}" "${program[@]}"
  --model_name_or_path "$MODEL"
  --data_file_paths "$DATA" --image_folders "$IMAGES"
  --task_type gui --reward_funcs accuracy format_scaled --reward_method "$METHOD"
  --max_prompt_length "$MAX_PROMPT_LENGTH" --overlong "$OVERLONG" --max_pixels "$MAX_PIXELS" --coordinate_space "$COORDINATE_SPACE" --max_completion_length 512 --temperature 1.0
  --num_train_epochs "$EPOCHS" --per_device_train_batch_size "$BATCH" --num_generations "$GENERATIONS"
  --beta 0.04 --learning_rate 1e-6 --gradient_checkpointing true --bf16 true --freeze_vision_modules true
  --output_dir "$OUTPUT" --save_steps 100 --logging_steps 1 --report_to tensorboard
  "${EXTRA[@]}" "$@"
)
printf '%q ' "${command[@]}" >&2
echo >&2
# torchrun makes 1 of every end; this tells a stop on purpose from what is worth another start.
[[ -n "${DRY_RUN:-}" ]] || exec python -m overlay.nodes.launch "$OUTPUT" "${command[@]}"
