"""What a page says of the run that it is about."""

import json
from pathlib import Path
from typing import Any

from overlay.training.run_files import RECORD

TOLD = ("model_name_or_path", "world_size", "num_generations", "learning_rate", "beta")


def record_of(folder: Path) -> dict[str, Any]:
    """run.json of an output folder; empty where there is none yet."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def about(record: dict[str, Any]) -> dict[str, Any]:
    """Model, data and dates of a run, by what they are called; what its record does not have is left out."""
    settings, starts = record.get("settings", {}), record.get("starts", [])
    found = {name: settings[name] for name in TOLD if settings.get(name) is not None}
    if record.get("files"):
        found["data"] = ", ".join(record["files"])
    found |= {f"rows {name}": count for name, count in record.get("rows", {}).items()}
    dates = [start["date"].replace("T", " ") for start in starts if "date" in start]
    return found | ({"started": ", ".join(dates)} if dates else {})
