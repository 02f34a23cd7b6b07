#!/usr/bin/env bash
# GRPO on GUI steps. Edit the block below, then: make train (several nodes: make train-multinode, with the same block;
# supervised training before it: make sft, with the same block too, but for its lines that say GRPO).
# A value is taken from, in this order: a flag (make train ARGS="--beta 0"), the environment (MODEL=... make train), the
# preset (PRESET=8gpu-7b-lora, a file of values in run_scripts/presets/), this block. What was taken is printed and kept.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source run_scripts/settings.sh
load_preset

# ---- edit here ------------------------------------------------------------------------------------------------------
NPROC_PER_NODE="${NPROC_PER_NODE:-$(gpus)}"           # processes on a node, one for each GPU
MODEL="${MODEL:-Qwen/Qwen2.5-VL-3B-Instruct}"         # model folder or hub name
IMAGES="${IMAGES:-/path/to/tasks}"                    # image folder(s), separated by ':'
DATA="${DATA:-/path/to/rows.jsonl}"                   # data file(s), separated by ':'
BACKEND="${BACKEND:-vlm-r1}"                          # vlm-r1: the patched stock script; trl: TRL's trainer; sft: supervised
OUTPUT="${OUTPUT:-$(for_sft runs/sft runs/gui)}"      # checkpoints and logs; a run found here is resumed
# what the model sees
MAX_PROMPT_LENGTH="${MAX_PROMPT_LENGTH:-4096}"        # tokens, images included
OVERLONG="${OVERLONG:-fail}"                          # longer prompts: fail, filter (leave out), shrink (their images)
MAX_PIXELS="${MAX_PIXELS:-$(pixels 1003520)}"         # of each screenshot; as the model was trained, else 1,272 tokens
COORDINATE_SPACE="${COORDINATE_SPACE:-auto}"          # original, resized, norm1000; auto: as the model was trained
# how it learns
EPOCHS="${EPOCHS:-2}"
GENERATIONS="${GENERATIONS:-8}"                       # GRPO: completions for each prompt; divides processes x batch
BATCH="${BATCH:-$GENERATIONS}"                        # completions for each process and step, in whole groups; sft: rows
TOKENS_PER_PASS="${TOKENS_PER_PASS:-}"               # most tokens of a pass, each prompt counted once; empty: all
ACCUMULATION="${ACCUMULATION:-1}"                     # such batches for each step of the optimizer
MAX_COMPLETION_LENGTH="${MAX_COMPLETION_LENGTH:-512}" # GRPO: tokens
LEARNING_RATE="${LEARNING_RATE:-$(for_sft 1e-5 1e-6)}" # with an adapter take ten times as much
BETA="${BETA:-0.04}"                                  # GRPO: weight of the KL term; 0 needs no reference model
LORA_R="${LORA_R:-}"                                  # rank of an adapter; empty: all weights outside the vision tower
METHOD="${METHOD:-gui_action}"                        # GRPO: reward method; llm: set JUDGE_MODEL, OPENAI_API_BASE and _KEY
JUDGE_MODEL="${JUDGE_MODEL:-}"                        # GRPO: model name that the judge's server knows
# what is kept, and how it is watched
SAVE_STEPS="${SAVE_STEPS:-100}"                       # between checkpoints
SAVE_LIMIT="${SAVE_LIMIT:-}"                          # checkpoints kept; empty: all
EVAL_DATA="${EVAL_DATA:-}"                            # held-out file(s); empty: no evaluation while training
EVAL_STEPS="${EVAL_STEPS:-100}"                       # between evaluations
# how it is computed
VLLM="${VLLM:-}"                                      # GRPO, 1: vLLM generates, in the training processes (docs/vllm.md)
ATTENTION="${ATTENTION:-$(attention)}"                # flash_attention_2 where flash-attn is installed, else sdpa
DEEPSPEED="${DEEPSPEED-run_scripts/zero3.json}"       # DeepSpeed's settings; empty: plain data parallelism
ARROW_CACHE_DIR="${ARROW_CACHE_DIR:-}"                # of the rows; empty: the datasets cache
EXTRA="${EXTRA:-}"                                    # further flags, separated by spaces, such as --seed 1
# ---------------------------------------------------------------------------------------------------------------------

