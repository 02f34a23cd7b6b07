"""What is taken for granted of a base model by its family."""

from pathlib import Path

from overlay.action.space import FAMILY_SPACES, ORIGINAL, cell_of
from overlay.model.folder import config_of
from overlay.prompt.style_file import STYLE_FILE, read_style

AUTO = "auto"


def model_cell(model: str) -> int:
    """Pixels of a side that become one token. SettingError when there is no such model."""
    return cell_of(config_of(model))


def space_of(model: str) -> tuple[str, str]:
    """(name of the coordinate space that a model counts in, why) from how it was trained, else from its family.
    SettingError when there is no such model."""
    style = read_style(Path(model)) if Path(model).is_dir() else None
    if style is not None:
        return style.space.name, f"{model}/{STYLE_FILE} says so"
    family = config_of(model)["model_type"]
    if family in FAMILY_SPACES:
        return FAMILY_SPACES[family], f"{family} was trained to count so"
    return ORIGINAL.name, f"nothing is known of {family}"
