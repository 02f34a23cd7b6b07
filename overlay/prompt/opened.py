"""Chat templates of thinking variants (Qwen3-VL-Thinking, Qwen3.5), which end a prompt with an opened `<think>`.

Here that is left to the model to write: training and every checkpoint end such a template before it (`unopened`). What
is served with its own template has it in the prompt, and its replies lack it. Standard library.
"""

import json
from pathlib import Path

WHOLE = "{% set whole_prompt %}"
UNOPENED = (
    "{% endset %}{% if add_generation_prompt and whole_prompt.rstrip().endswith('<think>') %}"
    "{{ whole_prompt.rstrip()[:-7] }}{% else %}{{ whole_prompt }}{% endif %}"
)
FILES = ("chat_template.jinja", "chat_template.json", "processor_config.json", "tokenizer_config.json")


def may_open(template: str) -> bool:
    """Whether a chat template may end a prompt with an opened think part: it has the tag, and no end of ours."""
    return "<think>" in template and not template.startswith(WHOLE)


def unopened(template: str) -> str:
    """The template with prompts that end before such a tag; another one as it is."""
    return f"{WHOLE}{template}{UNOPENED}" if may_open(template) else template


def served_opened(folder: Path) -> bool:
    """Whether a model that is served under a folder's name may have its think part opened in the prompt: by the
    folder's chat template; False where nothing tells, as for a folder of another machine: a reply that lacks the tag is
    then taken as it is, for its model may have left it out."""
    for name in FILES:
        try:
            text = (folder / name).read_text(encoding="utf-8")
            template = text if name.endswith(".jinja") else json.loads(text).get("chat_template")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(template, str):
            return may_open(template)
    return False
