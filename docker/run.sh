#!/usr/bin/env bash
# One host's container: all GPUs, the host's network and shared memory, RDMA devices, and the folders under their own
# paths. MODEL, DATA, IMAGES and OUTPUT name folders and files of the host; DRY_RUN=1 shows the command.
set -euo pipefail
image="$1"
shift
command=(docker run --rm --gpus all --network host --ipc host --ulimit memlock=-1 --ulimit stack=67108864)
[[ ! -d /dev/infiniband ]] || command+=(--device /dev/infiniband --cap-add IPC_LOCK)
IFS=: read -ra read_only <<<"$MODEL:$DATA:$IMAGES"
for path in "${read_only[@]}"; do
  [[ ! -e "$path" ]] || command+=(--volume "$(realpath "$path"):$(realpath "$path"):ro")
done
mkdir -p "$OUTPUT"
command+=(--volume "$(realpath "$OUTPUT"):$(realpath "$OUTPUT")" --user "$(id -u):$(id -g)" --env HOME=/tmp)
# Paths as the container sees them; a judge's key by name only, so that it shows in no process list.
absolute() { local IFS=: part out=(); for part in $1; do [[ ! -e "$part" ]] || part="$(realpath "$part")"; out+=("$part"); done; echo "${out[*]}"; }
command+=(--env "MODEL=$(absolute "$MODEL")" --env "DATA=$(absolute "$DATA")" --env "IMAGES=$(absolute "$IMAGES")"
  --env "OUTPUT=$(absolute "$OUTPUT")")
for name in PRESET BACKEND NNODES NODE_RANK RANK WORLD_SIZE MASTER_ADDR MASTER_PORT NPROC_PER_NODE BATCH GENERATIONS TOKENS_PER_PASS \
  METHOD JUDGE_MODEL OPENAI_API_BASE OPENAI_API_KEY MAX_PROMPT_LENGTH OVERLONG MAX_PIXELS COORDINATE_SPACE EPOCHS \
  ACCUMULATION MAX_COMPLETION_LENGTH LEARNING_RATE BETA LORA_R SAVE_STEPS SAVE_LIMIT EVAL_STEPS VLLM ATTENTION EXTRA RDZV \
  MAX_RESTARTS PREFLIGHT LOGGING_DIR NCCL_SOCKET_IFNAME NCCL_IB_HCA NCCL_IB_GID_INDEX NCCL_DEBUG; do
  [[ -z "${!name:-}" ]] || command+=(--env "$name")
done
command+=("$image" "$@")
printf '%q ' "${command[@]}" >&2
echo >&2
[[ -n "${DRY_RUN:-}" ]] || exec "${command[@]}"
