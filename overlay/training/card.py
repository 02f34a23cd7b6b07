"""The model card (README.md) of an output folder: what is known of it, from the files that training leaves there.

What the model is, what it was trained on and how it was rewarded, its scores with N, and how it has to be asked.
Nothing is said that no file says.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overlay.action.completion import TOOL_CALL
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import STYLE_FILE, read_style
from overlay.training import log_file
from overlay.training.identity import RECORD

CARD = "README.md"
SPACES = {
    "original": "pixels of the screenshot as it is",
    "resized": "pixels of the image as the processor resizes it (`seen_size` in `overlay/action/space.py`)",
    "norm1000": "0 to 1000 over each side of the screenshot",
}
TOLD = (  # settings of run.json that the card has, in this order
    "reward_funcs", "reward_method", "reward_weights", "click_reward", "judge_model", "loss_type", "scale_rewards",
    "beta", "num_generations", "per_device_train_batch_size", "gradient_accumulation_steps", "world_size",
    "learning_rate",
    "lr_scheduler_type", "max_prompt_length", "max_completion_length", "temperature", "freeze_vision_modules",
    "use_peft", "lora_r", "lora_alpha", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What the files of a run say. `record`: run.json; `log`: log.jsonl; `config`: of the model or its adapter."""

    name: str
    record: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)
    style: PromptStyle | None = None
    step: int | None = None

    @property
    def base(self) -> str:
        """The model that was trained."""
        settings = self.record.get("settings", {})
        return str(settings.get("model_name_or_path") or self.adapter.get("base_model_name_or_path") or "")


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def facts_of(folder: Path) -> Facts:
    """Of an output folder, or of a checkpoint in one."""
    root = folder if (folder / RECORD).is_file() else folder.parent
    state = _object(folder / "trainer_state.json")
    log = log_file.read(root) if (root / log_file.NAME).is_file() else []
    name = root.name if folder == root else f"{root.name}/{folder.name}"
    return Facts(
        name, _object(root / RECORD), log, _object(folder / "config.json"), _object(folder / "adapter_config.json"),
        read_style(folder), state.get("global_step") or _object(root / RECORD).get("finished"),
    )  # fmt: skip


def card(facts: Facts, scores: Iterable[dict[str, Any]] = ()) -> str:
    """The card's text; `scores`: contents of metrics.json of `make eval`."""
    parts = [_head(facts), _what(facts), _data(facts), _training(facts), _scores(facts, list(scores)), _asking(facts)]
    return "\n".join(parts)


def _head(facts: Facts) -> str:
    settings = facts.record.get("settings", {})
    kind = facts.config.get("model_type") or "qwen-vl"
    lines = ["---"]
    if facts.base and not facts.base.startswith(("/", ".", "~")) and facts.base.count("/") == 1:  # a name of the hub
        lines += [f"base_model: {facts.base}", f"base_model_relation: {'adapter' if facts.adapter else 'finetune'}"]
    lines += [
        f"library_name: {'peft' if facts.adapter else 'transformers'}", "pipeline_tag: image-text-to-text",
        f"tags: [gui, grpo, {kind}]", "---", "", f"# {facts.name}", "",
    ]  # fmt: skip
    adapted = f"a LoRA adapter (rank {facts.adapter.get('r')}) of" if facts.adapter else "all trained weights of"
    if not facts.adapter and settings.get("use_peft"):
        adapted = f"an adapter (rank {settings.get('lora_r')}), merged into"
    return "\n".join(lines) + (
        f"Operates a phone: screenshots, a task, a plan and a history go in, reasoning and one action come out. It is "
        f"{adapted} {facts.base or 'a model that no file names'}, trained with GRPO on GUI steps."
    )


def _what(facts: Facts) -> str:
    return (
        "\nIts licence is the base model's. It was trained for the screens and tasks of the data below; nothing here "
        "says how it does on others, or whether an action is safe to take."
    )


def _data(facts: Facts) -> str:
    settings, rows = facts.record.get("settings", {}), facts.record.get("rows", {})
    names = facts.record.get("files") or ["a file"] * len(settings.get("data", []))
    shown = [f"- {name}, sha256 {digest}..." for name, digest in zip(names, settings.get("data", []), strict=False)]
    if rows:
        shown.append("- " + ", ".join(f"{count:,} rows {name}" for name, count in rows.items()))
    return "\n## Data\n\n" + "\n".join(shown or ["Not told."])


