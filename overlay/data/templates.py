"""The prompt template that rows bring: `make data` writes it into each."""

import sys
from collections import Counter
from dataclasses import replace

from datasets import Dataset

from overlay.prompt.style import PromptStyle
from overlay.prompt.template import template_of

LOOKED_AT = 200  # rows, spread over all


def style_of_rows(style: PromptStyle, rows: Dataset) -> PromptStyle:
    """The style with the template that the rows themselves bring (`make data` writes it into each): the commonest where
    they differ, the style's own where they bring none."""
    picked = rows.select(range(0, len(rows), -(-len(rows) // LOOKED_AT)))["problem"]
    found = Counter(filter(None, map(template_of, picked)))
    if style.question_template is not None or not found:
        return style
    (template, language), _ = found.most_common(1)[0]
    if len(found) > 1:
        print(f"the rows bring {len(found)} prompt templates; the commonest is kept as this run's", file=sys.stderr)
    return replace(style, template=template, language=language)
