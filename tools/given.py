"""Which of the variables given to make its goals do not read: one line for the first, empty where all are read.

    python tools/given.py "GOAL ..." NAME ...      (the Makefile calls it)

What a goal reads is what its recipe and prerequisites name, and what the scripts name that the recipe starts. Standard
library only: it runs before there is an environment.
"""

import re
import sys
from difflib import get_close_matches
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALWAYS = {"VENV", "PYTHON", "RUNS", "SHELL", "MAKEFLAGS"}
# Of libraries and platforms, which programs read by themselves.
FOREIGN = re.compile(
    r"(HF|NCCL|GLOO|CUDA|OMP|OPENAI|TORCH\w*|VLLM|TOKENIZERS|PYTHON|PET|SLURM|UCX|MALLOC|TQDM|WANDB|RAY|LD|CC|MAX_JOBS)_?\w*|"
    r"PATH|HOME|TMPDIR|DEBUG_MODE|LOG_PATH|LOGLEVEL|\w*_proxy|\w*_PROXY"
)
_MAKE = re.compile(r"\$\(([A-Z_]+)\)|\$\((?:if|or) \$\(([A-Z_]+)\)|\$\(call \w+,([A-Z_]+)(?:,([A-Z_]+)\))?")
_SHELL = re.compile(r"\$\{?!?([A-Z][A-Z_]+)")
_LISTED = re.compile(r"^for name in ([A-Z_\\\s]+);|NAMES=\(([A-Z_\s]+)\)", re.MULTILINE)
_GRPO_ONLY = re.compile(r"^GRPO_ONLY=\(([A-Z_ ]+)\)", re.MULTILINE)
_SCRIPT = re.compile(r"(?:bash|source) ((?:run_scripts|docker|requirements)/\w+\.sh)")
_PLACE = re.compile(r'variables(?:\.get)?[\[(]"([A-Z_]+)"')


def goals_of(makefile: str) -> dict[str, str]:
    """Goal → its line of prerequisites and its recipe."""
    found = re.findall(r"^([a-z-]+):(?!=)(.*\n(?:\t.*\n|ifeq.*\n)*)", makefile, re.MULTILINE)
    return dict(found)


def of_scripts(text: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """Variables of the scripts that a text starts or sources, and of those that these do."""
    names: set[str] = set()
    for script in set(_SCRIPT.findall(text)) - seen:
        own = (ROOT / script).read_text(encoding="utf-8")
        names |= set(_SHELL.findall(own)) | of_scripts(own, seen | {script})
        for listed in _LISTED.findall(own):
            names |= set(re.findall(r"[A-Z_]+", " ".join(listed)))
        if "overlay.nodes.place" in own:
            names |= set(_PLACE.findall((ROOT / "overlay/nodes/place.py").read_text(encoding="utf-8")))
    return names


def read_by(goal: str, goals: dict[str, str]) -> set[str]:
    """The variables that a goal reads and that do something there."""
    text = goals.get(goal, "")
    estimate = {"GPU_MEMORY", "GPU_CHECK"} if "ESTIMATE=1" in text else set()
    read = {name for found in _MAKE.findall(text) for name in found if name} | of_scripts(text)
    return (read | estimate) - idle(text)


def idle(recipe: str) -> set[str]:
    """Settings of the launcher that its block has for GRPO and a recipe of supervised training does not read."""
    if "BACKEND=sft" not in recipe:
        return set()
    return set(_GRPO_ONLY.findall((ROOT / "run_scripts/settings.sh").read_text(encoding="utf-8"))[0].split())


def unread(asked: str, given: list[str]) -> str:
    """A line for the first variable that no goal reads."""
    goals = goals_of((ROOT / "Makefile").read_text(encoding="utf-8"))
    wanted = asked.split() or ["help"]
    if any(goal not in goals for goal in wanted):
        return ""  # make's own to say, or a file
    known = set().union(*(read_by(goal, goals) for goal in wanted)) | ALWAYS
    ours = set().union(*(idle(goals[goal]) for goal in wanted))
    for name in sorted(given):
        if name not in known and (name in ours or not FOREIGN.fullmatch(name)):
            near = get_close_matches(name, known, 1)
            meant = f" (did you mean {near[0]}=?)" if near else ""
            return f"{name}=: make {' '.join(wanted)} does not read it{meant}"
    return ""


if __name__ == "__main__":
    print(unread(sys.argv[1], sys.argv[2:]))