def _training(facts: Facts) -> str:
    settings = facts.record.get("settings", {})
    lines = [f"| {name} | {_plain(settings[name])} |" for name in TOLD if settings.get(name) not in (None, "", False)]
    steps = f"{facts.step:,} steps" if facts.step else "steps not told"
    last = next((entry for entry in reversed(facts.log) if "reward" in entry), None)
    reward = f", mean reward {last['reward']:.3f} at step {last['step']:,}" if last else ""
    return "\n".join(["\n## Training and rewards", "", f"{steps}{reward}.", "", "| setting | |", "|---|---|", *lines])


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _scores(facts: Facts, scores: list[dict[str, Any]]) -> str:
    lines = ["\n## Scores", ""]
    for score in scores:
        about, rule = score.get("about", {}), score.get("rule", "")
        data = ", ".join(f"{Path(each['file']).name} ({each['sha256'][:16]}...)" for each in about.get("data", []))
        lines += [
            f"By `make eval` on {data}, {score.get('rows')} rows of {score.get('tasks')} tasks, rule `{rule}`, "
            f"{about.get('date', '')}:", "", "| metric | value | 95 % interval | N |", "|---|---|---|---|",
        ]  # fmt: skip
        lines += [
            f"| {name} | {one['value']:.3f} | {one['low']:.3f} to {one['high']:.3f} | {one['n']} |"
            for name, one in score.get("metrics", {}).items()
        ]
        lines.append("")
    evaluated = next((entry for entry in reversed(facts.log) if "eval_step_success_rate" in entry), None)
    if evaluated:
        n = facts.record.get("rows", {}).get("held out", "unknown")
        lines += [
            f"While training, sampled answers at step {evaluated['step']:,} (rule `box`, {n} held-out rows):", "",
            "| metric | value |", "|---|---|",
        ]  # fmt: skip
        lines += [
            f"| {name.removeprefix('eval_')} | {value:.3f} |"
            for name, value in evaluated.items()
            if name.startswith("eval_") and name.endswith(("_rate", "_accuracy")) and value is not None
        ]
    if not scores and not evaluated:
        lines.append("Not scored. `make eval MODEL=<this folder> DATA= IMAGES=` gives each metric with N and interval.")
    return "\n".join(lines)


def _asking(facts: Facts) -> str:
    style = facts.style
    lines = ["\n## How to ask it", ""]
    if style is None:
        return "\n".join([*lines, f"Not told: there is no {STYLE_FILE}."])
    order = "before the text" if style.images_first or style.question_template is not None else "at their marks"
    note = " (the prompt says so)" if style.space.name == "norm1000" else ""
    lines += [
        f"As it was trained, which `{STYLE_FILE}` here says to every program of this project: images {order}, of "
        f"{style.space.min_pixels:,} to {style.space.max_pixels:,} pixels; coordinates are "
        f"{SPACES[style.space.name]}{note}.",
        "", "```", "make serve MODEL=<this folder>      # vLLM where it is installed, else transformers serve",
        "make infer URL=http://127.0.0.1:8000/v1 TASK=step_1.json IMAGES=<folder of its screens>", "```", "",
    ]  # fmt: skip
    if style.template:
        text = style.worded(style.template)
        lines += ["The text, before the step as one line of JSON:", "", "```", text.strip(), "```", ""]
    thinking = "<think>{...}</think>" if style.thinking else ""
    answer = '<answer>{"action_type": ..., "action_parameter": {...}, "action_description": ...}</answer>'
    if style.answer_format == TOOL_CALL:
        answer = '<tool_call>{"name": "mobile_use", "arguments": {"action": ..., ...}}</tool_call>'
    lines += [f"The answer is `{thinking}{answer}`.", ""]
    return "\n".join(lines)


def write_card(folder: Path, scores: Iterable[dict[str, Any]] = ()) -> None:
    """Write the card of a folder with a model in it."""
    (folder / CARD).write_text(card(facts_of(folder), scores), encoding="utf-8", errors="replace")
