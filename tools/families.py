"""docs/families.md's table: family x step, as the long test of all families found it.

make test-long PYTEST="-k families"       walks them, and leaves runs/families.json
python -m tools.families                  writes the table; tests/test_families.py looks that none is missing
"""

import json
import sys
from pathlib import Path

from tests.families import PARTS

ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / "runs" / "families.json", ROOT / "docs" / "families.md"
BEGIN, END = "<!-- python -m tools.families -->", "<!-- end -->"
FAILED, NOT_RUN = "**no**", "–"
COLUMNS = (
    "data-check", "train trl", "train vlm-r1", "resume", "LoRA, merge", "eval", "serve, infer", "play", "log-probs",
    "prompt shared", "coordinates",
)  # fmt: skip


def table(found: dict[str, dict[str, str]]) -> str:
    """Markdown of {family: {column: what was checked}}: `FAILED` for a cell that is missing, `NOT_RUN` for a family."""
    lines = ["| `model_type` | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for family in sorted(PARTS):
        cells, missing = found.get(family, {}), FAILED if family in found else NOT_RUN
        lines.append(f"| `{family}` | " + " | ".join(cells.get(name, missing) for name in COLUMNS) + " |")
    return "\n".join(lines)


def main() -> int:
    """Put the table between the marks."""
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    behind = rest.partition(END)[2]
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    DOCS.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{behind}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
