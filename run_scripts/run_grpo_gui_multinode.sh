#!/usr/bin/env bash
# GRPO on GUI steps, several nodes: run it on every node (make train-multinode). What is trained and how stands in
# run_grpo_gui.sh's block, or its presets, for one node and for several; here is what only several nodes need.
# Node rank and master come from the platform: RANK, MASTER_ADDR, MASTER_PORT; PET_*; Slurm (see docs/multinode.md).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
source run_scripts/settings.sh

# ---- edit here ------------------------------------------------------------------------------------------------------
export ARROW_CACHE_DIR="${ARROW_CACHE_DIR:-${TMPDIR:-/tmp}/overlay-arrow}" # on the node: built once by its first process
RDZV="${RDZV:-static}"                                  # static, or c10d for restarts of all nodes
MAX_RESTARTS="${MAX_RESTARTS:-0}"                       # of the workers after a failure; needs RDZV=c10d
JOB_ID="${JOB_ID:-gui}"                                 # the same on all nodes, its own for each job on a master's port
PREFLIGHT="${PREFLIGHT:-1}"                             # 1: check all nodes first; only: nothing else; 0: no
PREFLIGHT_TIMEOUT="${PREFLIGHT_TIMEOUT:-300}"           # seconds for all nodes to come
# NCCL_SOCKET_IFNAME, NCCL_IB_HCA and NCCL_IB_GID_INDEX depend on the site: set them where NCCL chooses wrongly.
export CUDA_DEVICE_MAX_CONNECTIONS="${CUDA_DEVICE_MAX_CONNECTIONS:-1}"
export NCCL_DEBUG="${NCCL_DEBUG:-INFO}"
export NCCL_IB_DISABLE="${NCCL_IB_DISABLE:-0}"
# ---------------------------------------------------------------------------------------------------------------------

assignments="$(python -m overlay.nodes.place)" || exit "${STOPPED_STATUS:-2}"
eval "$assignments" # NNODES NODE_RANK MASTER_ADDR MASTER_PORT
# torchrun reads PET_* by itself, and workers get RANK and WORLD_SIZE from it: the platform's must not reach it.
unset RANK WORLD_SIZE "${!PET_@}"
settings="$(SETTINGS=1 STOPPED_STATUS=2 bash run_scripts/run_grpo_gui.sh)" || exit "${STOPPED_STATUS:-2}"
eval "$settings" # the block of run_grpo_gui.sh, with preset and environment
export LOGGING_DIR="${LOGGING_DIR:-$OUTPUT/logs}" # TensorBoard events of rank 0, and each rank's output

case "$RDZV" in
  static)
    [[ "$MAX_RESTARTS" == 0 ]] || fail "MAX_RESTARTS=%s: static nodes do not restart together; RDZV=c10d does" "$MAX_RESTARTS"
    launch=(--master_addr "$MASTER_ADDR" --master_port "$MASTER_PORT") ;;
  c10d)
    # Symptom: after a restart, workers dial the addresses of dead ones. torchrun makes the workers' store once and hands it
    # out again, old keys included (pytorch issue 135712); not sharing it gives each attempt its own. Drop
    # this when torchrun makes a store for each attempt.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    launch=(--rdzv_backend c10d --rdzv_endpoint "$MASTER_ADDR:$MASTER_PORT" --rdzv_id "$JOB_ID"
      --max_restarts "$MAX_RESTARTS"
      # Who hosts the store is told, not guessed from host names, which breaks on some clusters.
      --rdzv_conf "is_host=$((NODE_RANK == 0)),join_timeout=$PREFLIGHT_TIMEOUT") ;;
  *) fail "RDZV=%s is neither static nor c10d" "$RDZV" ;;
esac
[[ -z "${NODE_ADDR:-}" ]] || launch+=(--local_addr "$NODE_ADDR") # where the host's own name does not lead to it
export TORCHRUN_ARGS="--nnodes $NNODES --node_rank $NODE_RANK --nproc_per_node $NPROC_PER_NODE ${launch[*]} \
--log_dir $LOGGING_DIR/node$NODE_RANK --redirects 3 --tee 3 --local_ranks_filter 0"
export TENSORBOARD_LOGGING_DIR="${TENSORBOARD_LOGGING_DIR:-$LOGGING_DIR/tensorboard}"
export HF_DATASETS_CACHE="${HF_DATASETS_CACHE:-$ARROW_CACHE_DIR}"

if [[ "$PREFLIGHT" != 0 && -z "${DRY_RUN:-}" ]]; then
  python -m overlay.nodes.preflight --data "$DATA" --model "$MODEL" --output "$OUTPUT" --processes "$NPROC_PER_NODE" \
    --batch "$BATCH" --accumulation "$([[ "$BACKEND" == trl ]] && echo "$ACCUMULATION" || echo 1)" \
    --generations "$(for_sft 0 "$GENERATIONS")" --rdzv_id "$JOB_ID" --timeout "$PREFLIGHT_TIMEOUT" || exit "${FAILED_STATUS:-1}"
  [[ "$PREFLIGHT" != only ]] || exit 0
fi
[[ -n "${DRY_RUN:-}" ]] || mkdir -p "$LOGGING_DIR"
exec bash run_scripts/run_grpo_gui.sh "$@"
