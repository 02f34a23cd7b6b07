"""`python -m overlay`: what there is to run, in the words of `make help`."""

import re
from pathlib import Path

SHOWN = ("data", "sft", "train", "train-multinode", "eval", "serve", "infer", "play", "rollouts")


def lines(makefile: str) -> list[str]:
    """`make <target>  <its help>` for the targets of SHOWN."""
    found = dict(re.findall(r"^([a-z-]+):.*?## (.*)$", makefile, re.MULTILINE))
    return [f"  make {name:16} {found[name]}" for name in SHOWN]


if __name__ == "__main__":
    print("GRPO for GUI agents: from annotated tasks to a served and scored model.\n")
    print("\n".join(lines((Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8"))))
    print("\nAll commands: make help. Documentation: README.md and docs/.")
