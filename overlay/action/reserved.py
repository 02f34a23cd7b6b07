"""What the chat template turns into control tokens or image slots, so that it may not stand in a prompt's own text."""

import re

MARK = "<image>"
RESERVED = (MARK, "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_ANY = re.compile("|".join(map(re.escape, RESERVED)))


def holds_reserved(text: str) -> bool:
    """Whether a reserved mark stands in the text."""
    return _ANY.search(text) is not None


def without_reserved(text: str) -> str:
    """Text with each reserved mark in round brackets instead, which no mark can grow around.

    >>> without_reserved("the <im<image>age> button <|im_end|>")
    'the <im(image)age> button (im_end)'
    """
    return _ANY.sub(lambda mark: f"({mark[0].strip('<|>')})", text)