export CUDA_DEVICE_MAX_CONNECTIONS="${CUDA_DEVICE_MAX_CONNECTIONS:-1}"
whole_numbers NPROC_PER_NODE MAX_PROMPT_LENGTH MAX_PIXELS GENERATIONS BATCH TOKENS_PER_PASS ACCUMULATION MAX_COMPLETION_LENGTH \
  LORA_R SAVE_STEPS SAVE_LIMIT EVAL_STEPS
[[ "$BACKEND" == vlm-r1 || "$BACKEND" == trl || "$BACKEND" == sft ]] || fail "BACKEND=%s is none of vlm-r1, trl, sft" "$BACKEND"
[[ "${NNODES:-1}" == 1 || -n "${TORCHRUN_ARGS:-}${SETTINGS:-}${ESTIMATE:-}" ]] ||
  fail "NNODES=%s: this is one node's; make train-multinode is of several" "$NNODES"
[[ -n "$EVAL_DATA" || "$OVERLAY_GIVEN" != *" EVAL_STEPS "* ]] || fail "EVAL_STEPS=%s: needs EVAL_DATA, the held-out file" "$EVAL_STEPS"
[[ "$BACKEND" != sft || -z "${ESTIMATE:-}" ]] || fail "BACKEND=sft: an estimate is of GRPO, BACKEND=vlm-r1 or trl"
# VLM-R1 forms its groups within a batch, TRL within all batches of a step; supervised training has none.
batches="$([[ "$BACKEND" == trl ]] && echo "$ACCUMULATION" || echo 1)"
[[ "$BACKEND" == sft ]] || ((${NNODES:-1} * NPROC_PER_NODE * BATCH * batches % GENERATIONS == 0)) ||
  fail "${NNODES:+nodes x }processes x batch = %s is not divisible by GENERATIONS=%s" \
    "$((${NNODES:-1} * NPROC_PER_NODE * BATCH * batches))" "$GENERATIONS"
# A preset's GPUs hold one prompt with its completions, which is less than BATCH prompts.
[[ "$BACKEND" != sft || -z "${PRESET:-}" ]] || TOKENS_PER_PASS="${TOKENS_PER_PASS:-$((MAX_PROMPT_LENGTH * 3 / 2))}"
if [[ -n "${SETTINGS:-}" ]]; then # for run_grpo_gui_multinode.sh
  print_settings
  exit
fi
if [[ -z "${DRY_RUN:-}" ]]; then
  there file DATA "$DATA"
  there folder IMAGES "$IMAGES"
  there file EVAL_DATA "$EVAL_DATA"
fi
[[ -z "$DEEPSPEED" || -f "$DEEPSPEED" ]] || fail "DEEPSPEED: no file %s" "$DEEPSPEED"

read -ra extra <<<"$EXTRA"
[[ "$BACKEND" == sft || ":$METHOD:" != *:llm:* || (-n "$JUDGE_MODEL" && -n "${OPENAI_API_BASE:-}") ]] ||
  fail "METHOD=%s asks a judge: set JUDGE_MODEL and OPENAI_API_BASE (and OPENAI_API_KEY)" "$METHOD"

