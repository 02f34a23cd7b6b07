# Sourced by the launchers: presets, where each setting came from, and refusals in one line.
# shellcheck shell=bash

NAMES=(NPROC_PER_NODE MODEL IMAGES DATA OUTPUT BACKEND MAX_PROMPT_LENGTH OVERLONG MAX_PIXELS COORDINATE_SPACE EPOCHS
  GENERATIONS BATCH TOKENS_PER_PASS ACCUMULATION MAX_COMPLETION_LENGTH LEARNING_RATE BETA LORA_R METHOD JUDGE_MODEL SAVE_STEPS
  SAVE_LIMIT
  EVAL_DATA EVAL_STEPS VLLM ATTENTION DEEPSPEED ARROW_CACHE_DIR EXTRA)
GRPO_ONLY=(GENERATIONS MAX_COMPLETION_LENGTH BETA METHOD JUDGE_MODEL VLLM)
# Names that the user's environment set, and those that the preset did; a launcher that calls another one hands them on.
if [[ -z "${OVERLAY_GIVEN+x}" ]]; then
  OVERLAY_GIVEN=" "
  for name in "${NAMES[@]}"; do
    # make sets BACKEND= where nobody did; only DEEPSPEED= says something by being empty.
    [[ -z "${!name:-}" && ("$name" != DEEPSPEED || -z "${!name+x}") ]] || OVERLAY_GIVEN+="$name "
  done
fi
export OVERLAY_GIVEN OVERLAY_PRESET="${OVERLAY_PRESET:- }"

# said FORMAT: it in the user's language, Chinese with LANG=zh_CN.UTF-8 and such; run_scripts/zh.tsv has the words.
said() {
  local english chinese language="${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}"
  if [[ "$language" == zh* ]]; then
    while IFS=$'\t' read -r english chinese; do
      [[ "$english" != "$1" ]] || { echo "$chinese" && return; }
    done <run_scripts/zh.tsv
  fi
  echo "$1"
}

# fail FORMAT VALUE...: a refusal, which is not to be repeated: see overlay/nodes/launch.py.
fail() {
  local text
  # shellcheck disable=SC2059  # the formats are these scripts'
  printf -v text "$(said "$1")" "${@:2}"
  echo "${0##*/}: $text" >&2
  [[ -z "${OVERLAY_ENDED:-}" || -n "${DRY_RUN:-}" ]] || echo "2 ${0##*/}: $text" >"$OVERLAY_ENDED"
  exit "${STOPPED_STATUS:-2}"
}

# Take PRESET's values for what the environment does not set.
load_preset() {
  [[ -n "${PRESET:-}" ]] || return 0
  local file="run_scripts/presets/$PRESET.env" name value known
  known="$(cd run_scripts/presets && echo *.env)"
  [[ -f "$file" ]] || fail "PRESET=%s is none of %s" "$PRESET" "${known//.env/}"
  while IFS='=' read -r name value; do
    [[ -n "$name" && "$name" != \#* && "$OVERLAY_GIVEN" != *" $name "* ]] || continue
    [[ " ${NAMES[*]} " == *" $name "* ]] || fail "PRESET=%s: %s sets %s, which is no setting" "$PRESET" "$PRESET.env" "$name"
    export "$name=$value"
    OVERLAY_PRESET+="$name "
  done <"$file"
}

# Settings that must be whole numbers of at least 1; those that are empty pass.
whole_numbers() {
  local name
  for name in "$@"; do
    [[ -z "${!name:-}" || "${!name}" =~ ^[1-9][0-9]{0,8}$ ]] || fail "%s=%s: a whole number of at least 1" "$name" "${!name}"
  done
}

# there file|folder NAME a:b
there() {
  local parts part
  IFS=: read -ra parts <<<"$3"
  for part in "${parts[@]}"; do
    if [[ "$1" == file ]]; then
      [[ -f "$part" ]] || fail "%s: no file %s" "$2" "$part"
    else
      [[ -d "$part" ]] || fail "%s: no folder %s" "$2" "$part"
    fi
  done
}

# for_sft A B: A with BACKEND=sft, else B
for_sft() {
  if [[ "$BACKEND" == sft ]]; then echo "$1"; else echo "$2"; fi
}

# pixels N: the most pixels of an image that MODEL was trained with, as its folder says, else N
pixels() {
  local said="" read='import json, sys; print(json.load(open(sys.argv[1]))["max_pixels"])'
  [[ ! -f "$MODEL/prompt_style.json" ]] || said="$(python -c "$read" "$MODEL/prompt_style.json" 2>/dev/null)" || true
  echo "${said:-$1}"
}

gpus() {
  local count
  count="$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')" || true
  echo "$((count > 0 ? count : 1))"
}

attention() {
  if python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("flash_attn") is None)' 2>/dev/null; then
    echo flash_attention_2
  else
    echo sdpa
  fi
}

print_settings() {
  local name
  for name in "${NAMES[@]}" OVERLAY_GIVEN OVERLAY_PRESET; do printf 'export %s=%q\n' "$name" "${!name}"; done
}

settings_table() {
  local name source value
  for name in "${NAMES[@]}"; do
    source=block
    [[ "$OVERLAY_PRESET" != *" $name "* ]] || source="preset $PRESET"
    [[ "$OVERLAY_GIVEN" != *" $name "* ]] || source=environment
    value="${!name:-(none)}"
    if [[ "$BACKEND" == sft && " ${GRPO_ONLY[*]} " == *" $name "* ]]; then
      [[ "$source" != block ]] || continue
      value="(not in sft)"
    fi
    printf '%-22s %-45s %s\n' "$name" "$value" "$source"
  done
  [[ -z "$*" ]] || printf '%-22s %s\n' "flags, above all" "$*"
}