# DeepSpeed keeps 32-bit weights beside those of 16 bits; plain data parallelism does not, and would round steps away.
if [[ -n "$DEEPSPEED" ]]; then dtype=bfloat16; else dtype=float32; fi
own=()
if [[ "$BACKEND" != sft ]]; then
  own=(--reward_funcs accuracy format_scaled --reward_method "$METHOD" --num_generations "$GENERATIONS"
    --max_completion_length "$MAX_COMPLETION_LENGTH" --temperature 1.0 --beta "$BETA")
  [[ -z "$JUDGE_MODEL" ]] || own+=(--judge_model "$JUDGE_MODEL")
  [[ -z "$VLLM" ]] || own+=(--use_vllm true --vllm_mode colocate)
fi
case "$BACKEND" in
  vlm-r1)
    if [[ -z "${ESTIMATE:-}" ]]; then
      [[ -e VLM-R1/.git || -e VLM-R1/.patched ]] || fail "VLM-R1/ is empty: make patch fetches it, BACKEND=trl does without it"
      [[ "$(python -m overlay.patching status)" == *": applied "* ]] || fail "the patches are not on VLM-R1/: make patch"
    fi
    export PYTHONPATH="$root/VLM-R1/src/open-r1-multimodal/src:$root${PYTHONPATH:+:$PYTHONPATH}"
    program=(VLM-R1/src/open-r1-multimodal/src/open_r1/grpo_jsonl.py --dataset_name none
      --attn_implementation "$ATTENTION" --torch_dtype "$dtype")
    ;;
  trl | sft)
    program=(-m "overlay.backends.$BACKEND.train" --attn_implementation "$ATTENTION" --dtype "$dtype")
    ;;
esac

[[ -z "$DEEPSPEED" ]] || program+=(--deepspeed "$DEEPSPEED")
[[ -z "$ARROW_CACHE_DIR" ]] || program+=(--arrow_cache_dir "$ARROW_CACHE_DIR")
[[ -z "$LORA_R" ]] || program+=(--use_peft true --lora_r "$LORA_R" --lora_alpha "$((2 * LORA_R))")
[[ -z "$SAVE_LIMIT" ]] || program+=(--save_total_limit "$SAVE_LIMIT")
[[ -z "$EVAL_DATA" ]] || program+=(--eval_strategy steps --eval_steps "$EVAL_STEPS" --eval_data_file_paths "$EVAL_DATA")
# run_grpo_gui_multinode.sh says where this node stands; alone it is one node.
whole_numbers MASTER_PORT
read -ra launch <<<"${TORCHRUN_ARGS:---nproc_per_node $NPROC_PER_NODE --master_port ${MASTER_PORT:-29500}}"
command=(
  torchrun "${launch[@]}" "${program[@]}"
  --model_name_or_path "$MODEL"
  --data_file_paths "$DATA" --image_folders "$IMAGES"
  --task_type gui "${own[@]}"
  --max_prompt_length "$MAX_PROMPT_LENGTH" --overlong "$OVERLONG" --max_pixels "$MAX_PIXELS" --coordinate_space "$COORDINATE_SPACE"
  --num_train_epochs "$EPOCHS" --per_device_train_batch_size "$BATCH" --gradient_accumulation_steps "$ACCUMULATION"
  --tokens_per_pass "${TOKENS_PER_PASS:-0}" --learning_rate "$LEARNING_RATE"
  --gradient_checkpointing true --bf16 true --freeze_vision_modules true
  --output_dir "$OUTPUT" --save_steps "$SAVE_STEPS" --logging_steps 1 --report_to tensorboard
  "${extra[@]}" "$@"
)
[[ -z "${ESTIMATE:-}" ]] ||
  exec python -m overlay.nodes.estimate --nodes "${NNODES:-1}" --processes "$NPROC_PER_NODE" -- "${command[@]}"
settings_table "$@" >&2
printf '%q ' "${command[@]}" >&2
echo >&2
[[ -z "${DRY_RUN:-}" ]] || exit 0
# torchrun makes 1 of every end; this tells a stop on purpose from what is worth another start.
OVERLAY_SETTINGS="$(settings_table "$@")" exec python -m overlay.nodes.launch "$OUTPUT" "${command[@]}"
